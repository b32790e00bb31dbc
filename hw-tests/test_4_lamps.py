"""Lamps on the board's pins, looked at from outside while what drives them is told, killed and stopped."""

import re
import time

import pytest
from box import running
from vmix import Vmix

pytestmark = pytest.mark.needs("shell", "card", "pins", "a cable of its own")
PROGRAM, PREVIEW, LOW = 17, 27, 22
SETTINGS = """\
[vmix]
host = "{here}"
[[camera]]
name = "Camera from the card"
inputs = [1]
[[lamp]]
camera = "Camera from the card"
[[lamp]]
input = 2
program_pin = 22
active = "low"
"""
UNIT = "returnfeed-lamps"
# Within so many seconds a lamp shows that nothing is known; and for so long an emulator on a busy machine may stand still.
PROMISE, STALL = 2, 0.4


@pytest.fixture(scope="module")
def vmix(bench):
    vmix = Vmix()
    yield vmix
    vmix.close()


@pytest.fixture(scope="module")
def box(bench, card, folder, addresses, vmix):
    before = card.read("returnfeed.toml").decode()
    card.write("returnfeed.toml", SETTINGS.format(here="10.77.0.1"))
    with running(bench.start(folder)) as box:
        yield box
    card.write("returnfeed.toml", before)


def lit(box) -> tuple[bool, bool, bool]:
    """Program and preview light of the first lamp, and the second lamp, which a low level lights."""
    pins = box.pins()
    return bool(pins >> PROGRAM & 1), bool(pins >> PREVIEW & 1), not pins >> LOW & 1


def seen(box, seconds: float) -> list[tuple[float, tuple[bool, bool, bool]]]:
    """What was lit, and when it changed, over so long."""
    began, changes = time.monotonic(), []
    while (now := time.monotonic() - began) < seconds:
        is_lit = lit(box)
        # Pins are set one after the other: what is gone at the next look was in between.
        if (not changes or changes[-1][1] != is_lit) and lit(box) == is_lit:
            changes.append((now, is_lit))
        time.sleep(0.005)
    return changes


def assert_unknown(box) -> None:
    """Both lights flash together: none is ever lit alone."""
    changes = seen(box, 5)
    assert {is_lit[:2] for _, is_lit in changes} == {(False, False), (True, True)}, changes


def seconds_until(box, condition, most: float = 60) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < most, lit(box)
        time.sleep(0.005)
    return time.monotonic() - began


def on_air(box, vmix) -> None:
    """The first lamp stands on program."""
    vmix.digits, vmix.silent = "10", False
    deadline = time.monotonic() + 60
    while {is_lit for _, is_lit in seen(box, 2)} != {(True, False, False)}:
        assert time.monotonic() < deadline, seen(box, 2)


def function_of(box, pin: int) -> int:
    """0: an input, 1: an output (BCM2835 ARM Peripherals, §6.1)."""
    said = box.monitor.ask("human-monitor-command", **{"command-line": f"xp /1xw {0x3F200000 + pin // 10 * 4:#x}"})
    return int(re.search(r": (0x[0-9a-f]+)", str(said)).group(1), 16) >> pin % 10 * 3 & 7


def test_the_lamp_process_runs_ahead_of_everything_as_nobody_in_particular(box):
    assert box.shell(f"systemctl show -P ActiveState {UNIT}")[1] == "active"
    pid = box.shell(f"systemctl show -P MainPID {UNIT}")[1]
    assert box.shell(f"stat -c %U /proc/{pid}")[1] == "returnfeed"
    # Field 41 of proc_pid_stat(5): 2 is SCHED_RR.
    assert box.shell(f"cut -d' ' -f40,41 /proc/{pid}/stat")[1] == "50 2"
    exposure = box.shell(f"systemd-analyze security --no-pager {UNIT}.service | tail -n 1", 120)[1]
    print(exposure)
    assert float(re.search(r"service: ([0-9.]+)", exposure).group(1)) <= 2.0


def test_the_pins_are_taken_by_the_character_device_and_nothing_is_refused(box):
    said = box.shell(f"journalctl -b --no-pager -q -o cat -u {UNIT}", 120)[1]
    print(said)
    assert "2 lamps, by character device" in said
    assert "cannot be used" not in said and "is used by" not in said
    assert [function_of(box, pin) for pin in (PROGRAM, PREVIEW, LOW)] == [1, 1, 1]


def test_there_is_a_bus_for_a_strip(box):
    assert box.shell("stat -c %G /dev/spidev0.0") == (0, "spi")


def test_the_lamp_process_may_open_the_bus_of_a_strip(box):
    """Its unit's list of devices is made of /proc/devices when it starts: without the driver it would lack `spi`.

    It is only opened: the emulated bus never ends a transfer, and its driver waits for that in the kernel.
    """
    assert box.shell("grep -w spi /proc/devices") == (0, "153 spi")
    group = box.shell(f"systemctl show -p ControlGroup --value {UNIT}")[1]

    def opens(device: str, program: str) -> bool:
        joins = f"echo $$ >/sys/fs/cgroup{group}/cgroup.procs; exec {program} sh -c '\\''exec 3<>{device}'\\''"
        return box.shell(f"sh -c '{joins}' 2>/dev/null")[0] == 0

    assert opens("/dev/spidev0.0", "setpriv --reuid=returnfeed --regid=returnfeed --groups=spi")
    assert not opens("/dev/kmsg", "env"), "what is not on the list is closed to root, too"


def test_lamps_follow_vmix(box, vmix):
    on_air(box, vmix)
    for digits, wanted in [("01", (False, False, True)), ("20", (False, True, False)), ("00", (False, False, False))]:
        vmix.digits = digits
        print(f"{digits}: {seconds_until(box, lambda wanted=wanted: lit(box) == wanted):.2f} s, mostly until vMix is asked again")


def test_every_one_of_a_thousand_cuts_is_on_the_pins(box, vmix):
    """Late is what comes no sooner than the box asks vMix again by itself, every 500 ms."""
    on_air(box, vmix)
    states = [("01", (False, False, True)), ("20", (False, True, False)), ("00", (False, False, False)), ("10", (True, False, False))]
    took = []
    for digits, wanted in states * 250:
        began = time.monotonic()
        vmix.cut(digits)
        while lit(box) != wanted:
            assert time.monotonic() - began < 0.5, (len(took), digits, lit(box))
        took.append((time.monotonic() - began) * 1000)
    took.sort()
    print(f"{len(took)} cuts, from vMix's line to the register: p50 {took[500]:.1f}, p99 {took[990]:.1f}, max {took[-1]:.1f} ms, emulated")


def test_lamps_are_unknown_when_vmix_falls_silent(box, vmix):
    on_air(box, vmix)
    vmix.silent = True
    took = seconds_until(box, lambda: lit(box)[:2] != (True, False))
    print(f"{took:.2f} s")
    assert took < PROMISE + STALL
    assert_unknown(box)


@pytest.mark.parametrize("how", ["STOP", "KILL"])
def test_lamps_are_unknown_when_the_program_stands_still_or_is_killed(box, vmix, how):
    on_air(box, vmix)
    # The shell's own kill: nothing has to be started for it, so that the time of the shell is next to none.
    pid = box.shell("systemctl show -P MainPID returnfeed")[1]
    box.shell.send(f"kill -s {how} {pid}")
    took = seconds_until(box, lambda: lit(box)[:2] != (True, False))
    print(f"{how}: {took:.2f} s, the shell's time included")
    assert took < PROMISE + STALL
    if how == "STOP":
        assert_unknown(box)
    on_air(box, vmix)


def test_a_lamp_process_that_stands_still_is_killed_and_comes_back(box, vmix):
    on_air(box, vmix)
    before = box.shell(f"systemctl show -P NRestarts {UNIT}")[1]
    box.shell.send(f"systemctl kill -s STOP {UNIT}")
    seconds_until(box, lambda: lit(box)[:2] != (True, False), 10)
    on_air(box, vmix)
    assert box.shell(f"systemctl show -P NRestarts {UNIT}")[1] != before


def test_the_kernel_lets_go_of_the_pins_of_a_lamp_process_that_was_killed(box, vmix):
    """The emulator has no pulls, so that the level stays; on a board the pull that was asked for puts the light off."""
    on_air(box, vmix)
    folder = f"/run/systemd/system/{UNIT}.service.d"
    box.shell(f"mkdir -p {folder}; printf '[Service]\\nRestart=no\\n' > {folder}/no.conf; systemctl daemon-reload", 120)
    box.shell(f"systemctl kill -s KILL {UNIT}; sleep 1")
    assert [function_of(box, pin) for pin in (PROGRAM, PREVIEW, LOW)] == [0, 0, 0]
    box.shell(f"rm -r {folder}; systemctl daemon-reload; systemctl reset-failed {UNIT}; systemctl start {UNIT}", 120)
    on_air(box, vmix)


def test_nothing_is_lit_when_the_lamp_process_was_told_to_stop(box, vmix):
    on_air(box, vmix)
    box.shell(f"systemctl stop {UNIT}")
    assert lit(box) == (False, False, False)
    box.shell(f"systemctl start {UNIT}")
    on_air(box, vmix)
