"""A freshly flashed card with settings from a laptop, on a network that hands out addresses."""

import base64
import json
import os
import re
import socket
import subprocess
import time
import urllib.request

import pytest
from box import running

pytestmark = pytest.mark.needs("shell", "card")
BUILT = os.environ.get("HW_TEST_BUILT", "target/debug")


@pytest.fixture(scope="module")
def box(bench, card, folder, addresses):
    with running(bench.start(folder)) as box:
        yield box


def get(box, path: str, port: int = 8889) -> bytes:
    with urllib.request.urlopen(f"http://{box.address}:{port}{path}", timeout=30) as answer:
        return answer.read()


def status(box) -> dict:
    return json.loads(get(box, "/api/v1/status"))


def test_the_page_answers_soon_after_the_start(box):
    print(f"page after {box.seconds_to_page:.1f} s")
    assert box.seconds_to_page < float(os.environ.get("HW_TEST_BOOT_SECONDS", "40"))


def test_no_unit_has_failed(box):
    assert box.shell("systemctl --failed --no-legend --plain") == (0, "")
    assert box.shell("systemctl is-system-running") == (0, "running")


def test_no_unit_waits_for_itself(box):
    assert "ordering cycle" not in box.shell("journalctl -b --no-pager")[1]


def test_the_page_is_on_port_80_too(box):
    assert get(box, "/", 80) == get(box, "/")
    assert b"<html" in get(box, "/")


def test_the_settings_on_the_card_are_in_force(box):
    assert [camera["name"] for camera in status(box)["tally"]["cameras"]] == ["Camera from the card"]


def test_nothing_but_what_is_served_can_be_reached(box):
    open_ports = []
    for port in [22, 53, 80, 111, 443, 5355, 8443, 8889, 9090]:
        try:
            socket.create_connection((box.address, port), 1).close()
            open_ports.append(port)
        except OSError:
            pass
    assert open_ports == [80, 443, 8443, 8889]
    listening = box.shell("ss -lntuH | awk '{ print $1, $5 }' | grep -v '127[.]0[.]0[.]'")[1].splitlines()
    served = {"tcp 8889", "tcp 8443", "tcp 5349", "udp 8890", "udp 8189", "tcp 8189", "udp 3478", "tcp 3478", "udp 5353", "udp 68", "udp 546"}
    assert {f"{line.split()[0]} {line.rsplit(':', 1)[1]}" for line in listening} <= served


def test_nobody_can_log_in(box):
    logins = "systemctl list-units --no-legend --plain '*getty*.service' 'ssh*' systemd-logind.service"
    assert box.shell(logins) == (0, "")
    # A field that begins otherwise is a password, or none at all.
    assert box.shell("cut -d: -f2 /etc/shadow | grep -vc '^[!*]'")[1] == "0"


def test_the_program_can_do_nothing_but_its_work(box):
    exposure = box.shell("systemd-analyze security --no-pager returnfeed.service | tail -n 1")[1]
    print(exposure)
    assert float(re.search(r"service: ([0-9.]+)", exposure).group(1)) <= 2.0
    assert box.shell("stat -c %U /proc/$(systemctl show -P MainPID returnfeed)")[1] == "returnfeed"


def test_what_is_written_to_the_root_is_gone_after_a_restart_but_data_is_kept(box):
    assert "lowerdir=" in box.shell("findmnt -no OPTIONS /")[1]
    for place in "/etc/returnfeed", "/var/lib/returnfeed", "/var/log/journal":
        assert box.shell(f"findmnt -no FSTYPE {place}")[1] == "ext4"


def test_the_program_is_started_again_when_it_dies(box):
    box.shell("systemctl kill -s KILL returnfeed")
    time.sleep(1)
    assert box.wait_for_page()
    assert restarts(box) == 1


def test_the_watchdog_starts_a_stalled_program_again(box):
    before = restarts(box)
    box.shell("systemctl kill -s STOP returnfeed")
    deadline = time.monotonic() + 60
    while restarts(box) == before:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert box.wait_for_page()
    assert "Watchdog timeout" in box.shell("journalctl -b --no-pager -u returnfeed")[1]


def restarts(box) -> int:
    return int(box.shell("systemctl show -P NRestarts returnfeed")[1])


def here(box) -> str:
    """This machine's address on the box's network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect((box.address, 5353))
        return towards.getsockname()[0]


def test_the_box_is_found_by_its_name(box):
    """One multicast DNS question, answered straight to the asker (RFC 6762 §5.1)."""
    question = bytes.fromhex("000000000001000000000000") + b"\x0areturnfeed\x05local\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(here(box)))
        asker.settimeout(3)
        for _ in range(5):
            asker.sendto(question, ("224.0.0.251", 5353))
            try:
                answer = asker.recv(1500)
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("nobody answers to returnfeed.local")
    assert socket.inet_aton(box.address) in answer


@pytest.mark.needs("a load")
def test_a_picture_goes_in_by_srt_and_comes_out_by_webrtc(box):
    sender = subprocess.Popen([f"{BUILT}/returnfeed", "simulate", "--srt", f"srt://{box.address}:8890", "--auto-cut", "2"])
    try:
        deadline = time.monotonic() + 60
        while not any(stream["live"] for stream in status(box)["streams"]):
            assert time.monotonic() < deadline, status(box)
            time.sleep(0.5)
        seen = subprocess.run(
            [f"{BUILT}/examples/viewers", f"http://{box.address}:8889/pgm/whep", "2", "10"], capture_output=True, text=True, timeout=120
        )
        print(seen.stdout, seen.stderr)
        assert seen.returncode == 0
        report = json.loads(seen.stdout)
        assert report["fewest_frames"] > 200 and report["broken_frames"] == 0 and report["idrs"] > 0
        assert_tally_arrives(box)
    finally:
        sender.terminate()
        sender.wait()


def assert_tally_arrives(box) -> None:
    """The simulated vMix cuts every 2 s; the box has found it by its feed and says who is on air."""
    with socket.create_connection((box.address, 8889), 10) as line:
        key = base64.b64encode(os.urandom(16)).decode()
        line.sendall(
            f"GET /ws/ HTTP/1.1\r\nHost: {box.address}:8889\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        said, deadline = b"", time.monotonic() + 20
        while b'"tally":"program"' not in said:
            assert time.monotonic() < deadline, said[-2000:]
            said += line.recv(65536)
    assert b" 101 " in said.split(b"\r\n")[0]
