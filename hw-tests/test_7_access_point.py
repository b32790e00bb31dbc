"""The box's own Wi-Fi: phones join, are led to the page, and see nothing of each other."""

import socket
import urllib.error
import urllib.request

import pytest
from emulated import BOX
from radio import BUSYBOX, Phone, RadioCard, do, wait_until, with_radios

HERE = "10.88.89.1"
# What stands for all else there is: no phone takes it for a broken network, as many do with a private address.
WORLD = "192.0.2.1"


@pytest.fixture(scope="module")
def box(addresses, folder):
    with with_radios(RadioCard(folder.with_name("radio-card.img"), ""), folder) as box:
        yield box


@pytest.fixture(scope="module")
def phone(box):
    """One that has joined and has an address."""
    phone = Phone(box, 1)
    phone.join(box.identity["wifi_name"], box.identity["wifi_passphrase"])
    phone.address = phone.take_address()
    return phone


@pytest.fixture(scope="module")
def other(box):
    return Phone(box, 2)


def test_the_access_point_is_up_without_any_settings(box):
    wait_until(box, "journalctl -b --no-pager -u returnfeed-access-point | grep -q AP-ENABLED")
    assert f"ssid {box.identity['wifi_name']}" in do(box, "iw dev wlan0 info")
    assert f"inet {HERE}/24" in do(box, "ip -color=never address show wlan0")


def test_a_phone_joins_and_gets_an_address(phone):
    assert phone.address.startswith("10.88.89.")


def test_every_name_leads_to_the_box_and_has_nothing_else(phone):
    for name, address in ("captive.apple.com", WORLD), ("returnfeed.local", HERE), ("returnfeed", HERE):
        code, said = phone.run(f"{BUSYBOX} nslookup -type=a {name}")
        assert code == 0 and said.endswith(f"Address: {address}"), said
    code, said = phone.run(f"{BUSYBOX} nslookup -type=aaaa captive.apple.com")
    assert code == 0 and "REFUSED" not in said and "NXDOMAIN" not in said, said


def test_a_phone_is_led_to_the_portal_and_then_told_that_all_is_well(phone):
    probe = "connectivitycheck.gstatic.com/generate_204"
    assert "location: http://10.88.89.1/setup/wifi" in phone.get(probe)[0]
    head, portal = phone.get(f"{HERE}/setup/wifi", "Accept: text/html", "Accept-Language: ko-KR")
    assert " 200 " in head and "http://10.88.89.1/" in portal and "브라우저" in portal
    assert " 302 " in phone.get(probe)[0], "nobody has pressed the button yet"
    assert " 200 " in phone.get(f"{HERE}/setup/wifi/joined", "Accept: text/html")[0]
    assert " 204 " in phone.get(probe)[0]
    assert "<TITLE>Success</TITLE>" in phone.get("captive.apple.com/hotspot-detect.html")[1]
    assert "Microsoft Connect Test" in phone.get("www.msftconnecttest.com/connecttest.txt")[1]


def test_the_page_is_at_the_address_that_the_portal_names(phone):
    head, page = phone.get(f"{HERE}/", "Accept: text/html")
    assert " 200 " in head and "returnfeed-stream" in page


def test_nothing_but_what_is_served_answers_a_phone_and_that_at_once(phone):
    # HTTPS is the box's own, and not that of the world, for which it stands at 192.0.2.1.
    for address, port in (HERE, 22), ("192.0.2.1", 443), (HERE, 853), (HERE, 8099):
        code, said = phone.run(f"{BUSYBOX} nc -w 10 {address} {port} < /dev/null")
        assert code and "refused" in said, f"{address} {port}: {said}"


def test_a_wrong_passphrase_stays_out(phone, other):
    other.join(phone.box.identity["wifi_name"], "wrong passphrase", wait_for="WRONG_KEY")
    assert "Not connected" in other.run(f"iw dev {other.device} link")[1]


def test_phones_do_not_see_each_other(phone, other):
    other.join(phone.box.identity["wifi_name"], phone.box.identity["wifi_passphrase"])
    address = other.take_address()
    assert address != phone.address
    assert other.run(f"{BUSYBOX} ping -c 2 -W 5 {HERE}")[0] == 0
    for near, far in (phone, address), (other, phone.address):
        assert near.run(f"{BUSYBOX} ping -c 2 -W 2 {far}")[0] != 0
        # By way of the box neither, however little a phone keeps to the rules.
        near.run(f"ip route replace {far}/32 via {HERE}")
        assert near.run(f"{BUSYBOX} ping -c 2 -W 2 {far}")[0] != 0


def test_the_cable_sees_nothing_of_it(phone):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{BOX}/setup/wifi", timeout=20)
    assert refused.value.code == 404
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x01b\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(3)
        asking.sendto(question, (BOX, 53))
        with pytest.raises(TimeoutError):
            asking.recv(512)


def test_the_passphrase_is_for_root_alone(phone):
    box = phone.box
    assert do(box, "stat -c '%a %U' /run/returnfeed/hostapd.conf") == "600 root"
    assert box.identity["wifi_passphrase"] not in do(box, "journalctl -b --no-pager; cat /proc/[0-9]*/cmdline", 240)


def test_no_unit_has_failed(box):
    assert box.shell("systemctl --failed --no-legend --plain") == (0, "")
