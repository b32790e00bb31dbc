"""A copy of the image that a test may change: the card of the emulated box."""

import os
import struct
import subprocess
from pathlib import Path
from typing import Self

SECTOR = 512


class Card:
    """An image file with the partitions that `image/build` describes."""

    def __init__(self, image: Path, copy: Path, size: int = 0) -> None:
        """`size`: how large the card is in bytes, when larger than the image."""
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        if size:
            os.truncate(copy, size)
        self.path = copy

    @classmethod
    def in_place(cls, path: Path) -> Self:
        """The file itself, not a copy."""
        card = cls.__new__(cls)
        card.path = path
        return card

    def extent(self, number: int) -> tuple[int, int]:
        """First byte and length of a partition (the master boot record, by its common layout)."""
        with self.path.open("rb") as card:
            start, length = struct.unpack_from("<II", card.read(SECTOR), 446 + 16 * (number - 1) + 8)
        return start * SECTOR, length * SECTOR

    def _start(self, number: int) -> int:
        return self.extent(number)[0]

    def _partition(self, number: int) -> str:
        """Where mtools finds a FAT partition."""
        return f"{self.path}@@{self._start(number)}"

    def read(self, name: str, partition: int = 1) -> bytes:
        """A file; FileNotFoundError where there is none."""
        shown = subprocess.run(["mtype", "-i", self._partition(partition), f"::{name}"], capture_output=True)
        if shown.returncode:
            raise FileNotFoundError(name)
        return shown.stdout

    def write(self, name: str, content: str | Path, partition: int = 1) -> None:
        """What a technician does on a laptop: a text, or a file that is copied."""
        source, text = (content, None) if isinstance(content, Path) else ("-", content.encode())
        subprocess.run(["mcopy", "-o", "-i", self._partition(partition), source, f"::{name}"], input=text, check=True)

    def remove(self, name: str, partition: int = 1) -> None:
        """The same."""
        subprocess.run(["mdel", "-i", self._partition(partition), f"::{name}"], check=True)

    def names_in_data(self, folder: str = "/") -> set[str]:
        """What is in a folder of the data partition, which nobody mounts for that; the box is off."""
        shown = subprocess.run(
            ["debugfs", "-R", f"ls -p {folder}", f"{self.path}?offset={self._start(4)}"], capture_output=True, text=True
        )
        return {line.split("/")[5] for line in shown.stdout.splitlines() if line.startswith("/")} - {".", "..", ""}

    def slot(self) -> int:
        """The partition that autoboot.txt names."""
        words = self.read("autoboot.txt").decode().split()
        return next(int(word.split("=")[1]) for word in words if word.startswith("boot_partition="))

    def what_the_firmware_starts(self, folder: Path) -> tuple[Path, Path, str]:
        """Kernel, initramfs and command line of the slot that autoboot.txt names.

        The emulator runs no Raspberry Pi firmware, so this reads what that would read.
        """
        slot = self.slot()
        config = [line.split("=" if "=" in line else None) for line in self.read("config.txt", slot).decode().splitlines()]
        kernel = next(words[1] for words in config if words and words[0] == "kernel")
        initramfs = next(words[1] for words in config if words and words[0] == "initramfs")
        for name in kernel, initramfs:
            (folder / name).write_bytes(self.read(name, slot))
        return folder / kernel, folder / initramfs, self.read("cmdline.txt", slot).decode().strip()
