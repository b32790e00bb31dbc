"""What every box can do, emulated or real."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shell import Shell

# What a box may be able to do, and what to do where it cannot. Tests name what they need: `@pytest.mark.needs(…)`.
ABILITIES = {
    "shell": "no line to the box's debug shell; name one in SERIAL",
    "card": "no way to the box's card; name SERIAL, or CARD and what switches it over",
    "power": "nothing switches the box's power; by hand: pull the plug and look whether the page comes back",
    "reading the card when it is off": "the card cannot be read while the box is off",
    "a cable of its own": "the box's cable is not the tests' own; by hand: a laptop straight into the box's socket",
    "a load": "its emulator is too slow for pictures",
    "pins": "nothing drives the box's pins; by hand: docs/box.md, \"Factory reset\"",
}


class Box:
    """A running box. `address` is where its page is looked for."""

    name = "box"
    address: str
    folder: Path
    started: float | None
    shell: Shell
    seconds_to_page: float

    def wait_for_page(self, seconds: float = 240) -> float:
        """Seconds from the start of the box until the page answers."""
        deadline = time.monotonic() + seconds
        while not self._page_answers():
            self._look_after()
            if time.monotonic() > deadline:
                raise TimeoutError(f"no page at {self.address} after {seconds} s; see {self.folder}")
            time.sleep(0.2)
        if self.started is None:
            return 0
        took = time.monotonic() - self.started
        if not self._reported:
            report(self.folder, f"{self.name}: start to page {took:.1f} s ({self.folder.name})")
            self._reported = True
        return took

    _reported = False

    def _page_answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 8889), 1) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n")
                return b" 200 " in connection.recv(64)
        except OSError:
            return False

    def _look_after(self) -> None:
        """Called while something is waited for: raises when that is in vain."""

    def started_again(self) -> None:
        """The box has just started again by itself: from now on everything is waited for anew."""
        self.started, self._reported = time.monotonic(), False

    def keep_journal(self) -> None:
        """Beside the serial log; the box must be up."""
        journal = self.shell("journalctl -b --no-pager -o short-monotonic", 240)[1]
        (self.folder / "journal.log").write_text(journal)

    def cut_power(self) -> None:
        """Pulls the plug."""
        raise NotImplementedError

    def pins(self) -> int:
        """The levels of the header's pins as measured from outside: bit 21 is GPIO 21."""
        raise NotImplementedError

    def drive(self, pin: int, high: bool) -> None:
        """Puts a level on a pin from outside."""
        raise NotImplementedError

    def wait_for_restart(self, seconds: float = 240) -> None:
        """Until the box has started again by itself."""
        raise NotImplementedError


@contextmanager
def running(box: Box, page: bool = True) -> Iterator[Box]:
    """`box` when it has come up, with its page where it usually is unless not `page`; in the end its journal is kept and
    its plug pulled."""
    try:
        if page:
            box.seconds_to_page = box.wait_for_page()
        box.shell.wait(240)
        box.shell("systemctl is-system-running --wait", 240)
        yield box
    finally:
        box.keep_journal()
        box.cut_power()


class Starts:
    """The box under test, from one start to the next."""

    def __init__(self, bench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self.box = None

    def begin(self, **what_it_has: object) -> None:
        self.box = self.bench.start(self.folder, **what_it_has)
        self.wait()

    def wait(self) -> None:
        self.box.wait_for_page()
        self.box.shell.wait(120)
        self.box.shell("systemctl is-system-running --wait", 240)

    def end(self) -> None:
        self.box.cut_power()
        self.box = None


def report(folder: Path, line: str) -> None:
    """Kept in report.txt beside the logs and shown at the end."""
    with (folder.parent / "report.txt").open("a") as file:
        file.write(line + "\n")
