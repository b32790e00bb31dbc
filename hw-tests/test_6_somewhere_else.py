"""A box that is somewhere else: what tests a real one tests an emulated one that knows nothing of the tests.

The other box is known by its address, a serial line, and two commands for its plug, as in pi.env.example.
"""

import os
import shlex
import subprocess
import sys

import emulated
import pytest

pytestmark = pytest.mark.needs("a cable of its own", "a load")


class Elsewhere(emulated.Box):
    """Only says what would start it."""

    def _launch(self) -> None:
        self.command = self._command()


# A switchable socket: what it cuts has forgotten everything, and stands still until it is switched on.
PLUG = """\
import json, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
monitor = line.makefile("rw")
monitor.readline()
for command in "qmp_capabilities", *sys.argv[2:]:
    monitor.write(json.dumps({"execute": command}))
    monitor.flush()
    while "return" not in json.loads(monitor.readline()):
        pass
"""


@pytest.fixture
def environment_file(bench, card, folder):
    bench.network.serve_addresses()
    box = Elsewhere(card, folder)
    (folder / "plug.py").write_text(PLUG)
    plug = shlex.join([sys.executable, f"{folder}/plug.py", f"{folder}/monitor.sock"])
    file = folder / "elsewhere.env"
    file.write_text(
        f"KIND=real\nADDRESS={emulated.BOX}\nSERIAL={folder}/shell.sock\n"
        f"POWER_CUT='{plug} stop system_reset'\nPOWER_ON='{plug} cont'\n"
    )
    machine = subprocess.Popen(box.command, stdin=subprocess.DEVNULL)
    yield file
    machine.kill()
    machine.wait()
    bench.stop()


def test_the_tests_of_a_real_box_pass_on_one_that_they_did_not_start(environment_file, folder):
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "--tb=short", "--no-header",
         "hw-tests/test_1_first_evening.py", "hw-tests/test_4_board.py", "hw-tests/test_5_factory_reset.py",
         "-k", "failed or settings_on_the_card or name or remembers or a_file_on_the_card or pins_are_read or done_again"],
        env=os.environ | {"HW_TEST_BOX": str(environment_file), "HW_TEST_OUT": str(folder / "tests")},
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    print(shown.stdout[-6000:], shown.stderr[-2000:])
    assert shown.returncode == 0
    assert " passed" in shown.stdout and "nothing drives the box's pins" in shown.stdout
