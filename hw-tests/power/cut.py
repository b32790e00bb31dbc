"""`make power-test`: cuts the power of the emulated box at random moments and looks at what is left.

One box is started and its running state kept. Each cut brings that state back, lets the load run, and takes the card
out at a moment that is drawn. Every recorded card is examined many times over: what a card without a cache holds at
that moment, what cards with a cache may hold then, and at earlier moments. Every tenth cut starts the box again.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import update  # noqa: E402
from bench import PLANTED, SCRIPTS, Bench  # noqa: E402
from card import Card  # noqa: E402
from emulated import BOX, Network  # noqa: E402
from promises import CARD, DATA, Examiner, Found, settings_text  # noqa: E402
from recorded import Event, Said, Write, left_after_cut  # noqa: E402

OUT = Path("target/hw-test/power").resolve()
Examination = Callable[[list[Event], list[Write], Path], Found]


class Report:
    """What the run has seen so far, on the terminal and in target/hw-test/power/summary.txt."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._file = (OUT / "summary.txt").open("w")
        self.faults: list[str] = []
        self.notes: Counter[str] = Counter()
        self.examined = self.started = 0

    def say(self, words: str) -> None:
        words = f"{time.monotonic() - self._began:5.0f} s  {words}"
        print(words, flush=True)
        print(words, file=self._file, flush=True)

    def count(self, what: str, results: list[tuple[str, Found]], wrong: list[str]) -> None:
        """The result of one cut; `wrong`: what the next start showed."""
        self.examined += len(results)
        for _, found in results:
            self.notes.update(found.notes)
        wrong = [f"{which}: {fault}" for which, found in results for fault in found.faults] + wrong
        examined = f"; {len(results)} cards examined" if results else ""
        self.say(f"{what}{examined}: {f'{len(wrong)} FAULTS' if wrong else 'as promised'}")
        for fault in wrong:
            self.say(f"    {fault}")
        self.faults += wrong

    def sum_up(self, seed: str, cuts: int) -> None:
        self.say(f"seed {seed}: {cuts} cuts, {self.examined} cards examined, {self.started} started again, "
                 f"{len(self.faults)} faults")  # fmt: skip
        for note, times in sorted(self.notes.items()):
            self.say(f"    {times:5}  {note}")


def moments(events: list[Event], chance: random.Random, how_many: int) -> list[int]:
    """Where power may have gone before the recorded cut: after a write, right after a promise, anywhere."""
    after = [[at + 1 for at, event in enumerate(events) if isinstance(event, kind)] for kind in (Write, Said, Event)]
    return [chance.choice(after[number % 3] or after[2]) for number in range(how_many)]


def replay(examine: Examination, events: list[Event], seed: str, how_many: int, place: Path) -> list[tuple[str, Found]]:
    """The card at the recorded cut without a cache; then `how_many` others. The folders of faulty ones are kept."""
    chance = random.Random(seed)
    cuts = [(len(events), False), *[(len(events), True)] * (how_many // 2)]
    cuts += [(at, chance.random() < 0.8) for at in moments(events, chance, how_many - how_many // 2)]

    def one(number: int) -> tuple[str, Found]:
        at, has_cache = cuts[number]
        left = left_after_cut(events[:at], has_cache, random.Random(f"{seed}/{number}"))
        here = place / f"card-{number}"
        found = examine(events[:at], left, here)
        if not found.faults:
            shutil.rmtree(here)
        return f"card {number} ({'its cache lost' if has_cache else 'no cache'}, event {at} of {len(events)})", found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(one, range(len(cuts))))
    if not any(found.faults for _, found in results):
        shutil.rmtree(place)
    return results


def start_again(bench: Bench, examiner: Examiner, name: str, left: list[Write], version: int | None, place: Path,
                data: str = "ext4 rw") -> tuple[list[str], list[Write], list[Event]]:  # fmt: skip
    """Starts the box from what a cut left: what is wrong, what was on its card, and what happened on it.

    `version` of the settings must be in force; None: the box has not been told that it has any. `data`: how the data
    partition is to be mounted.
    """
    examiner.lay_out(left, place)
    # The technician's file is the newest: another would rightly be adopted instead.
    examiner.put_on_card(settings_text(version or 0), "returnfeed.toml", place)
    on_it = [*left, Write(examiner.extents[CARD][0], (place / "card").read_bytes())]
    shutil.rmtree(place)
    box = bench.start(name, [*(bench.before if version is not None else []), *on_it])
    wrong = []

    def expect(what: str, is_so: bool, seen: object) -> None:
        if not is_so:
            wrong.append(f"at the next start {what}: {seen}")

    try:
        box.wait_for_page(600)
        box.shell.wait(120)
        box.shell("systemctl is-system-running --wait", 300)
        with urllib.request.urlopen(f"http://{BOX}:8889/api/v1/status", timeout=60) as answer:
            cameras = [camera["name"] for camera in json.load(answer)["tally"]["cameras"]]
        expect("other settings are in force", cameras == [f"Camera of version {version or 0}"], cameras)
        failed = box.shell("systemctl --failed --no-legend --plain")[1]
        expect("units have failed", failed == "", failed)
        mounted = " ".join(box.shell("findmnt -no FSTYPE,OPTIONS /data")[1].split())
        expect(f"data is not on {data}", mounted.startswith(data), mounted)
        identity = box.shell("cat /data/machine-id /etc/machine-id | sort -u")[1]
        expect("it is two boxes", len(identity) == 32, identity)
        if version is not None:
            expect("it is another box", identity.encode() == examiner.constant["machine-id"].strip(), identity)
            boots = box.shell("journalctl --list-boots --no-pager -q | wc -l")[1]
            expect("the earlier journal cannot be read", boots == "2", boots)
        mistakes = box.shell("ls /card | grep mistakes")[1]
        expect("mistakes are told of settings that have none", mistakes == "", mistakes)
        box.keep_journal()
    except TimeoutError as error:
        wrong.append(f"the next start failed: {error}")
    finally:
        events = box.card.cut()
        box.cut_power()
    return wrong, on_it, events


def try_the_method(bench: Bench, examiner: Examiner, seed: str, report: Report) -> None:
    """A test that cannot fail is worthless: faults that are planted must be seen."""
    for number, fault in enumerate(PLANTED):
        events = bench.cut_while("planted", f"keep_settings /run/planted{number}/adopt-settings", 15)
        place = OUT / "planted-cards"
        results = replay(examiner.examine, events, f"{seed}/planted/{number}", 20, place)
        seen = [found.faults[0] for _, found in results if found.faults]
        report.say(f"planted fault, {fault}: seen on {len(seen)} of {len(results)} cards")
        report.say(f"    {seen[0]}" if seen else "    THE METHOD DOES NOT SEE IT")
        if not seen:
            report.faults.append(f"a planted fault was not seen: {fault}")
        shutil.rmtree(place, ignore_errors=True)


def cut_first_start(bench: Bench, flashed: Card, examiner: Examiner, events: list[Event], seed: str, replays: int,
                    report: Report) -> None:  # fmt: skip
    """Power goes while the box starts for the first time, and it is started again from one such moment."""
    fresh = Examiner(flashed, [], OUT / "examined-first-start")
    fresh.constant = examiner.constant
    results = replay(fresh.examine_first_start, events, f"{seed}/first", 2 * replays, OUT / "first-start-cards")
    chance = random.Random(f"{seed}/first/start")
    left = left_after_cut(events[: chance.choice(moments(events, chance, 3))], True, chance)
    wrong, _, _ = start_again(bench, fresh, "start-after-first", left, None, OUT / "start")
    report.started += 1
    report.count("cut during the first start, started again", results, wrong)


def cut_factory_reset(bench: Bench, examiner: Examiner, seed: str, replays: int, report: Report) -> None:
    """Power goes while the box forgets everything, and it is started again from one such moment."""
    place = OUT / "reset"
    examiner.lay_out([], place)
    examiner.put_on_card(settings_text(0), "returnfeed.toml", place)
    examiner.put_on_card(b"", "factory-reset", place)
    asked = Write(examiner.extents[CARD][0], (place / "card").read_bytes())
    box = bench.start("factory-reset", [*bench.before, asked])
    try:
        box.wait_for_page(600)
        box.shell.wait(120)
        box.shell("systemctl is-system-running --wait", 300)
        box.card.said("kept: nothing")
    finally:
        events = box.card.cut()
        box.cut_power()
    results = replay(lambda events, left, place: examiner.examine_reset(events, [asked, *left], place), events,
                     f"{seed}/reset", 3 * replays, OUT / "reset-cards")  # fmt: skip
    chance = random.Random(f"{seed}/reset/start")
    in_the_middle = [at for at, event in enumerate(events) if isinstance(event, Write)][:40]
    left = left_after_cut(events[: chance.choice(in_the_middle)], True, chance)
    wrong, _, _ = start_again(bench, examiner, "start-after-reset", [*bench.before, asked, *left], None, place)
    report.started += 2
    report.count("cut during a factory reset, started again", results, wrong)


def start_damaged(bench: Bench, examiner: Examiner, report: Report) -> None:
    """What a cut must not do and a bad card does: blocks are gone that nobody wrote. The box serves all the same."""
    start, length = examiner.extents[DATA]
    for what, size, data in (("the beginning of", 64 << 10, "ext4 rw"), ("all of", length, "tmpfs rw")):
        left = [*bench.before, Write(start, bytes(size))]
        wrong, _, _ = start_again(bench, examiner, "start-damaged", left, None, OUT / "damaged", data)
        report.started += 1
        report.count(f"started with {what} the data partition gone", [], wrong)


def cut_once(bench: Bench, examiner: Examiner, cut: int, asked: argparse.Namespace, seed: str, report: Report) -> None:
    seconds = random.Random(f"{seed}/{cut}").uniform(0.5, 12)
    adopt = f"{SCRIPTS}/adopt-settings"
    # Facts keep the box so busy that settings come seldom; every other time they come alone with the journal.
    load = f"load {adopt}" if cut % 2 else f"keep_journal 2> /dev/null & keep_settings {adopt}"
    events = bench.cut_while("box", load, seconds)
    place = OUT / f"cut-{cut}"
    results = replay(examiner.examine, events, f"{seed}/{cut}", asked.replays, place)
    writes = sum(isinstance(event, Write) for event in events)
    what, wrong = f"cut {cut} of {asked.cuts}: after {seconds:.1f} s and {writes} writes", []
    if cut % asked.start_every == 0:
        # As the second of those cards, whose cache is lost; and power goes once more while it starts.
        left = left_after_cut(events, True, random.Random(f"{seed}/{cut}/1"))
        version = results[1][1].settings
        wrong, on_it, again = start_again(bench, examiner, f"start-after-{cut}", left, version, OUT / "start")
        begun = [*events, Said(f"begin card {version}")]
        results += replay(lambda _, left, place: examiner.examine(begun, [*on_it, *left], place, version), again,
                          f"{seed}/{cut}/again", asked.replays, OUT / f"cut-{cut}-again")  # fmt: skip
        report.started += 1
        what += ", started again and cut while it starts"
    report.count(what, results, wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", choices=["settings", "update"], default="settings")
    parser.add_argument("--cuts", type=int, help="default: 50, or 20 of an update")
    parser.add_argument("--replays", type=int, default=20, help="cards examined for each cut (default 20)")
    parser.add_argument("--start-every", type=int, default=10, help="start the box after every n-th cut (default 10)")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)), help="that of an earlier run")
    asked = parser.parse_args()
    asked.cuts = asked.cuts or (20 if asked.scenario == "update" else 50)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    report = Report()
    report.say(f"seed {asked.seed}; starting the box for the first time")

    (image,) = Path("target/image").glob("returnfeed-*.img")
    flashed = Card(image, OUT / "card.img")
    flashed.write("returnfeed.toml", settings_text(0).decode())
    network = Network(OUT)
    network.serve_addresses()
    bench = Bench(flashed, OUT)
    if asked.scenario == "update":
        try:
            flashed.write(update.BUNDLE.name, update.BUNDLE)
            update.run_scenario(bench, flashed, asked.cuts, asked.seed, OUT, report)
        finally:
            network.stop()
        report.sum_up(asked.seed, asked.cuts)
        return bool(report.faults)
    try:
        events = bench.first_start()
        examiner = Examiner(flashed, bench.before, OUT / "examined")
        cut_first_start(bench, flashed, examiner, events, asked.seed, asked.replays, report)
        cut_factory_reset(bench, examiner, asked.seed, asked.replays, report)
        start_damaged(bench, examiner, report)
        try_the_method(bench, examiner, asked.seed, report)
        for cut in range(1, asked.cuts + 1):
            cut_once(bench, examiner, cut, asked, asked.seed, report)
    finally:
        network.stop()
    report.sum_up(asked.seed, asked.cuts)
    return bool(report.faults)


if __name__ == "__main__":
    sys.exit(main())
