"""Settings without a mistake in them with which the program cannot start; then a kernel that stands still."""

import pytest
from box import running

pytestmark = pytest.mark.needs("shell", "card", "reading the card when it is off")
GOOD_SETTINGS = '[[camera]]\nname = "Camera before"\ninputs = [1]\n'
# Of the documentation (RFC 5737): no box has it.
SETTINGS = '[http]\nlisten = "192.0.2.77:8889"\n'


@pytest.fixture(scope="module")
def box(bench, card, folder, addresses):
    card.write("returnfeed.toml", GOOD_SETTINGS)
    box = bench.start(folder)
    box.wait_for_page()
    box.cut_power()
    card.write("returnfeed.toml", SETTINGS)
    box = bench.start(folder)
    # A minute of trying, then a start with the settings of before.
    box.wait_for_restart(600)
    with running(box) as box:
        yield box


def test_the_box_goes_back_to_the_settings_it_had(box):
    assert "Camera before" in box.shell("cat /etc/returnfeed/returnfeed.toml")[1]


def test_the_reason_is_written_beside_the_settings(box, card):
    words = card.read("returnfeed-mistakes.txt").decode()
    print(words)
    assert "192.0.2.77:8889" in words and "could not start" in words


def test_they_are_not_tried_again(box):
    assert "they were not adopted" in box.shell("journalctl -b --no-pager -u returnfeed-settings")[1]


def test_the_watchdog_starts_a_box_again_whose_first_process_stands_still(box):
    """systemd freezes when it crashes, and nothing feeds the watchdog of the machine any more."""
    box.shell.send("kill -SEGV 1")
    box.wait_for_restart(120)
    box.wait_for_page()
    box.shell.wait(120)
