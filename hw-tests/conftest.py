"""The box that the tests look at: an emulated one or a real one, as HW_TEST_BOX says (hw-tests/run)."""

import os
import shlex
import shutil
from pathlib import Path

import emulated
import pytest
import real
from box import ABILITIES
from card import Card
from shell import Shell


def environment() -> dict[str, str]:
    """The lines `NAME=value` of the environment file."""
    path = Path(os.environ.get("HW_TEST_BOX", "virt"))
    if not path.is_file():
        path = Path(__file__).with_name(f"{path}.env")
    words = shlex.split(path.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


# A box's logs do not replace another's.
OUT = Path(os.environ.get("HW_TEST_OUT", f"target/hw-test/{environment()['KIND']}")).resolve()
REPORT = OUT / "report.txt"
GOOD_SETTINGS = """\
[[camera]]
name = "Camera from the card"
inputs = [1]
"""


def abilities(settings: dict[str, str]) -> set[str]:
    """What the box of an environment file can do."""
    if settings["KIND"] != "real":
        return ABILITIES.keys() - ({"a load"} if settings["KIND"] == "raspi3b" else {"pins"})
    able = {"a load"}
    able |= {"shell", "card"} if "SERIAL" in settings else set()
    able |= {"power"} if "POWER_CUT" in settings else set()
    return able | ({"card", "reading the card when it is off"} if "CARD" in settings else set())


class EmulatedBench:
    """A card, a cable and a switch for a box in QEMU."""

    def __init__(self, settings: dict[str, str]) -> None:
        (image,) = Path("target/image").glob("returnfeed-*.img")
        if settings["KIND"] == "raspi3b":
            # The size of a card that QEMU's reader takes is a power of two.
            self._machine, self.card = emulated.Raspi3b, Card(image, OUT / "card.img", 1 << 30)
        else:
            self._machine, self.card = emulated.Box, Card(image, OUT / "card.img")
        self.network = emulated.Network(OUT)
        self.address = emulated.BOX

    def start(self, folder: Path, address: str | None = None, devices: tuple[str, ...] = ()) -> emulated.Emulated:
        """Power on. `address`: where the page is looked for, if not where addresses are handed out."""
        return self._machine(self.card, folder, address or self.address, devices)

    def stop(self) -> None:
        self.network.stop()


class RealBench:
    """A box on the network that this machine is in too."""

    network = None

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings, self.address = settings, settings["ADDRESS"]
        self._shell = Shell(settings["SERIAL"], OUT / "serial.log", console=True) if "SERIAL" in settings else None
        self.card = real.CardInTheBox(self._shell) if self._shell else None
        if "CARD" in settings:
            self.card = real.SwitchedCard(settings["CARD"], settings["CARD_TO_TESTS"], settings["CARD_TO_BOX"])

    def start(self, folder: Path, address: str | None = None) -> real.Real:
        return real.Real(self._settings, folder, self._shell)

    def stop(self) -> None:
        """A real box is left running."""
        if "POWER_ON" in self._settings:
            real.do(self._settings["POWER_ON"])


@pytest.fixture(scope="session")
def bench():
    """What the box is operated with."""
    OUT.mkdir(parents=True, exist_ok=True)
    settings = environment()
    bench = RealBench(settings) if settings["KIND"] == "real" else EmulatedBench(settings)
    yield bench
    bench.stop()


@pytest.fixture(scope="session")
def network(bench):
    return bench.network


@pytest.fixture(scope="module")
def addresses(bench):
    """Somebody hands out addresses on the box's cable."""
    if bench.network:
        bench.network.serve_addresses()
    yield
    bench.stop()


@pytest.fixture(scope="session")
def card(bench):
    """A freshly flashed card with settings from a laptop."""
    if bench.card:
        bench.card.write("returnfeed.toml", GOOD_SETTINGS)
    return bench.card


@pytest.fixture(scope="module")
def folder(request):
    """Where the logs of a test file's box are kept."""
    folder = OUT / request.module.__name__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*abilities): what the box must be able to do (box.ABILITIES)")


def pytest_sessionstart():
    OUT.mkdir(parents=True, exist_ok=True)
    REPORT.unlink(missing_ok=True)


def pytest_collection_modifyitems(items):
    """Skips what the box cannot do before anything is started, with the words for what to do instead."""
    settings = environment()
    able = abilities(settings)
    for item in items:
        wanted = {word for mark in item.iter_markers("needs") for word in mark.args}
        assert wanted <= ABILITIES.keys(), f"{item.nodeid} needs what is not in ABILITIES"
        missing = [ABILITIES[word] for word in sorted(wanted - able)]
        # A file that starts the emulated machine by itself has that one.
        if settings["KIND"] != "virt" and hasattr(item.module, "Box"):
            missing = ["starts the emulated `virt` machine by itself"]
        if missing:
            item.add_marker(pytest.mark.skip("; ".join(missing)))


def pytest_terminal_summary(terminalreporter):
    if REPORT.exists():
        terminalreporter.section("from power on to the page")
        terminalreporter.write(REPORT.read_text())
