"""Factory reset: by a file on the card, with the power cut in the middle, and by the button on the header."""

import time

import pytest
from box import Starts

pytestmark = pytest.mark.needs("shell", "card")
RESET_BUTTON = 21
KEPT = "/etc/returnfeed/kept-from-before", "/var/lib/returnfeed/kept-from-before", "/var/log/journal/kept-from-before"
FILES = 8000


class Evening(Starts):
    def leave_traces(self) -> str:
        """Things that a reset must forget; returns who the box is, as `who` does."""
        self.box.shell(f"for i in {' '.join(KEPT)}; do echo before > $i; done; journalctl --sync; sync", 120)
        return self.who()

    def who(self) -> str:
        """The numbers that the operating system and the people know the box by."""
        code, said = self.box.shell("grep -h '^[^#]' /etc/machine-id /etc/returnfeed/box.toml")
        assert code == 0, said
        return said

    def traces(self) -> str:
        return self.box.shell(f"ls -1d {' '.join(KEPT)} /data/factory-reset /card/factory-reset* 2>/dev/null")[1]

    def boots(self) -> int:
        return int(self.box.shell("journalctl --list-boots --no-pager -q | wc -l", 120)[1])

    def is_as_flashed(self, was: str) -> None:
        assert self.traces() == ""
        assert not set(self.who().splitlines()) & set(was.splitlines()), "the box is still who it was"
        assert self.boots() == 1, "the journal of before is still there"
        assert "Camera from the card" in self.box.shell("cat /etc/returnfeed/returnfeed.toml")[1], (
            "the technician's settings on the card were not adopted again"
        )


@pytest.fixture(scope="module")
def evening(bench, card, folder):
    card.write("returnfeed.toml", '[[camera]]\nname = "Camera from the card"\ninputs = [1]\n')
    if bench.network:
        bench.network.serve_addresses()
    evening = Evening(bench, folder)
    evening.begin()
    yield evening
    if evening.box:
        evening.box.keep_journal()
        evening.end()
    bench.stop()


def test_the_box_remembers_as_a_rule(evening):
    was = evening.leave_traces()
    evening.end()
    evening.begin()
    assert len(evening.traces().splitlines()) == len(KEPT)
    assert evening.who() == was


def test_a_file_on_the_card_resets_the_box_once(evening, card):
    was = evening.leave_traces()
    card.write("factory-reset.txt", "")
    evening.end()
    evening.begin()
    evening.is_as_flashed(was)


@pytest.mark.needs("power", "reading the card when it is off", "a cable of its own")
def test_a_reset_whose_power_is_cut_is_done_again(evening, card):
    was = evening.leave_traces()
    many = f"mkdir /var/lib/returnfeed/many; cd /var/lib/returnfeed/many; for i in $(seq {FILES}); do : > $i; done; sync"
    assert evening.box.shell(many, 240)[0] == 0
    card.write("factory-reset", "")
    evening.end()
    for seconds in 0.0, 0.3:
        evening.box = evening.bench.start(evening.folder)
        evening.box.wait_until_it_says("forgets all settings")
        time.sleep(seconds)
        evening.end()
        left = sorted(card.names_in_data("/")), len(card.names_in_data("/state/many"))
        print(f"cut {seconds} s after the reset began: {left[0]}, {left[1]} of {FILES} files")
        assert "factory-reset" in left[0], "the reset was over before the power was cut"
        with pytest.raises(FileNotFoundError):
            card.read("factory-reset")
    evening.begin()
    evening.is_as_flashed(was)


@pytest.mark.needs("pins")
def test_the_button_held_for_five_seconds_and_let_go_resets_the_box(evening):
    was, box = evening.leave_traces(), evening.box
    box.drive(RESET_BUTTON, False)
    box.shell.send("systemctl reboot --force")
    box.wait_for_restart()
    box.wait_until_it_says("Let the reset button go now")
    box.drive(RESET_BUTTON, True)
    box.wait_for_restart()
    evening.wait()
    evening.is_as_flashed(was)


@pytest.mark.needs("pins")
def test_the_button_held_too_shortly_resets_nothing(evening):
    was, box = evening.leave_traces(), evening.box
    box.drive(RESET_BUTTON, False)
    box.shell("systemctl start returnfeed-reset-button; sleep 2")
    box.drive(RESET_BUTTON, True)
    said = box.shell("sleep 3; journalctl -b --no-pager -q -u returnfeed-reset-button -o cat")[1]
    assert "let go before 5 seconds" in said
    assert len(evening.traces().splitlines()) == len(KEPT) and evening.who() == was


@pytest.mark.needs("pins")
def test_a_pin_that_something_else_holds_low_resets_nothing(evening):
    was, box = evening.leave_traces(), evening.box
    box.drive(RESET_BUTTON, False)
    box.shell("systemctl start returnfeed-reset-button; sleep 40", 120)
    said = box.shell("journalctl -b --no-pager -q -u returnfeed-reset-button -o cat")[1]
    box.drive(RESET_BUTTON, True)
    assert "or is none: nothing is reset" in said
    assert box.shell("systemctl show -P ActiveState returnfeed-reset-button")[1] == "inactive"
    assert len(evening.traces().splitlines()) == len(KEPT) and evening.who() == was
