"""USB sticks with a file on them, as files: with the file systems that people's computers put on sticks."""

import struct
import subprocess
import tempfile
from pathlib import Path

MEGABYTE = 1 << 20


def fat(stick: Path, file: Path) -> Path:
    """As it is sold: one partition, FAT."""
    # Smaller ones have too few clusters for FAT32.
    size, start = file.stat().st_size + 64 * MEGABYTE, MEGABYTE
    with stick.open("wb") as image:
        image.truncate(start + size // MEGABYTE * MEGABYTE)
    table = "label: dos\nstart=1MiB, type=c\n"
    subprocess.run(["sfdisk", "--quiet", stick], input=table, text=True, check=True)
    subprocess.run(["mkfs.vfat", "--offset", str(start // 512), "-F", "32", stick], check=True, capture_output=True)
    subprocess.run(["mcopy", "-i", f"{stick}@@{start}", file, f"::{file.name}"], check=True)
    return stick


def ext4(stick: Path, file: Path) -> Path:
    """Without partitions."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, file.name).write_bytes(file.read_bytes())
        command = ["mke2fs", "-q", "-t", "ext4", "-d", folder, stick, f"{file.stat().st_size // 1024 + 16384}k"]
        subprocess.run(command, check=True)
    return stick


def exfat(stick: Path, file: Path) -> Path:
    """Without partitions; for a file of up to 4 KB. By hand, for the tests' root has no tool for it ("exFAT file system
    specification" 1.00; the section is said with each part)."""
    name, content = file.name, file.read_bytes()
    sector, cluster, heap, clusters = 512, 4096, 256, 4000
    assert 0 < len(content) <= cluster and len(name) <= 30
    bitmap, upcase, root, data = 2, 3, 4, 5

    # §3.1: the boot sector, eight more, parameters, reserved.
    boot = bytearray(11 * sector)
    struct.pack_into("<3s8s", boot, 0, b"\xeb\x76\x90", b"EXFAT   ")
    length = heap + clusters * cluster // sector
    struct.pack_into("<QQIIIIIIHHBBBBB", boot, 64, 0, length, 128, 64, heap, clusters, root, 0x5EED, 0x100, 0, 9, 3, 1, 0x80, 0xFF)
    for number in range(9):
        struct.pack_into("<I", boot, (number + 1) * sector - 4, 0xAA550000)
    # §3.4: what changes while it is in use is not summed.
    total = 0
    for at, byte in enumerate(boot):
        if at not in (106, 107, 112):
            total = ((total >> 1 | total << 31) + byte) & 0xFFFFFFFF
    region = bytes(boot) + struct.pack("<I", total) * (sector // 4)

    # §7.2.5: as they are up to 0x60, a to z, as they are.
    table = struct.pack("<HH26HHH", 0xFFFF, 0x61, *range(0x41, 0x5B), 0xFFFF, 0x10000 - 0x7B)
    total = 0
    for byte in table:
        total = ((total >> 1 | total << 31) + byte) & 0xFFFFFFFF
    entries = struct.pack("<B19xIQ", 0x81, bitmap, clusters // 8) + struct.pack("<B3xI12xIQ", 0x82, total, upcase, len(table))

    # §7.4, 7.6, 7.7: the file, where it is, what it is called.
    of_name = 0
    for byte in name.upper().encode("utf-16le"):
        of_name = ((of_name >> 1 | of_name << 15) + byte) & 0xFFFF
    day = (2026 - 1980) << 25 | 1 << 21 | 1 << 16
    letters = name.encode("utf-16le").ljust(60, b"\0")
    entry = bytearray(struct.pack("<BBHH2xIII12x", 0x85, 3, 0, 0x20, day, day, day))
    entry += struct.pack("<BBxBH2xQ4xIQ", 0xC0, 1, len(name), of_name, len(content), data, len(content))
    entry += b"".join(struct.pack("<BB30s", 0xC1, 0, letters[at : at + 30]) for at in (0, 30))
    total = 0
    for at, byte in enumerate(entry):
        if at not in (2, 3):
            total = ((total >> 1 | total << 15) + byte) & 0xFFFF
    struct.pack_into("<H", entry, 2, total)

    with stick.open("wb") as image:
        image.truncate(length * sector)
        image.write(region * 2)
        image.seek(128 * sector)
        image.write(struct.pack("<6I", 0xFFFFFFF8, *[0xFFFFFFFF] * 5))
        for number, what in (bitmap, b"\x0f"), (upcase, table), (root, entries + entry), (data, content):
            image.seek(heap * sector + (number - 2) * cluster)
            image.write(what)
    return stick
