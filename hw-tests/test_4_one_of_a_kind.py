"""What makes a box one of a kind: its identity, the names it answers to, and the sheet in each of its forms."""

import re
import socket
import threading
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
from box import running
from card import Card
from conftest import OUT
from emulated import BOX, HERE, Box
from qr import scanned

IDENTITY = "/etc/returnfeed/box.toml"


def identity_of(box: Box) -> dict[str, str]:
    return tomllib.loads(box.shell(f"cat {IDENTITY}")[1])


class CardOfARadio(Card):
    """In a box that has a radio: without one there is no Wi-Fi to be shown."""

    def what_the_firmware_starts(self, folder: Path) -> tuple[Path, Path, str]:
        kernel, initramfs, command_line = super().what_the_firmware_starts(folder)
        return kernel, initramfs, f"{command_line} modules-load=mac80211_hwsim"


@pytest.fixture(scope="module")
def fresh(folder):
    """A freshly flashed card that no box has started from."""
    (image,) = Path("target/image").glob("returnfeed-*.img")
    return CardOfARadio(image, OUT / "one-of-a-kind.img")


@pytest.fixture(scope="module")
def first(fresh, addresses, folder):
    """Its first start, whose plug is pulled as soon as there is an identity."""
    box = Box(fresh, folder)
    try:
        box.wait_for_page()
        box.shell.wait(60)
        return identity_of(box)
    finally:
        box.cut_power()


@pytest.fixture(scope="module")
def box(first, fresh, folder):
    with running(Box(fresh, folder, devices=("-device", "virtio-gpu-pci"))) as box:
        yield box


def sheet(language: str) -> str:
    request = urllib.request.Request(f"http://{BOX}/setup-sheet", headers={"Accept-Language": language})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.read().decode()


def test_the_first_start_draws_an_identity(first):
    print({key: value for key, value in first.items()})
    assert re.fullmatch("returnfeed-[0-9a-f]{4}", first["host_name"])
    assert first["wifi_name"] == "ReturnFeed " + first["host_name"][-4:].upper()
    assert re.fullmatch("([bcdfghjkmnpqrstvwxyz]{5}-){2}[bcdfghjkmnpqrstvwxyz]{5}", first["wifi_passphrase"])
    assert re.fullmatch("[bcdfghjkmnpqrstvwxyz]{5}-[bcdfghjkmnpqrstvwxyz]{5}", first["setup_code"])


def test_it_is_kept_when_the_plug_is_pulled(box, first):
    assert identity_of(box) == first


def test_its_secrets_are_nobody_elses(box):
    assert box.shell(f"stat -c '%U:%G %a' {IDENTITY}") == (0, "root:returnfeed 640")
    assert box.shell(f"journalctl -b --no-pager | grep -cF \"$(sed -n 's/^setup_code = \\\"\\(.*\\)\\\"/\\1/p' {IDENTITY})\"")[1] == "0"


def test_another_box_draws_another(box, first):
    drawn = {box.shell("returnfeed identity")[1] for _ in range(3)}
    assert len(drawn) == 3 and not any(first["wifi_passphrase"] in other for other in drawn)


def test_the_box_has_its_name(box, first):
    assert box.shell("cat /proc/sys/kernel/hostname /etc/hostname")[1].split() == [first["host_name"]] * 2


def test_the_router_is_told_the_name(network, first, box):
    assert f"client provides name: {first['host_name']}" in Path(network.folder, "dhcp.log").read_text()


def test_no_unit_has_failed(box):
    assert box.shell("systemctl --failed --no-legend --plain") == (0, "")
    assert "ordering cycle" not in box.shell("journalctl -b --no-pager")[1]


def test_the_card_tells_a_laptop(box, fresh, first):
    text = fresh.read("returnfeed-setup.txt").decode("utf-8-sig")
    print(text)
    for word in *first.values(), f"http://{first['host_name']}.local/":
        assert word in text
    assert "returnfeed.local" not in text, "with two boxes on a network that may be the other"
    assert text.count("\n") == text.count("\r\n")
    assert box.shell("findmnt -no OPTIONS /card")[1].startswith("ro,")


def test_a_setup_text_that_was_changed_is_written_again(box, fresh, first):
    box.shell("mount -o remount,rw /card; echo other > /card/returnfeed-setup.txt; mount -o remount,ro /card")
    assert box.shell("systemctl restart returnfeed-card")[0] == 0
    assert first["setup_code"] in box.shell("cat /card/returnfeed-setup.txt")[1]


def test_a_setup_text_that_is_right_is_not_written_again(box):
    written = "journalctl -b --no-pager -u returnfeed-card | grep -c 'Wrote returnfeed-setup.txt'"
    before = box.shell(written)[1]
    assert box.shell("systemctl restart returnfeed-card")[0] == 0
    assert box.shell(written)[1] == before


def test_the_sheet_has_what_a_crew_needs_and_no_set_up_code(box, first):
    text = sheet("ko-KR,ko;q=0.9,en;q=0.8")
    (OUT / "setup-sheet.html").write_text(text)
    for word in first["host_name"], first["wifi_name"], first["wifi_passphrase"], f"http://{BOX}/", f"srt://{BOX}:8890":
        assert word in text, word
    assert first["setup_code"] not in text
    assert '<html lang="ko">' in text and '<html lang="en">' in sheet("en-US")


def drawn(svg: str) -> list[str]:
    """The rows of a QR code in a page."""
    size = int(re.search(r'viewBox="0 0 (\d+) ', svg).group(1))
    rows = [[" "] * size for _ in range(size)]
    for x, y, run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", svg):
        for at in range(int(x), int(x) + int(run)):
            rows[int(y)][at] = "#"
    return ["".join(row) for row in rows]


def test_a_phone_reads_the_codes_of_the_sheet(box, first):
    codes = [text for svg in re.findall(r"<svg.*?</svg>", sheet("en")) for text in scanned(drawn(svg))]
    assert codes == [
        f"WIFI:T:WPA;S:{first['wifi_name']};P:{first['wifi_passphrase']};;",
        "http://10.88.89.1/",
        f"http://{BOX}/",
    ]


def console(box: Box) -> list[str]:
    """What stands on the first console, from the kernel's own copy of it (vcs(4)): Unicode, four bytes a cell."""
    size = box.shell("head -c 2 /dev/vcsa1 | od -An -tu1")[1].split()
    rows, columns = (int(number) for number in size)
    cells = bytes.fromhex(box.shell("od -An -v -tx1 /dev/vcsu1 | tr -d ' \\n'")[1])
    text = cells.decode("utf-32-le")
    return [text[at : at + columns] for at in range(0, rows * columns, columns)]


def test_the_console_shows_the_sheet_and_its_codes(box, first):
    deadline = time.monotonic() + 30
    while not any(f"{BOX} port 8890" in line for line in console(box)):
        assert time.monotonic() < deadline, "\n".join(console(box))
        time.sleep(2)
    lines = console(box)
    (OUT / "console.txt").write_text("\n".join(lines))
    text = "\n".join(lines)
    print(text)
    for word in first["host_name"], first["wifi_name"], first["wifi_passphrase"], "http://10.88.89.1/", f"http://{BOX}/":
        assert word in text, word
    assert first["setup_code"] not in text
    halves = {"█": "  ", "▀": " #", "▄": "# "}
    pixels = ["".join(halves.get(cell, "##")[half] for cell in line) for line in lines if "█" in line for half in (0, 1)]
    join = f"WIFI:T:WPA;S:{first['wifi_name']};P:{first['wifi_passphrase']};;"
    assert scanned(pixels) == [join, "http://10.88.89.1/", f"http://{BOX}/"]


def test_the_monitor_shows_what_the_console_holds(box):
    """A photo of the screen, to be looked at: monitor.png among the logs."""
    photo = OUT / "monitor.png"
    photo.unlink(missing_ok=True)
    box.monitor.ask("screendump", filename=str(photo), format="png")
    assert photo.read_bytes().startswith(b"\x89PNG")


def asked(name: str) -> bytes | None:
    """One multicast DNS question for an address, answered straight to the asker (RFC 6762 §5.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in f"{name}.local".split("."))
    question = bytes.fromhex("000000000001000000000000") + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
        asker.settimeout(3)
        for _ in range(4):
            asker.sendto(question, ("224.0.0.251", 5353))
            try:
                return asker.recv(1500)
            except TimeoutError:
                continue
    return None


@pytest.mark.parametrize("shared", [True, False])
def test_the_box_answers_to_both_of_its_names(box, first, shared):
    answer = asked("returnfeed" if shared else first["host_name"])
    assert answer is not None and socket.inet_aton(BOX) in answer


def test_the_box_answers_to_no_other_name(box):
    assert asked("returnfeed-none") is None


class OtherBox(threading.Thread):
    """Somebody who was `returnfeed.local` before the box, and says so whenever anybody asks (RFC 6762 §8.1, §9)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        group = socket.inet_aton("224.0.0.251") + socket.inet_aton(HERE)
        self.line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.line.bind(("", 5353))
        self.line.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        self.line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
        self.line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        self.line.settimeout(0.5)
        self.gone = threading.Event()

    def run(self) -> None:
        name = b"\x0areturnfeed\x05local\x00"
        # Where another question ends in `local` before it, a pointer there is all that follows (RFC 1035 §4.1.4).
        asks = re.compile(rb"\x0areturnfeed(\x05local\x00|[\xc0-\xff].)", re.DOTALL)
        # An answer with authority, one record: this name, IN A with the cache flushed, 120 s, here.
        answer = bytes.fromhex("000084000000000100000000") + name + bytes.fromhex("00018001000000780004") + socket.inet_aton(HERE)
        while not self.gone.is_set():
            try:
                asked, asker = self.line.recvfrom(9000)
            except TimeoutError:
                continue
            if asker[0] == BOX and not asked[2] & 0x80 and asks.search(asked):
                self.line.sendto(answer, ("224.0.0.251", 5353))


def test_of_two_boxes_the_first_keeps_the_shared_name_and_each_its_own(box, first):
    other = OtherBox()
    other.start()
    try:
        assert box.shell("systemctl restart returnfeed")[0] == 0
        deadline = time.monotonic() + 60
        while (answer := asked("returnfeed-2")) is None:
            assert time.monotonic() < deadline
        assert socket.inet_aton(BOX) in answer
        assert asked("returnfeed") is None
        own = asked(first["host_name"])
        assert own is not None and socket.inet_aton(BOX) in own
    finally:
        other.gone.set()
        other.join()
        other.line.close()
    assert box.shell("systemctl restart returnfeed")[0] == 0
    answer = asked("returnfeed")
    assert answer is not None and socket.inet_aton(BOX) in answer, "the name is free again"
