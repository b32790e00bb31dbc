"""A box without a cable in the studio's Wi-Fi, and ports that the settings have changed."""

import json
import time
import urllib.request

import pytest
from emulated import BOX
from radio import BUSYBOX, Phone, RadioCard, do, wait_until, with_radios

SETTINGS = """\
[http]
listen = "[::]:9000"
[webrtc]
listen = "[::]:9001"
[wifi]
mode = "station"
country = "KR"
name = "Studio Wi-Fi"
passphrase = "known to the crew"
"""
STUDIO = """\
interface=wlan1
driver=nl80211
ssid=Studio Wi-Fi
hw_mode=a
channel=36
country_code=KR
ieee80211d=1
ieee80211n=1
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase=known to the crew
"""
SERVER = (
    "dnsmasq --port=0 --interface=wlan1 --bind-interfaces --conf-file=/dev/null --dhcp-range=10.99.0.50,10.99.0.60,5m "
    "--leasefile-ro --user=root --pid-file=/run/studio.pid"
)


@pytest.fixture(scope="module")
def box(addresses, folder):
    with with_radios(RadioCard(folder.with_name("radio-card.img"), SETTINGS), folder) as box:
        yield box


@pytest.fixture(scope="module")
def studio(box):
    """The access point of the studio, with addresses to hand out."""
    studio = Phone(box, 1)
    do(box, f"cat > /run/studio.conf <<'END'\n{STUDIO}END")
    for command in "hostapd -B /run/studio.conf", "ip address add 10.99.0.1/24 dev wlan1", SERVER:
        code, said = studio.run(command)
        assert code == 0, said
    return studio


def test_the_box_joins_and_its_page_is_there(box, studio):
    wait_until(box, "ip -4 -brief -color=never address show wlan0 | grep -q 10.99.0.")
    address = do(box, "ip -4 -brief -color=never address show wlan0").split()[2].split("/")[0]
    code, said = studio.run(f"{BUSYBOX} wget -q -T 20 -O - http://{address}/healthz")
    assert code == 0 and "version" in said, said


def test_it_is_no_access_point_there(box, studio):
    assert "type managed" in do(box, "iw dev wlan0 info")
    assert box.shell("systemctl is-active returnfeed-access-point returnfeed-addresses")[1].split() == ["inactive"] * 2
    assert "elements" not in do(box, "nft list set inet returnfeed access_point")


def test_the_firewall_follows_the_ports_of_the_settings(box):
    def status(port: int) -> dict:
        with urllib.request.urlopen(f"http://{BOX}:{port}/api/v1/status", timeout=10) as answer:
            return json.loads(answer.read())

    assert status(9000).keys() == status(80).keys()
    started = time.monotonic()
    with pytest.raises(OSError):
        status(8889)
    assert time.monotonic() - started > 5, "dropped, not refused"
    assert "9001" in do(box, "nft list set inet returnfeed media")


def test_no_unit_has_failed(box):
    assert box.shell("systemctl --failed --no-legend --plain") == (0, "")
