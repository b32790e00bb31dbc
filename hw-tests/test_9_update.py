"""Updates: by upload while the show goes on, by a stick, by a file on the card; what does not work goes back by itself.

The updates are those of hw-tests/bundles. The emulated box starts the slot that autoboot.txt names, at every start.
"""

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import stick
from box import Starts
from show import SETTINGS, Show, percentiles

pytestmark = pytest.mark.needs("shell", "card", "power", "reading the card when it is off", "a cable of its own", "a load")
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
        """At most one at a time, and each file once between two starts."""
        ask = self.box.monitor.ask
        file = {"driver": "file", "filename": str(stick), "read-only": True}
        ask("blockdev-add", **{"driver": "raw", "node-name": stick.stem, "read-only": True, "file": file})
        ask("device_add", driver="usb-storage", drive=stick.stem, id="stick", bus="usb.0")

    def pull_out(self) -> None:
        self.box.monitor.ask("device_del", id="stick")
        self.until(lambda: self.box.shell("! ls /sys/class/block | grep -qx 'sd.'")[0] == 0, 30)


@pytest.fixture(scope="module")
def evening(bench, card, folder):
    bench.network.serve_addresses()
    before = card.read("returnfeed.toml").decode()
    card.write("returnfeed.toml", SETTINGS)
    evening = Evening(bench, folder)
    evening.begin()
    yield evening
    if evening.box:
        evening.box.keep_journal()
        evening.end()
    card.write("returnfeed.toml", before)
    bench.stop()


def test_an_upload_is_written_while_the_show_goes_on(evening):
    """Late is a lamp that follows no sooner than the box asks vMix by itself, every 500 ms."""
    assert evening.slot() == 2
    assert "character device" in evening.journal("returnfeed-lamps")
    show = Show(evening.box)
    began = time.monotonic()
    try:
        evening.upload("90.0.0")
        evening.wait_until_written()
        ended = time.monotonic()
    finally:
        seen = show.end()
    print(f"uploaded and written in {ended - began:.0f} s; viewers: {seen}")
    assert ended - began < show.SECONDS, "the show was over before the update was written"
    assert seen["lost"] == 0 and seen["broken_frames"] == 0 and seen["ended"] == 0
    assert seen["longest_pause_ms"] < 1000
    assert show.unknown == 0
    print(f"page: {percentiles(show.followed_by_page())}")
    took = show.followed_by_lamp()
    meanwhile = [seconds for (at, _), seconds in zip(show.cuts, took, strict=True) if began <= at < ended]
    afterwards = [seconds for (at, _), seconds in zip(show.cuts, took, strict=True) if at >= ended]
    print(f"lamp while it is uploaded and written: {percentiles(meanwhile)}; looked at every {show.lamp.longest_gap * 1000:.0f} ms at least")
    print(f"lamp afterwards: {percentiles(afterwards)}" if afterwards else "no cut afterwards")
    assert len(meanwhile) >= 20
    assert max(meanwhile) < 0.5, meanwhile
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


@pytest.mark.parametrize("system", ["fat", "exfat", "ext4"])
def test_a_stick_is_read_with_every_file_system_that_is_promised(evening, folder, system):
    """The file is no update, so that the box need not go on; that it says so by name shows that it was read."""
    words = folder / f"returnfeed-1.0.0-{system}.update"
    words.write_text("words\n" * 50)
    evening.plug_in(getattr(stick, system)(folder / f"{system}.img", words))
    evening.until(lambda: f"{words.name} on the stick is no update" in evening.journal("returnfeed-update-stick@*"), 60)
    evening.pull_out()


def test_a_stick_that_cannot_be_read_is_told_in_words(evening, folder):
    unknown = folder / "unknown.img"
    unknown.write_bytes(bytes(16 * MEGABYTE))
    evening.plug_in(unknown)
    evening.until(lambda: "no file system that the box can read" in evening.journal("returnfeed-update-stick@*"), 60)
    evening.pull_out()


def test_an_update_from_a_stick_that_does_not_serve_goes_back_by_itself(evening, card, folder):
    was = evening.kept()
    evening.plug_in(stick.fat(folder / "stick.img", bundle("92.0.0")))
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
