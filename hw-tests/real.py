"""A box that is somewhere else: a real Raspberry Pi, known by its address and what its environment file names."""

import base64
import subprocess
import time
from pathlib import Path

import box
from card import Card
from shell import Shell


def do(command: str) -> None:
    """A command of the environment file."""
    subprocess.run(["sh", "-c", command], check=True, timeout=120, stdin=subprocess.DEVNULL)


class SwitchedCard(Card):
    """A card that a multiplexer hands to the tests while the box is off."""

    def __init__(self, device: str, take: str, give: str) -> None:
        self.path, self._take, self._give = Path(device), take, give

    def read(self, name: str, partition: int = 1) -> bytes:
        do(self._take)
        try:
            return super().read(name, partition)
        finally:
            do(self._give)

    def write(self, name: str, content: str, partition: int = 1) -> None:
        do(self._take)
        try:
            super().write(name, content, partition)
        finally:
            do(self._give)


class CardInTheBox:
    """The card's FAT partition by way of the box's own shell: it is read at the next start."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def read(self, name: str) -> bytes:
        self._shell.wait(300)
        code, said = self._shell(f"base64 -w 0 /card/{name}")
        if code:
            raise FileNotFoundError(name)
        return base64.b64decode(said)

    def write(self, name: str, content: str) -> None:
        self._shell.wait(300)
        text = base64.b64encode(content.encode()).decode()
        code, said = self._shell(
            f"mount -o remount,rw /card && echo {text} | base64 -d > /card/{name}; sync; mount -o remount,ro /card"
        )
        if code:
            raise OSError(said)


class Real(box.Box):
    """Started anew where something switches its power or its shell can be reached; else taken as it is found."""

    name = "real"

    def __init__(self, settings: dict[str, str], folder: Path, shell: Shell | None) -> None:
        self.address, self.folder = settings["ADDRESS"], folder
        self.shell = shell
        self._cut = settings.get("POWER_CUT")
        self._card_is_taken = "CARD" in settings
        self.started = None
        if self._cut:
            do(self._cut)
            time.sleep(float(settings.get("POWER_OFF_SECONDS", "2")))
            do(settings["POWER_ON"])
            self.started_again()
        elif shell:
            self.restart()

    def restart(self) -> None:
        """As orderly as the box can."""
        self.shell.wait(300)
        self.shell.send("systemctl reboot")
        self.wait_for_restart()

    def wait_for_restart(self, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while self._page_answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the box has not started again within {seconds} s")
            time.sleep(0.2)
        self.started_again()

    def cut_power(self) -> None:
        """Where the card is to be taken; else the box is left running, and cut off when it is started anew."""
        if self._cut and self._card_is_taken:
            do(self._cut)
