"""The mistake is mended, and the box gets an address of its own; nobody hands out any."""

import pytest
from box import running
from emulated import NETWORK

pytestmark = pytest.mark.needs("a cable of its own", "shell", "card", "reading the card when it is off")
SETTINGS = f"""\
[network]
address = "{NETWORK}.60/24"
gateway = "{NETWORK}.1"
"""


@pytest.fixture(scope="module")
def box(bench, card, folder):
    card.write("returnfeed.toml", SETTINGS)
    with running(bench.start(folder, f"{NETWORK}.60")) as box:
        yield box
    # Whoever starts from this card next looks for the box where addresses are handed out.
    card.write("returnfeed.toml", "# defaults\n")


def test_the_page_answers_at_the_fixed_address(box):
    print(f"page after {box.seconds_to_page:.1f} s")


def test_the_router_is_known(box):
    assert f"default via {NETWORK}.1 dev eth0" in box.shell("ip -color=never route")[1]


def test_what_was_said_of_the_mended_mistake_is_gone(card):
    with pytest.raises(FileNotFoundError):
        card.read("returnfeed-mistakes.txt")
