"""A box in QEMU's `virt` machine, on a network of its own whose other end is this program's."""

import socket
import subprocess
import time
from pathlib import Path

from card import Card

NETWORK, HERE, BOX = "10.77.0", "10.77.0.1", "10.77.0.50"
MAC = "52:54:00:52:46:01"


def run(*command: object, check: bool = True) -> str:
    return subprocess.run([str(word) for word in command], check=check, capture_output=True, text=True).stdout


class Network:
    """A cable to the box. Without `serve_addresses` nobody hands out addresses on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server: subprocess.Popen | None = None
        run("ip", "link", "set", "lo", "up")
        run("ip", "tuntap", "add", "box0", "mode", "tap", check=False)
        run("ip", "address", "replace", f"{HERE}/24", "dev", "box0")
        run("ip", "address", "replace", "169.254.7.7/16", "dev", "box0")
        run("ip", "link", "set", "box0", "up")

    def serve_addresses(self) -> None:
        self._server = subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--port=0", "--interface=box0", "--bind-interfaces", "--conf-file=/dev/null",
             f"--dhcp-range={NETWORK}.50,{NETWORK}.99,5m", f"--dhcp-host={MAC},{BOX}", "--leasefile-ro", "--user=root",
             f"--log-facility={self.folder}/dhcp.log", "--log-dhcp", f"--pid-file={self.folder}/dhcp.pid"]
        )  # fmt: skip

    def stop(self) -> None:
        if self._server:
            self._server.terminate()
            self._server.wait()
            self._server = None


class Shell:
    """systemd's debug shell on a line of its own: root in the box, though nobody can log in to it."""

    def __init__(self, path: Path) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(str(path))
        self._heard = b""

    def _until(self, mark: bytes, deadline: float) -> bytes:
        while mark not in self._heard:
            self._line.settimeout(max(0.1, deadline - time.monotonic()))
            self._heard += self._line.recv(65536)
        said, _, self._heard = self._heard.partition(mark)
        return said

    def wait(self, seconds: float) -> None:
        """Until the shell answers."""
        deadline = time.monotonic() + seconds
        while True:
            self._line.sendall(b"TERM=dumb exec bash --norc --noediting\nstty -echo; PS1=; PS2=; echo rea''dy\n")
            try:
                self._until(b"ready\r\n", min(deadline, time.monotonic() + 3))
                return
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def __call__(self, command: str, seconds: float = 60) -> tuple[int, str]:
        """Exit code and output."""
        self._line.sendall(f"{{ {command}\n}} 2>&1; echo; echo the''-end $?\n".encode())
        deadline = time.monotonic() + seconds
        said = self._until(b"the-end ", deadline)
        code = self._until(b"\r\n", deadline)
        return int(code), said.decode(errors="replace").replace("\r\n", "\n").strip()


class Box:
    """A running box. `address` is where its page is looked for."""

    def __init__(self, card: Card, folder: Path, address: str = BOX) -> None:
        self.address = address
        self.serial = folder / "serial.log"
        kernel, initramfs, command_line = card.what_the_firmware_starts(folder)
        extra = "console=ttyAMA0 systemd.debug_shell=hvc0 systemd.journald.forward_to_console=1"
        shell = folder / "shell.sock"
        self.started = time.monotonic()
        self._qemu = subprocess.Popen(
            ["qemu-system-aarch64", "-M", "virt,gic-version=2", "-cpu", "cortex-a53", "-smp", "2", "-m", "1G", "-nographic",
             "-kernel", kernel, "-initrd", initramfs, "-append", f"{command_line} {extra}",
             "-drive", f"file={card.path},format=raw,if=none,id=card,cache=writethrough", "-device", "virtio-blk-pci,drive=card",
             "-netdev", "tap,id=net,ifname=box0,script=no,downscript=no", "-device", f"virtio-net-pci,netdev=net,mac={MAC}",
             "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
             "-chardev", f"socket,id=shell,path={shell},server=on,wait=off", "-device", "virtconsole,chardev=shell",
             "-device", "i6300esb", "-action", "watchdog=reset",
             "-serial", f"file:{self.serial}", "-monitor", "none"],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        while not shell.exists():
            self._alive()
            time.sleep(0.1)
        self.shell = Shell(shell)

    def _alive(self) -> None:
        if self._qemu.poll() is not None:
            raise RuntimeError(f"the emulator has ended with {self._qemu.returncode}; see {self.serial}")

    def wait_for_page(self, seconds: float = 240) -> float:
        """Seconds from the start of the box until the page answers."""
        deadline = time.monotonic() + seconds
        while True:
            self._alive()
            try:
                with socket.create_connection((self.address, 8889), 1) as connection:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n")
                    if b" 200 " in connection.recv(64):
                        return time.monotonic() - self.started
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"no page at {self.address} after {seconds} s; see {self.serial}")
            time.sleep(0.2)

    def keep_journal(self) -> None:
        """Beside the serial log; the box must be up."""
        journal = self.shell("journalctl -b --no-pager -o short-monotonic", 120)[1]
        self.serial.with_name("journal.log").write_text(journal)

    def cut_power(self) -> None:
        self._qemu.kill()
        self._qemu.wait()
