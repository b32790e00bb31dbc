"""The same card after its plug was pulled, with a mistake in its settings, on a bare cable."""

import pytest
from box import running

pytestmark = pytest.mark.needs("a cable of its own", "shell", "card", "reading the card when it is off")
MISTAKEN_SETTINGS = '[http]\nlistn = "[::]:8889"\n'


def link_local_address() -> str:
    """The IPv6 link-local address that every network card makes of its number (RFC 4862 §5.3, RFC 4291 appendix A)."""
    return "fe80::5054:ff:fe52:4601%box0"


@pytest.fixture(scope="module")
def box(bench, card, folder):
    card.write("returnfeed.toml", MISTAKEN_SETTINGS)
    with running(bench.start(folder, link_local_address())) as box:
        yield box


def test_the_page_answers_without_any_network(box):
    print(f"page after {box.seconds_to_page:.1f} s")


def test_no_unit_has_failed(box):
    assert box.shell("systemctl --failed --no-legend --plain") == (0, "")


def test_the_box_takes_a_link_local_address(box):
    found = box.shell("for i in $(seq 60); do ip -4 -o address show scope link | grep 169.254 && break; sleep 1; done", 90)
    assert "169.254." in found[1]


def test_the_last_good_settings_stay_in_force(box):
    assert "Camera from the card" in box.shell("cat /etc/returnfeed/returnfeed.toml")[1]


def test_the_mistake_is_written_beside_the_settings(box, card):
    assert box.shell("findmnt -no OPTIONS /card")[1].startswith("ro,")
    words = card.read("returnfeed-mistakes.txt").decode()
    print(words)
    assert "unknown key `listn`" in words and "did you mean `listen`" in words and "\r\n" in words


def test_the_box_is_still_the_one_it_was(box):
    assert len(box.shell("cat /etc/machine-id")[1]) == 32
    boots = box.shell("journalctl --list-boots --no-pager -q | wc -l")[1]
    assert int(boots) == 2, "the first evening's journal was lost"
