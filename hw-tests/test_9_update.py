"""Updates: by upload while the show goes on, by a stick, by a file on the card; what does not work goes back by itself.

The updates are those of hw-tests/bundles. The emulated box starts the slot that autoboot.txt names, at every start.
"""

import base64
import json
import os
import socket
import struct
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from box import Starts

pytestmark = pytest.mark.needs("shell", "card", "power", "reading the card when it is off", "a cable of its own", "a load")
BUILT = os.environ.get("HW_TEST_BUILT", "target/debug")
BUNDLES = Path("target/hw-test/bundles").resolve()
STICK = ("-device", "qemu-xhci,id=usb")
MEGABYTE = 1 << 20


def bundle(version: str) -> Path:
    return BUNDLES / f"returnfeed-{version}.update"


class Evening(Starts):
    def begin(self) -> None:
        super().begin(devices=STICK)

    def slot(self) -> int:
        return int(self.box.shell("sed -E 's/.*returnfeed[.]slot=([23]).*/\\1/' /proc/cmdline")[1])

    def kept(self) -> str:
        """Who the box is and what it was told."""
        code, said = self.box.shell("grep -h '^[^#]' /data/machine-id /etc/machine-id /etc/returnfeed/{box,returnfeed}.toml")
        assert code == 0, said
        return said

    def files(self) -> str:
        return self.box.shell("ls /data/update /var/lib/returnfeed/update 2>&1")[1]

    def journal(self, unit: str = "returnfeed-update") -> str:
        return self.box.shell(f"journalctl -b --no-pager -q -o cat -u {unit}")[1]

    def status(self) -> dict:
        code, said = self.box.shell("cat /run/returnfeed-update/status.json")
        return json.loads(said) if code == 0 else {}

    def result(self) -> dict:
        return json.loads(self.box.shell("cat /data/update/result")[1])

    def until(self, what, seconds: float):
        """What `what` finds, once it finds something."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, f"{self.journal()}\n{self.status()}\n{self.files()}"
            time.sleep(1)
        return found

    def trial(self) -> str:
        return self.box.shell("cat /data/update/trial 2>/dev/null")[1]

    def wait_until_written(self, seconds: float = 300) -> None:
        """Until the next start is with the update."""
        self.until(lambda: "the next start is with it" in self.journal(), seconds)

    def ask(self, method: str, path: str, body: bytes | Path | None = None) -> tuple[int, str]:
        """The API, as somebody who holds the card."""
        code = self.box.shell("sed -n 's/^setup_code = \"\\(.*\\)\"/\\1/p' /etc/returnfeed/box.toml")[1]
        data = body.read_bytes() if isinstance(body, Path) else body
        request = urllib.request.Request(
            f"https://{self.box.address}/api/v1/update{path}", data, {"Authorization": f"Bearer {code}"}, method=method
        )
        try:
            # That its certificate is to be trusted is shown elsewhere.
            unverified = ssl._create_unverified_context()
            with urllib.request.urlopen(request, timeout=300, context=unverified) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def upload(self, version: str, options: str = "") -> None:
        code, said = self.ask("PUT", options, bundle(version))
        assert code < 300, (code, said)

    def start_with_update(self, restarts: int = 1) -> None:
        """Starts again, and waits for as many starts as that is to lead to."""
        self.box.shell.send("systemctl reboot")
        for _ in range(restarts):
            self.box.wait_for_restart(300)
        self.wait()

    def plug_in(self, stick: Path) -> None:
        ask = self.box.monitor.ask
        file = {"driver": "file", "filename": str(stick), "read-only": True}
        ask("blockdev-add", **{"driver": "raw", "node-name": "stick", "read-only": True, "file": file})
        ask("device_add", driver="usb-storage", drive="stick", id="stick", bus="usb.0")


@pytest.fixture(scope="module")
def evening(bench, card, folder):
    bench.network.serve_addresses()
    evening = Evening(bench, folder)
    evening.begin()
    yield evening
    if evening.box:
        evening.box.keep_journal()
        evening.end()
    bench.stop()


class Show:
    """A feed, two viewers, and somebody who watches the tally: the simulated vMix cuts every 2 s."""

    SECONDS = 100

    def __init__(self, box) -> None:
        self._box = box
        self.cuts: list[float] = []
        self.unknown = 0
        self._stop = threading.Event()
        self._sender = subprocess.Popen(
            [f"{BUILT}/returnfeed", "simulate", "--srt", f"srt://{box.address}:8890", "--auto-cut", "2"]
        )
        self._wait_for_feed()
        self._viewers = subprocess.Popen(
            [f"{BUILT}/examples/viewers", f"http://{box.address}:8889/pgm/whep", "2", str(self.SECONDS)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _wait_for_feed(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            with urllib.request.urlopen(f"http://{self._box.address}:8889/api/v1/status", timeout=30) as answer:
                status = json.load(answer)
            if any(stream["live"] for stream in status["streams"]) and status["tally"]["source"] == "live":
                return
            assert time.monotonic() < deadline, status
            time.sleep(0.5)

    def _watch(self) -> None:
        shown = None
        with socket.create_connection((self._box.address, 8889), 10) as line:
            key = base64.b64encode(os.urandom(16)).decode()
            line.sendall(
                f"GET /ws/ HTTP/1.1\r\nHost: {self._box.address}:8889\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            messages = line.makefile("rb")
            while messages.readline().strip():
                pass
            while not self._stop.is_set():
                said = read_message(messages)
                if said.get("type") != "tally":
                    continue
                self.unknown += said["source"] != "live"
                now = [entry["tally"] for entry in said["inputs"]]
                if now != shown and shown is not None:
                    self.cuts.append(time.monotonic())
                shown = now

    def end(self) -> tuple[dict, list[float]]:
        """What the viewers counted, and the seconds between cuts as they were shown."""
        try:
            said, _ = self._viewers.communicate(timeout=self.SECONDS + 60)
        finally:
            self._stop.set()
            self._watcher.join(10)
            self._sender.terminate()
            self._sender.wait()
        return json.loads(said), [later - earlier for earlier, later in zip(self.cuts, self.cuts[1:], strict=False)]


def read_message(line) -> dict:
    """One text message (RFC 6455 §5.2); a server does not mask. Others are taken for empty ones."""
    kind, length = line.read(2)
    if length == 126:
        (length,) = struct.unpack(">H", line.read(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", line.read(8))
    text = line.read(length)
    return json.loads(text) if kind == 0x81 else {}


def test_an_upload_is_written_while_the_show_goes_on(evening):
    assert evening.slot() == 2
    show = Show(evening.box)
    begun = time.monotonic()
    try:
        evening.upload("90.0.0")
        evening.wait_until_written()
        took = time.monotonic() - begun
    finally:
        seen, pauses = show.end()
    print(f"uploaded and written in {took:.0f} s; viewers: {seen}; longest pause between cuts {max(pauses):.2f} s")
    assert took < show.SECONDS, "the show was over before the update was written"
    assert seen["lost"] == 0 and seen["broken_frames"] == 0 and seen["ended"] == 0
    assert seen["longest_pause_ms"] < 1000
    # One every 2 s, none missed: a missed one would be a pause of 4 s.
    assert max(pauses) < 3 and show.unknown == 0
    assert evening.slot() == 2 and evening.status()["state"] == "written"


def test_the_restart_is_on_command_and_the_update_is_confirmed(evening):
    was = evening.kept()
    code, said = evening.ask("POST", "/restart")
    assert code < 300, (code, said)
    evening.box.wait_for_restart()
    evening.wait()
    assert evening.slot() == 3
    assert evening.trial().startswith("slot=3 left=2 version=90.0.0")
    evening.until(lambda: evening.trial() == "", 120)
    assert evening.result()["result"] == "confirmed"
    assert evening.kept() == was
    assert evening.box.shell("systemctl --failed --no-legend --plain") == (0, "")
    assert "bundle" not in evening.files()


def test_a_version_older_than_the_one_that_runs_is_refused(evening):
    code, said = evening.ask("PUT", "", bundle("0.0.1"))
    print(code, said)
    assert code >= 400 and "older" in said
    assert evening.trial() == "" and evening.slot() == 3


def test_an_update_with_a_wrong_signature_is_refused_in_words_on_the_card(evening, card):
    evening.end()
    before = slot_content(card, 2)
    card.write("returnfeed-91.0.0.update", bundle("91.0.0"))
    evening.begin()
    evening.until(lambda: "was not taken" in evening.journal(), 120)
    words = card.read("returnfeed-update.txt").decode()
    print(words)
    assert "signature" in words and "returnfeed-91.0.0.update" in words and "\r\n" in words
    assert evening.slot() == 3 and evening.trial() == ""
    evening.end()
    assert slot_content(card, 2) == before, "something was written to the slot"
    card.remove("returnfeed-91.0.0.update")
    card.write("returnfeed-90.0.0.update", bundle("90.0.0"))


def slot_content(card, number: int) -> bytes:
    with card.path.open("rb") as file:
        file.seek(card.extent(number)[0])
        return file.read(16 * MEGABYTE)


def test_a_write_whose_power_is_cut_is_done_again_from_a_file_on_the_card(evening, card):
    """The version says that it is newer than the program; the same one was confirmed before, from elsewhere."""
    evening.begin()
    evening.until(lambda: evening.status().get("step") == "writing" and evening.status()["done"] > 4 * MEGABYTE, 120)
    was = evening.kept()
    evening.end()
    assert card.slot() == 3
    evening.begin()
    assert evening.slot() == 3, "half an update was started"
    evening.wait_until_written()
    assert card.slot() == 2 and evening.slot() == 3
    evening.start_with_update()
    assert evening.slot() == 2
    evening.until(lambda: evening.trial() == "", 120)
    assert evening.kept() == was
    # The file is still there.
    assert "was seen to before" in evening.journal()
    evening.end()
    card.remove("returnfeed-90.0.0.update")
    with pytest.raises(FileNotFoundError):
        card.read("returnfeed-update.txt")
    evening.begin()


def test_an_update_from_a_stick_that_does_not_serve_goes_back_by_itself(evening, card, folder):
    was = evening.kept()
    evening.plug_in(stick_with(bundle("92.0.0"), folder))
    evening.wait_until_written()
    # With the update, three times, and back.
    evening.start_with_update(restarts=5)
    assert evening.slot() == 2 and card.slot() == 2
    assert evening.result()["result"] == "rolled-back" and evening.result()["version"] == "92.0.0"
    assert evening.kept() == was and evening.trial() == ""
    evening.until(lambda: "did not work" in card_says(card), 60)
    print(card_says(card))
    # A stick that stays plugged in, or is plugged in again, does not bring it back.
    evening.plug_in(folder / "stick.img")
    evening.until(lambda: "was seen to before" in evening.journal("returnfeed-update-stick@*"), 60)


def card_says(card) -> str:
    try:
        return card.read("returnfeed-update.txt").decode()
    except FileNotFoundError:
        return ""


def stick_with(update: Path, folder: Path) -> Path:
    """A stick as it is sold: one partition, FAT."""
    stick = folder / "stick.img"
    size, start = update.stat().st_size + 16 * MEGABYTE, MEGABYTE
    with stick.open("wb") as file:
        file.truncate(start + size // MEGABYTE * MEGABYTE)
    table = "label: dos\nstart=1MiB, type=c\n"
    subprocess.run(["sfdisk", "--quiet", stick], input=table, text=True, check=True)
    subprocess.run(["mkfs.vfat", "--offset", str(start // 512), "-F", "32", stick], check=True, capture_output=True)
    subprocess.run(["mcopy", "-i", f"{stick}@@{start}", update, f"::{update.name}"], check=True)
    return stick


@pytest.mark.parametrize("version", ["93.0.0", "94.0.0"], ids=["systemd has crashed", "nothing looks after the update"])
def test_an_update_whose_start_hangs_goes_back_by_itself(evening, card, version):
    was = evening.kept()
    evening.upload(version, "?restart=now")
    # As it was asked for, with the update three times, each ended from outside of it, and back.
    for _ in range(5):
        evening.box.wait_for_restart(300)
    evening.wait()
    assert evening.slot() == 2 and card.slot() == 2
    assert evening.result()["result"] == "rolled-back" and evening.result()["version"] == version
    assert evening.kept() == was
