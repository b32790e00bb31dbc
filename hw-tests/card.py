"""A copy of the image that a test may change: the card of the emulated box."""

import shutil
import struct
import subprocess
from pathlib import Path

SECTOR = 512


class Card:
    """An image file with the partitions that `image/build` describes."""

    def __init__(self, image: Path, copy: Path) -> None:
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        self.path = copy

    def _partition(self, number: int) -> str:
        """Where mtools finds a FAT partition."""
        table = self.path.open("rb").read(SECTOR)
        (start,) = struct.unpack_from("<I", table, 446 + 16 * (number - 1) + 8)
        return f"{self.path}@@{start * SECTOR}"

    def read(self, name: str, partition: int = 1) -> bytes:
        """A file; FileNotFoundError where there is none."""
        shown = subprocess.run(["mtype", "-i", self._partition(partition), f"::{name}"], capture_output=True)
        if shown.returncode:
            raise FileNotFoundError(name)
        return shown.stdout

    def write(self, name: str, content: str, partition: int = 1) -> None:
        """What a technician does on a laptop."""
        subprocess.run(
            ["mcopy", "-o", "-i", self._partition(partition), "-", f"::{name}"], input=content.encode(), check=True
        )

    def what_the_firmware_starts(self, folder: Path) -> tuple[Path, Path, str]:
        """Kernel, initramfs and command line of the slot that autoboot.txt names.

        The emulator runs no Raspberry Pi firmware, so this reads what that would read.
        """
        words = self.read("autoboot.txt").decode().split()
        slot = next(int(word.split("=")[1]) for word in words if word.startswith("boot_partition="))
        config = [line.split("=" if "=" in line else None) for line in self.read("config.txt", slot).decode().splitlines()]
        kernel = next(words[1] for words in config if words and words[0] == "kernel")
        initramfs = next(words[1] for words in config if words and words[0] == "initramfs")
        for name in kernel, initramfs:
            (folder / name).write_bytes(self.read(name, slot))
        return folder / kernel, folder / initramfs, self.read("cmdline.txt", slot).decode().strip()
