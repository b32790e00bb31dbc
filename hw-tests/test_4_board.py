"""The board: its card reader, watchdog and pins, besides what every start must do."""

import pytest
from box import running

pytestmark = pytest.mark.needs("shell")


@pytest.fixture(scope="module")
def box(bench, card, folder, addresses):
    with running(bench.start(folder)) as box:
        yield box


@pytest.fixture
def a_raspberry_pi(box):
    if "raspberrypi," not in box.shell("tr '\\0' ' ' < /sys/firmware/devicetree/base/compatible")[1]:
        pytest.skip("this machine is no Raspberry Pi")


def test_no_unit_has_failed(box):
    assert box.shell("systemctl --failed --no-legend --plain") == (0, "")


def test_no_unit_waits_for_itself(box):
    assert "ordering cycle" not in box.shell("journalctl -b --no-pager", 120)[1]


def test_the_card_is_the_boards_own(box, a_raspberry_pi):
    assert box.shell("findmnt -no SOURCE /data")[1] == "/dev/mmcblk0p4"


def test_the_hardware_watchdog_is_there(box, a_raspberry_pi):
    assert "BCM2835 Watchdog" in box.shell("cat /sys/class/watchdog/watchdog0/identity")[1]


def test_the_driver_of_the_headers_pins_is_there(box, a_raspberry_pi):
    chips = box.shell("cat /sys/bus/gpio/devices/gpiochip*/of_node/compatible | tr '\\0' '\\n'")[1]
    assert {"brcm,bcm2835-gpio", "brcm,bcm2711-gpio", "raspberrypi,rp1-gpio"} & set(chips.split())


def test_nobody_holds_the_reset_button(box):
    """So the program that watches it has ended, and asked for nothing."""
    assert box.shell("systemctl show -P ActiveState returnfeed-reset-button")[1] == "inactive"
    assert box.shell("journalctl -b --no-pager -q -u returnfeed-reset-button | grep -i 'held\\|cannot'")[1] == ""


@pytest.mark.needs("pins")
def test_pins_are_read_from_outside(box):
    """What the lamps' tests will look at. GPIO 26 is driven from outside here, which the same register shows."""
    before = box.pins()
    box.drive(26, True)
    assert box.pins() ^ before == 1 << 26
    box.drive(26, False)
    assert box.pins() == before
