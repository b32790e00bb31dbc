"""What the tests of the Wi-Fi have beside a box: a card for one with simulated radios, and phones.

The kernel's mac80211_hwsim gives the emulated box three radios that hear each other. The first, wlan0, is the box's own.
Each other one is moved into a network namespace of the box, where it is a phone or the studio's Wi-Fi: it shares
the kernel with the box, and reaches it by radio alone.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from box import running
from card import Card
from emulated import Box

# The root has neither a DHCP client nor a browser; the initramfs's busybox has both.
BUSYBOX = "/run/busybox"
ON_LEASE = """\
#!/bin/sh
# What udhcpc found out; a namespace has a name server of its own in /etc/netns.
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
ip route replace default via "$router"
mkdir -p "/etc/netns/$NAMESPACE"
echo "nameserver $dns" > "/etc/netns/$NAMESPACE/resolv.conf"
"""


class RadioCard(Card):
    """A card that starts with radios."""

    def __init__(self, copy: Path, settings: str) -> None:
        (image,) = Path("target/image").glob("returnfeed-*.img")
        super().__init__(image, copy)
        self.write("returnfeed.toml", settings)
        self.write("on-lease", ON_LEASE)
        busybox = Path("target/image/initramfs/bin/busybox")
        subprocess.run(["mcopy", "-o", "-i", self._partition(1), busybox, "::busybox"], check=True)

    def what_the_firmware_starts(self, folder: Path) -> tuple[Path, Path, str]:
        kernel, initramfs, command_line = super().what_the_firmware_starts(folder)
        return kernel, initramfs, f"{command_line} mac80211_hwsim.radios=3 modules-load=mac80211_hwsim"


@contextmanager
def with_radios(card: RadioCard, folder: Path) -> Iterator[Box]:
    """The box, with busybox at hand and its identity known."""
    with running(Box(card, folder), page=False) as box:
        do(box, f"cp /card/busybox /card/on-lease /run; chmod 755 {BUSYBOX} /run/on-lease")
        identity = do(box, "cat /etc/returnfeed/box.toml").splitlines()
        box.identity = {key: value.strip('"') for key, value in (line.split(" = ") for line in identity)}
        yield box


def do(box: Box, command: str, seconds: float = 180) -> str:
    """What a command says that must not fail."""
    code, said = box.shell(command, seconds)
    assert code == 0, f"{command}\n{said}"
    return said


def wait_until(box: Box, command: str, seconds: float = 180) -> None:
    """Until a command in the box succeeds."""
    deadline = time.monotonic() + seconds
    while box.shell(command)[0]:
        if time.monotonic() > deadline:
            pytest.fail(f"never came true: {command}\n{box.shell('journalctl -b --no-pager -n 40')[1]}")
        time.sleep(1)


class Phone:
    """A radio in a namespace of its own."""

    def __init__(self, box: Box, radio: int) -> None:
        self.box, self.name, self.device = box, f"phone{radio}", f"wlan{radio}"
        do(box, f"ip netns add {self.name}; iw phy $(cat /sys/class/net/{self.device}/phy80211/name) set netns name {self.name}")
        self.run("ip link set lo up")

    def run(self, command: str, seconds: float = 60) -> tuple[int, str]:
        """In its namespace."""
        return self.box.shell(f"ip netns exec {self.name} {command}", seconds)

    def join(self, name: str, passphrase: str, wait_for: str = "CTRL-EVENT-CONNECTED") -> None:
        """Until its log has the words `wait_for`."""
        conf, log, pid = (f"/run/{self.name}.{end}" for end in ("conf", "log", "pid"))
        lines = f'network={{\nssid="{name}"\npsk="{passphrase}"\n}}'
        do(self.box, f"[ ! -e {pid} ] || kill $(cat {pid}); rm -f {log}; cat > {conf} <<'END'\n{lines}\nEND")
        wait_until(self.box, f"! [ -e {pid} ]")
        self.run(f"wpa_supplicant -B -P {pid} -i {self.device} -D nl80211 -c {conf} -f {log}")
        wait_until(self.box, f"grep -q {wait_for} {log}")

    def take_address(self) -> str:
        """By DHCP."""
        client = f"env NAMESPACE={self.name} {BUSYBOX} udhcpc -i {self.device} -n -q -t 10 -s /run/on-lease"
        code, said = self.run(client, 120)
        assert code == 0, said
        return self.run(f"ip -4 -brief -color=never address show {self.device}")[1].split()[2].split("/")[0]

    def get(self, url: str, *headers: str) -> tuple[str, str]:
        """Status line and headers, and body; redirections are not followed."""
        host, _, path = url.partition("/")
        lines = [f"GET /{path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        request = "".join(f"{line}\\r\\n" for line in [*lines, ""])
        look_up = f"$(ip netns exec {self.name} {BUSYBOX} nslookup -type=a {host} | sed -n 's/^Address: //p' | tail -n 1)"
        # Busybox's nc and wget go too early and follow too far.
        ask = f"exec 3<>/dev/tcp/$0/80; printf \"{request}\" >&3; cat <&3"
        address = host if host[0].isdigit() else look_up
        said = do(self.box, f"ip netns exec {self.name} timeout 30 bash -c '{ask}' {address}")
        head, _, body = said.replace("\r", "").partition("\n\n")
        return head, body
