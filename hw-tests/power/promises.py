"""What the box has promised to keep, by what it said, and whether a card keeps it."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from card import SECTOR, Card
from recorded import Event, Said, Write

CARD, DATA = 1, 4
# The box's own journalctl reads its journal.
JOURNALCTL = ["qemu-aarch64", "-L", "target/image/root", "target/image/root/usr/bin/journalctl"]
PROGRAMS_GROUP = 800
# What is written while the load runs; all else stays as the first start left it.
CHANGING = {
    "settings/returnfeed.toml", "settings/from-card.toml", "state/vmix-host", "card/returnfeed-mistakes.txt",
    "settings/earlier.toml", "card/returnfeed-setup.txt", "state/access", "state/https-certificate.pem",
    "state/last-seen",
}  # fmt: skip
# What fsck.vfat says of a FAT that was being written when power went, in our words.
FAT_NOTES = {
    "Dirty bit": "FAT: marked as in use",
    "FATs differ": "FAT: its two copies differ",
    "Reclaimed": "FAT: unused cluster marked as used",
    "Truncating": "FAT: words for a mistake cut off",
    "summary wrong": "FAT: count of free clusters wrong",
}


def settings_text(n: int) -> bytes:
    """The same as in load.sh."""
    lines = f"# These are settings number {n}.\n" * (n * 37 % 900 + 1)
    return f'{lines}[[camera]]\nname = "Camera of version {n}"\ninputs = [1]\n'.encode()


@dataclass
class Promised:
    """What holds at a moment. Settings 0 and vMix at 10.99.0.1 are where the load begins."""

    begun: int = 0
    settings: int = 0
    mistakes: int | None = None
    """Whose words are on the card; None: there are no mistakes."""
    at_rest: bool = True
    """Neither settings nor words for mistakes are being written."""
    fact: int = 1
    journal: int = 0
    links: set[int] = field(default_factory=set)
    """Links that somebody was given."""
    revoking: set[int] = field(default_factory=set)
    """Those that are being revoked, or have been."""
    revoked: set[int] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        match line.split():
            case ["begin", "card", n]:
                self.begun, self.at_rest = int(n), False
            case ["kept", "settings", n]:
                self.settings, self.mistakes, self.at_rest = int(n), None, True
            case ["kept", "mistakes", n]:
                self.mistakes, self.at_rest = int(n), True
            case ["kept", "fact", address]:
                self.fact = int(address.rsplit(".", 1)[1])
            case ["kept", "journal", n]:
                self.journal = int(n)
            case ["kept", "link", n]:
                self.links.add(int(n))
            case ["begin", "revoking", n]:
                self.revoking.add(int(n))
            case ["kept", "revoked", n]:
                self.revoked.add(int(n))
            case ["trouble", *_]:
                self.troubles.append(line)


def promised_by(events: list[Event]) -> Promised:
    promised = Promised()
    for event in events:
        if isinstance(event, Said):
            promised.hear(event.line)
    return promised


def faults_of_access(promised: Promised, text: bytes | None) -> list[str]:
    """Whether what is kept of who may do what is whole, with every link that was given and none that was revoked."""
    try:
        names = {link["name"] for link in json.loads(text)["links"]} if text is not None else set()
    except (ValueError, KeyError, TypeError) as error:
        return [f"what is kept of links and password is torn: {len(text or b'')} bytes, {error!r}"]
    lost = sorted(n for n in promised.links - promised.revoking if f"Link {n}" not in names)
    back = sorted(n for n in promised.revoked if f"Link {n}" in names)
    return [f"links {lost} were given, and are gone"] * bool(lost) + [f"links {back} were revoked, and are back"] * bool(back)


def faults_of_https(files: dict[str, bytes]) -> list[str]:
    """Whether what changes of HTTPS's state is whole. The authority's key never changes, and is compared as such."""
    certificate, seen = files.get("state/https-certificate.pem"), files.get("state/last-seen")
    begins, ends = (len(re.findall(rb"^-----%s " % word, certificate or b"", re.M)) for word in (b"BEGIN", b"END"))
    faults = []
    if certificate is not None and not begins == ends > 1:
        faults.append(f"HTTPS's certificate is torn: {len(certificate)} bytes, {begins} of {ends} parts")
    if seen is not None and not re.fullmatch(rb"\d{9,}\n", seen):
        faults.append(f"the last time seen is {seen!r}")
    return faults


@dataclass
class Found:
    """What an examination of a card found."""

    faults: list[str] = field(default_factory=list)
    """Broken promises."""
    notes: list[str] = field(default_factory=list)
    """Where the cut met the box, and what was lost that nobody was promised."""
    settings: int = 0
    """The version in force."""


def run(*command: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace")


class Examiner:
    """Looks at the two partitions that are ever written. `before`: what was written until the load began."""

    def __init__(self, flashed: Card, before: list[Write], folder: Path) -> None:
        self._flashed = flashed
        self._folder = folder
        # First byte and length of each.
        self.extents = {number: flashed.extent(number) for number in (CARD, DATA)}
        folder.mkdir(parents=True)
        for number, (start, length) in self.extents.items():
            run("dd", f"if={flashed.path}", f"of={self._base(number)}", "bs=1M", f"skip={start >> 20}",
                f"count={length >> 20}", "conv=sparse")  # fmt: skip
            self._write(self._base(number), number, before)
        self.constant = self._constant_files() if before else {}

    def _base(self, number: int) -> Path:
        return self._folder / f"partition{number}.before"

    def _write(self, file: Path, number: int, writes: list[Write]) -> None:
        start, length = self.extents[number]
        with file.open("r+b") as partition:
            for write in writes:
                if start <= write.offset < start + length:
                    partition.seek(write.offset - start)
                    partition.write(write.data)

    def _constant_files(self) -> dict[str, bytes]:
        """What nobody changes while the load runs."""
        place = self._folder / "before"
        self.lay_out([], place)
        run("e2fsck", "-p", place / "data")
        files = {name: data for name, data in self.unpack(place).items() if name not in CHANGING}
        assert {"machine-id", "card/autoboot.txt", "card/returnfeed.toml"} <= files.keys(), files.keys()
        shutil.rmtree(place)
        return files

    def lay_out(self, left: list[Write], place: Path) -> None:
        """Both partitions as files."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for number, name in (CARD, "card"), (DATA, "data"):
            run("cp", "--sparse=always", self._base(number), place / name)
            self._write(place / name, number, left)

    def put_on_card(self, content: bytes, name: str, place: Path) -> None:
        """What a technician does on a laptop."""
        (place / "given").write_bytes(content)
        assert run("mcopy", "-o", "-i", place / "card", place / "given", f"::{name}").returncode == 0

    def unpack(self, place: Path) -> dict[str, bytes]:
        """What both partitions hold, by place; the journal stays in `files/journal`."""
        out = place / "files"
        (out / "card").mkdir(parents=True)
        run("debugfs", "-R", f"rdump /settings /state /journal /machine-id /factory-reset {out}", place / "data")
        run("mcopy", "-s", "-i", place / "card", "::", out / "card")
        files = (path for path in out.rglob("*") if path.is_file() and out / "journal" not in path.parents)
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    def examine(self, events: list[Event], left: list[Write], place: Path, given: int = 0) -> Found:
        """Whether a card with `left` keeps what was promised in `events`.

        `given`: the version of the settings in the technician's own file.
        """
        promised = promised_by(events)
        found = Found(faults=list(promised.troubles))
        self.lay_out(left, place)
        self._only_where_it_may(left, found)
        self._file_systems(promised, place, found)
        files = self.unpack(place)
        self._constant(files, found, {"card/returnfeed.toml": settings_text(given)})
        self._settings(promised, files, place, found)
        self._mistakes(promised, files, found)
        self._fact(promised, files, found)
        found.faults += faults_of_access(promised, files.get("state/access")) + faults_of_https(files)
        self._secrets(files, place, found)
        self._journal(promised, place, found)
        return found

    def _examine_start(self, events: list[Event], left: list[Write], place: Path) -> tuple[bool, Found, dict[str, bytes]]:
        """What holds of every card whose power went in a start: whether that was over, the faults so far, the files."""
        done = any(isinstance(event, Said) for event in events)
        found = Found()
        self.lay_out(left, place)
        self._only_where_it_may(left, found)
        self._file_systems(Promised(at_rest=done), place, found)
        return done, found, self.unpack(place)

    def examine_first_start(self, events: list[Event], left: list[Write], place: Path) -> Found:
        """A card whose power went while the box started for the first time: it must start, as one box or another."""
        done, found, files = self._examine_start(events, left, place)
        if done:
            self._constant(files, found)
        identity = files.get("machine-id")
        if identity is not None and identity != self.constant["machine-id"]:
            found.faults.append(f"the machine-id is {identity!r}")
        found.notes.append("first start: " + ("no identity yet" if identity is None else "with its identity"))
        return found

    def examine_reset(self, events: list[Event], left: list[Write], place: Path) -> Found:
        """A card whose power went while the box forgot everything: it still will, or it has, and nothing between."""
        done, found, files = self._examine_start(events, left, place)
        asked, begun = "card/factory-reset" in files, "factory-reset" in files
        own = {name for name in self.constant if not name.startswith("card/")}
        if asked and not begun:
            found.notes.append("factory reset: not begun")
            self._constant(files, found)
        elif begun:
            found.notes.append("factory reset: begun, done again at the next start")
        else:
            found.notes.append("factory reset: done")
            known = [name for name in sorted(own) if files.get(name) == self.constant[name]]
            if known:
                found.faults.append(f"the reset is said to be done, and the box still knows {', '.join(known)}")
        if done and (asked or begun or not re.fullmatch(rb"[0-9a-f]{32}\n?", files.get("machine-id", b""))):
            found.faults.append(f"after the reset: {sorted(files)}")
        return found

    def _constant(self, files: dict[str, bytes], found: Found, changed: dict[str, bytes] | None = None) -> None:
        for name, data in (self.constant | (changed or {})).items():
            if files.get(name) != data:
                found.faults.append(f"{name} is {'changed' if name in files else 'gone'}")

    def _only_where_it_may(self, left: list[Write], found: Found) -> None:
        ends = [(start, start + length) for start, length in self.extents.values()]
        for write in left:
            if not any(start <= write.offset and write.offset + len(write.data) <= end for start, end in ends):
                found.faults.append(f"a write to sector {write.offset // SECTOR}, where nothing is ever written")

    def _file_systems(self, promised: Promised, place: Path, found: Found) -> None:
        # What image/init does, then a thorough look.
        mended = run("e2fsck", "-p", place / "data")
        if mended.returncode > 1:
            found.faults.append(f"the data partition needs more than its journal: {mended.stdout.strip()}")
            run("e2fsck", "-y", place / "data")
        elif (checked := run("e2fsck", "-fn", place / "data")).returncode:
            found.faults.append(f"the data partition is damaged: {checked.stdout.strip()}")
        card = run("fsck.vfat", "-n", place / "card")
        if card.returncode and promised.at_rest:
            found.faults.append("the card's FAT: " + " | ".join(card.stdout.split("\n")[1:]))
        elif card.returncode:
            notes = [note for words, note in FAT_NOTES.items() if words in card.stdout]
            found.notes += notes or ["FAT: " + card.stdout]

    def _settings(self, promised: Promised, files: dict[str, bytes], place: Path, found: Found) -> None:
        in_force = self._version("returnfeed.toml", promised, files, place, found)
        adopted = self._version("from-card.toml", promised, files, place, found)
        if adopted > in_force:
            found.faults.append(f"version {adopted} is said to be adopted, and {in_force} is in force")
        found.settings = in_force
        if promised.at_rest:
            met = "settings: at rest"
        elif any(name.startswith("settings/") and name.endswith(".new") for name in files):
            met = "settings: new file beside the old one"
        elif in_force != adopted:
            met = "settings: one of two files renamed"
        elif in_force > promised.settings:
            met = "settings: both renamed, not yet confirmed"
        else:
            met = "settings: nothing on the card yet"
        found.notes.append(met)

    def _version(self, name: str, promised: Promised, files: dict[str, bytes], place: Path, found: Found) -> int:
        text = files.get(f"settings/{name}", b"")
        number = re.search(rb"Camera of version (\d+)", text)
        version = int(number[1]) if number else -1
        if version < 0 or text != settings_text(version):
            found.faults.append(f"{name} is torn: {len(text)} bytes, version {version}")
        elif not promised.settings <= version <= promised.begun:
            found.faults.append(f"{name} is version {version}; kept was {promised.settings}, begun {promised.begun}")
        else:
            status = (place / "files/settings" / name).stat()
            if (status.st_gid, status.st_mode & 0o777) != (PROGRAMS_GROUP, 0o640):
                found.faults.append(f"{name} has group {status.st_gid} and mode {status.st_mode:o}")
        return version

    def _mistakes(self, promised: Promised, files: dict[str, bytes], found: Found) -> None:
        if not promised.at_rest:
            return
        text = files.get("card/returnfeed-mistakes.txt")
        if promised.mistakes is None and text is not None:
            found.faults.append("mistakes that were mended are still on the card")
        elif promised.mistakes is not None and f"`mistake_{promised.mistakes}`".encode() not in (text or b""):
            found.faults.append(f"mistake {promised.mistakes} was told on the card, and is not there")

    def _fact(self, promised: Promised, files: dict[str, bytes], found: Found) -> None:
        text = files.get("state/vmix-host", b"10.99.0.1\n").decode(errors="replace")
        known = re.fullmatch(r"10\.99\.0\.(\d+)\n", text)
        if not known or int(known[1]) not in (promised.fact, promised.fact + 1):
            found.faults.append(f"vMix's address is {text!r}, and 10.99.0.{promised.fact} was kept")

    def _secrets(self, files: dict[str, bytes], place: Path, found: Found) -> None:
        for name in ("state/access", "state/https-certificate.pem", "state/https-authority.pem"):
            if name in files and (mode := (place / "files" / name).stat().st_mode & 0o777) != 0o600:
                found.faults.append(f"{name} has mode {mode:o}")

    def _journal(self, promised: Promised, place: Path, found: Found) -> None:
        read = run(*JOURNALCTL, "-D", place / "files/journal", "--no-pager", "-q", "-o", "cat", "-t", "power")
        lines = set(re.findall(r"^power line (\d+\.\d+) of", read.stdout, re.M))
        lost = [f"{n}.{k}" for n in range(1, promised.journal + 1) for k in range(1, 11) if f"{n}.{k}" not in lines]
        if lost:
            found.faults.append(f"{len(lost)} log lines are lost, the first {lost[0]} of {promised.journal}.10: "
                                f"{read.stderr.strip()[:200]}")  # fmt: skip
