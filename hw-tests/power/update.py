"""Power goes while an update is written, started for the first time, and confirmed: `hw-tests/power-test --scenario update`.

One update is recorded from its first byte to its confirmation. Each cut takes another moment of that record and makes
a card of it, as a card with or without a cache may be then. Each of these cards is examined, and each starts a box.
"""

import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bench import Bench, RecordedBox
from card import Card
from promises import DATA, Found, run
from recorded import Event, Said, Write, left_after_cut

# Of hw-tests/bundles: a good one.
BUNDLE = Path("target/hw-test/bundles/returnfeed-90.0.0.update").resolve()
# What a recorded update says, in this order.
BEGINS, WRITTEN, RESTARTED, CONFIRMED = "update begins", "update written", "restarted with it", "update confirmed"
AFTERWARDS = "a while after it"
# How often a moment is drawn of: the writing of the slot, all that tells which slot starts, the first start with it, and
# what the box does once it has said that the update stays.
PHASES = [(BEGINS, WRITTEN)] * 8 + [("slot written", WRITTEN)] * 6 + [(WRITTEN, CONFIRMED)] * 4 + [(CONFIRMED, AFTERWARDS)] * 2


def record(bench: Bench, say: Callable[[str], None]) -> list[Event]:
    """What happened on a card with a bundle on it, from power on until a while after the update was confirmed."""
    box = bench.start("update", [])

    def seen(command: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while box.shell(command)[0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not after {seconds} s: {command}")
            time.sleep(0.2)

    def note(words: str) -> None:
        box.card.said(words)
        say(words)

    try:
        box.wait_for_page(600)
        box.shell.wait(120)
        seen("grep -q '\"step\":\"writing\"' /run/returnfeed-update/status.json", 300)
        note(BEGINS)
        seen("test -e /data/update/trial", 600)
        seen("journalctl -b -q --no-pager -u returnfeed-update | grep -q 'next start is with it'", 60)
        seen("systemctl show -P ActiveState returnfeed-update | grep -qx inactive", 60)
        note(WRITTEN)
        box.shell.send("systemctl reboot")
        box.wait_for_restart(300)
        note(RESTARTED)
        box.wait_for_page(600)
        box.shell.wait(120)
        # It says so once that would survive a cut of power.
        seen("journalctl -b -q --no-pager -u returnfeed-confirm | grep -q 'it stays'", 300)
        seen("! test -e /data/update/trial && grep -q confirmed /data/update/result", 10)
        note(CONFIRMED)
        # The card has other things to do afterwards.
        box.shell("for n in 1 2 3 4 5; do logger -t power afterwards $n; journalctl --sync; sleep 1; done", 120)
        note(AFTERWARDS)
        box.keep_journal()
    finally:
        events = box.card.cut()
        box.cut_power()
    return events


def places(events: list[Event], idle: tuple[int, int]) -> dict[str, int]:
    """Where in the record each phase begins. "slot written": the idle slot's last write, its first sector."""
    found = {event.line: at for at, event in enumerate(events) if isinstance(event, Said)}
    start, length = idle
    slot = [at for at, event in enumerate(events) if isinstance(event, Write) and start <= event.offset < start + length]
    return found | {"slot written": slot[-1]}


def moments(events: list[Event], idle: tuple[int, int], cuts: int, chance: random.Random) -> list[int]:
    """Where power goes: after a write or anywhere, in each phase as often as `PHASES` says. A moment is how many events
    were before it; what begins a phase was."""
    at = places(events, idle)
    drawn = []
    for cut in range(cuts):
        begin, end = (at[name] for name in PHASES[cut % len(PHASES)])
        writes = [place + 1 for place in range(begin, end) if isinstance(events[place], Write)]
        drawn.append(chance.choice(writes) if cut % 2 and writes else chance.randrange(begin + 1, end + 1))
    return drawn


class Slots:
    """What slots must hold. Looks at a card of which the power was cut."""

    def __init__(self, flashed: Card, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._whole = self._unpack(flashed, 2, folder / "whole")

    def _unpack(self, card: Card, number: int, to: Path) -> dict[str, bytes]:
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        run("mcopy", "-s", "-n", "-i", f"{card.path}@@{card.extent(number)[0]}", "::", to)
        files = {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*") if path.is_file()}
        shutil.rmtree(to)
        return files

    def examine(self, card: Card, confirmed: bool) -> Found:
        """autoboot.txt names a slot, that slot is whole, and one that is not confirmed is known to be tried."""
        found = Found()
        text = card.read("autoboot.txt")
        if not re.fullmatch(rb"\[all\]\nboot_partition=[23]\n", text):
            found.faults.append(f"autoboot.txt is {text!r}")
            return found
        slot = card.slot()
        whole = dict(self._whole)
        whole["cmdline.txt"] = whole["cmdline.txt"].replace(b"returnfeed.slot=2", b"returnfeed.slot=%d" % slot)
        there = self._unpack(card, slot, self._folder / "slot")
        wrong = sorted(name for name in whole | there if whole.get(name) != there.get(name))
        if wrong:
            found.faults.append(f"slot {slot} is started next, and is not whole: {', '.join(wrong)}")
        trial, result = self._on_data(card)
        known = "tried" if b"slot=3" in trial else "confirmed" if b"confirmed" in result else "as flashed"
        if slot == 3 and known == "as flashed":
            found.faults.append("the new slot is started next, and nothing would count its starts")
        if confirmed and (slot, known) != (3, "confirmed"):
            found.faults.append(f"the update was confirmed; the card has slot {slot}, {known}")
        found.notes.append(f"slot {'AB'[slot - 2]} is started next, the update is {known}")
        return found

    def _on_data(self, card: Card) -> list[bytes]:
        """The trial and the result, as they are once the journal was replayed."""
        start, length = card.extent(DATA)
        data = self._folder / "data"
        run("dd", f"if={card.path}", f"of={data}", "bs=1M", f"skip={start >> 20}", f"count={length >> 20}", "conv=sparse")
        run("e2fsck", "-p", data)
        try:
            return [run("debugfs", "-R", f"cat /update/{name}", data).stdout.encode() for name in ("trial", "result")]
        finally:
            data.unlink()


def start(bench: Bench, name: str, left: list[Write], slot: int) -> list[str]:
    """Starts a box from what a cut left; what is wrong with that."""
    box: RecordedBox = bench.start(name, left)
    wrong = []

    def expect(what: str, command: str, wanted: str) -> None:
        said = box.shell(command)[1]
        if said != wanted:
            wrong.append(f"at the next start {what}: {said!r}")

    try:
        box.wait_for_page(600)
        box.shell.wait(120)
        expect("another slot runs", "grep -o 'returnfeed.slot=.' /proc/cmdline", f"returnfeed.slot={slot}")
        expect("data is not there", "findmnt -no FSTYPE /data", "ext4")
        expect("it is two boxes", "cat /data/machine-id /etc/machine-id | sort -u | wc -l", "1")
        expect("units have failed", "systemctl --failed --no-legend --plain", "")
        box.keep_journal()
    except (TimeoutError, ConnectionError, RuntimeError) as error:
        wrong.append(f"the next start failed: {error}")
    finally:
        box.card.cut()
        box.cut_power()
    return wrong


def try_the_method(slots: Slots, flashed: Card, place: Path, report) -> None:
    """A test that cannot fail is worthless: a box that names the new slot too soon must be seen, and one that forgets
    what it has confirmed."""
    card = Card(flashed.path, place)
    card.write("autoboot.txt", "[all]\nboot_partition=3\n")
    seen = slots.examine(card, False).faults
    report.say(f"planted fault, the slot is named before it is written: {seen or 'THE METHOD DOES NOT SEE IT'}")
    if len(seen) != 2:
        report.faults.append("a planted fault was not seen: the slot is named before it is written")
    seen = slots.examine(Card(flashed.path, place), True).faults
    report.say(f"planted fault, a confirmed update is forgotten: {seen or 'THE METHOD DOES NOT SEE IT'}")
    if len(seen) != 1:
        report.faults.append("a planted fault was not seen: a confirmed update is forgotten")
    place.unlink()


def run_scenario(bench: Bench, flashed: Card, cuts: int, seed: str, out: Path, report) -> None:
    """Records an update and cuts it `cuts` times: all cards are examined first, then each is started."""
    events = record(bench, report.say)
    slots = Slots(flashed, out / "slots")
    try_the_method(slots, flashed, out / "planted.img", report)
    at = places(events, flashed.extent(3))
    chance = random.Random(f"{seed}/update")
    drawn = [(moment, chance.random() < 0.5) for moment in moments(events, flashed.extent(3), cuts, chance)]
    to_start = []
    for cut, (moment, has_cache) in enumerate(drawn, 1):
        left = left_after_cut(events[:moment], has_cache, random.Random(f"{seed}/update/{cut}"))
        image = out / f"cut-{cut}.img"
        card = bench.card_of(left, image)
        found = slots.examine(card, moment > at[CONFIRMED])
        to_start.append((left, card.slot()))
        # What is faulty is kept, to be looked at.
        if not found.faults:
            image.unlink()
        after = max((place, name) for name, place in at.items() if place <= moment)[1]
        what = f"cut {cut} of {cuts}: event {moment} of {len(events)}, after {after!r}, {'its cache lost' if has_cache else 'no cache'}"
        report.count(what, [(f"cut {cut}", found)], [])
    for cut, (left, slot) in enumerate(to_start, 1):
        wrong = start(bench, f"start-after-{cut}", left, slot)
        report.started += 1
        report.count(f"started after cut {cut} of {cuts}, slot {'AB'[slot - 2]}", [], wrong)
