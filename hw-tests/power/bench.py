"""Boxes on recorded cards: started, stopped with their running state kept, and brought back as they were."""

import base64
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from card import Card
from emulated import Box
from recorded import Event, RecordedCard, Write
from shell import Shell

HERE = Path(__file__).resolve().parent
SCRIPTS = "/usr/libexec/returnfeed"
# How settings must not be written; the method has to see what these lose.
PLANTED = {
    "nothing is synced": 'install -m 640 -g returnfeed /dev/stdin "$1.new" && mv "$1.new" "$1"',
    "the folder is not synced": 'install -m 640 -g returnfeed /dev/stdin "$1.new" && sync "$1.new" && mv "$1.new" "$1"',
}


class RecordedBox(Box):
    """A box in QEMU on a recorded card."""

    def _machine(self, command_line: str) -> list[object]:
        words = super()._machine(command_line)
        drive = words.index("-drive") + 1
        # A card that has a cache and says so: Linux flushes it.
        words[drive] = str(words[drive]).replace("cache=writethrough", "cache=writeback")
        return words


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {seconds} s: {what}")
        time.sleep(0.1)


class Bench:
    """Where boxes are started, each with a card of its own, a copy of `flashed`."""

    def __init__(self, flashed: Card, out: Path) -> None:
        self._flashed = flashed
        self._out = out
        self._state = out / "running-box"
        self.before: list[Write] = []
        """What was written until the running state was kept."""

    def start(self, name: str, on_it: list[Write], *more: str) -> RecordedBox:
        """A box whose card holds the flashed one and the writes `on_it`; `more` goes to QEMU at this start."""
        folder = self._out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return RecordedBox(RecordedCard(self._flashed, on_it, folder / "card.sock"), folder, at_first=more)

    def card_of(self, left: list[Write], file: Path) -> Card:
        """The flashed card with the writes `left`, in a file."""
        card = Card(self._flashed.path, file)
        with file.open("r+b") as content:
            for write in left:
                content.seek(write.offset)
                content.write(write.data)
        return card

    def first_start(self) -> list[Event]:
        """Starts a box from the flashed card and keeps its running state, with the load ready. What happened."""
        box = self.start("first-start", [])
        try:
            print(f"    page after {box.wait_for_page(600):.0f} s", flush=True)
            box.shell.wait(120)
            box.shell("systemctl is-system-running --wait", 300)
            box.card.said("kept all of the first start")
            lay_load(box.shell)
            box.shell("sync")
            ask = box.monitor.ask
            ask("stop")
            ask("migrate-set-parameters", **{"max-bandwidth": 2**34})
            ask("migrate", uri=f"file:{self._state}")
            until(lambda: ask("query-migrate").get("status") == "completed", 300, "the running box is kept")
        finally:
            box.cut_power()
        events = box.card.cut()
        self.before = [event for event in events if isinstance(event, Write)]
        return events

    def cut_while(self, name: str, load: str, seconds: float) -> list[Event]:
        """Brings the running box back, lets the load run and cuts the power that long after the first thing it said."""
        box = self.start(name, self.before, "-incoming", f"file:{self._state}")
        try:
            until(lambda: box.monitor.ask("query-status")["status"] == "paused", 120, "the kept state is read")
            box.monitor.ask("cont")
            listen(box.shell, box.card, load, seconds)
            return box.card.cut()
        finally:
            box.cut_power()


def lay_load(shell: Shell) -> None:
    """load.sh, and what it may be told to try, into the box."""
    load = base64.b64encode((HERE / "load.sh").read_bytes()).decode()
    for at in range(0, len(load), 512):
        shell(f"echo {load[at : at + 512]} >> /run/load.base64")
    said = shell("base64 -d /run/load.base64 > /run/load && . /run/load")[1]
    assert said == "", said
    for number, body in enumerate(PLANTED.values()):
        quoted, place = body.replace("&", "\\&"), f"/run/planted{number}"
        planted = shell(f"cp -r {SCRIPTS} {place}; sed -i '/^write_whole()/,/^}}/c write_whole() {{ {quoted}; }}' {place}/*; "
                        f"bash -n {place}/adopt-settings; grep -h -A1 '^write_whole' {place}/*")[1]  # fmt: skip
        assert body in planted, planted


def listen(shell: Shell, card: RecordedCard, load: str, seconds: float) -> None:
    """Starts the load and notes what it says in the card's record."""
    shell.send(f"(. /run/load; {load})")
    deadline, begun = time.monotonic() + 120, False
    try:
        while True:
            said = shell._until(b"\n", deadline).decode(errors="replace").strip()
            if said and not begun:
                deadline, begun = time.monotonic() + seconds, True
            if said:
                card.said(said)
    except TimeoutError:
        if not begun:
            raise
