"""Boxes in QEMU, on a network of their own whose other end is this program's.

`Box` is the `virt` machine, for the network load. `Raspi3b` is a Raspberry Pi 3B, for the board and its pins.
"""

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import box
from card import Card
from shell import Shell

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
        if self._server:
            return
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


class Monitor:
    """QEMU's own line (QMP): questions, and what it tells by itself."""

    def __init__(self, path: Path) -> None:
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(path))
        self._line = line.makefile("rw")
        self._more = threading.Condition()
        self._answers: list[dict] = []
        self._starts_again = False
        self._line.readline()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ask("qmp_capabilities")

    def _read(self) -> None:
        # The line ends in the middle when the power is cut.
        with contextlib.suppress(ConnectionResetError):
            for line in self._line:
                said = json.loads(line)
                with self._more:
                    # What a machine that starts again looks like with -action reboot=shutdown.
                    self._starts_again |= said.get("event") == "SHUTDOWN" and said["data"]["reason"] == "guest-reset"
                    if "return" in said or "error" in said:
                        self._answers.append(said)
                    self._more.notify_all()

    def ask(self, command: str, **arguments: object) -> object:
        with self._more:
            self._line.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self._line.flush()
            if not self._more.wait_for(lambda: self._answers, 30):
                raise TimeoutError(f"the emulator does not answer to {command}")
            return self._answers.pop()["return"]

    def starts_again(self) -> bool:
        """Whether QEMU has ended because the machine starts again by itself."""
        self._reader.join(10)
        return self._starts_again


class Emulated(box.Box):
    """A box in QEMU; `devices` is what it has beside the usual."""

    shell_is_console = False

    def __init__(
        self, card: Card, folder: Path, address: str = BOX, devices: tuple[str, ...] = (), at_first: tuple[str, ...] = ()
    ) -> None:
        """`at_first`: words for QEMU that are for this start alone, not for those that the box makes by itself."""
        self.address, self.folder, self.card, self._devices = address, folder, card, devices
        self._at_first = at_first
        self.serial = folder / "serial.log"
        self._changes = threading.Condition()
        self._restarts = 0
        self._failure: Exception | None = None
        self._launch()

    def _machine(self, command_line: str) -> list[object]:
        """QEMU's words for the machine; its shell is the character device `shell`."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        """What starts QEMU."""
        kernel, initramfs, command_line = self.card.what_the_firmware_starts(self.folder)
        for name in "shell", "monitor":
            (self.folder / f"{name}.sock").unlink(missing_ok=True)
        if self.serial.exists():
            earlier = len(list(self.folder.glob("serial*.log")))
            self.serial.rename(self.folder / f"serial-{earlier}.log")
        words = [
            "qemu-system-aarch64", "-nographic", "-kernel", kernel, "-initrd", initramfs, "-monitor", "none",
            "-chardev", f"socket,id=shell,path={self.folder}/shell.sock,server=on,wait=off{self._shell_log()}",
            "-qmp", f"unix:{self.folder}/monitor.sock,server=on,wait=off",
            "-netdev", "tap,id=net,ifname=box0,script=no,downscript=no", *self._machine(command_line), *self._devices,
        ]  # fmt: skip
        return [str(word) for word in words]

    def _launch(self) -> None:
        # To start again is to end, for QEMU: it would take the same kernel as before.
        command = [*self._command(), "-action", "reboot=shutdown", *self._at_first]
        self._at_first = ()
        self.started = time.monotonic()
        qemu = self._qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.shell = self._once_it_listens(lambda: Shell(self.folder / "shell.sock", console=self.shell_is_console))
        self.monitor = self._once_it_listens(lambda: Monitor(self.folder / "monitor.sock"))
        threading.Thread(target=self._follow, args=(qemu,), daemon=True).start()

    def _follow(self, qemu: subprocess.Popen) -> None:
        """When the box starts again by itself, the firmware looks anew which slot that is to be."""
        qemu.wait()
        with self._changes:
            # Not when its power was cut.
            if self._qemu is qemu:
                try:
                    if not self.monitor.starts_again():
                        raise RuntimeError(f"the emulator has ended with {qemu.returncode}; see {self.serial}")
                    self.shell.close()
                    self._launch()
                    self._restarts += 1
                except Exception as failure:
                    self._failure = failure
            self._changes.notify_all()

    def _once_it_listens[Line](self, connect: Callable[[], Line]) -> Line:
        """The file of a socket is there a moment before anybody listens on it."""
        while True:
            try:
                return connect()
            except (FileNotFoundError, ConnectionRefusedError):
                if self._qemu.poll() is not None:
                    raise RuntimeError(f"the emulator ended at once with {self._qemu.returncode}") from None
                time.sleep(0.1)

    def _shell_log(self) -> str:
        return ""

    def _look_after(self) -> None:
        with self._changes:
            if self._failure:
                raise self._failure

    def _register(self, address: int) -> int:
        said = self.monitor.ask("human-monitor-command", **{"command-line": f"xp /1xw {address:#x}"})
        return int(re.search(r": (0x[0-9a-f]+)", str(said)).group(1), 16)

    def cut_power(self) -> None:
        with self._changes:
            qemu, self._qemu = self._qemu, None
            qemu.kill()
            qemu.wait()
            self.shell.close()

    def wait_for_restart(self, seconds: float = 240) -> None:
        with self._changes:
            if not self._changes.wait_for(lambda: self._restarts or self._failure, seconds):
                raise TimeoutError(f"the box has not started again within {seconds} s")
            self._look_after()
            self._restarts -= 1
        self.started_again()

    def wait_until_it_says(self, words: str, seconds: float = 240) -> None:
        """Until `words` stand in the serial log."""
        deadline = time.monotonic() + seconds
        while not self.serial.exists() or words.encode() not in self.serial.read_bytes():
            self._look_after()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the box never said {words!r}; see {self.serial}")
            time.sleep(0.02)


class Box(Emulated):
    """QEMU's `virt` machine: fast, with a watchdog of a usual make, and a line for the shell beside the console."""

    name = "virt"
    # All lines of its GPIO (PrimeCell PL061 Technical Reference Manual, §3.3.1).
    DATA = 0x090303FC

    def _machine(self, command_line: str) -> list[object]:
        extra = "console=ttyAMA0 systemd.debug_shell=hvc0 systemd.journald.forward_to_console=1"
        return [
            "-M", "virt,gic-version=2", "-cpu", "cortex-a53", "-smp", "2", "-m", "1G", "-append", f"{command_line} {extra}",
            "-drive", f"file={self.card.path},format=raw,if=none,id=card,cache=writethrough",
            "-device", "virtio-blk-pci,drive=card", "-device", f"virtio-net-pci,netdev=net,mac={MAC}",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=shell",
            "-device", "i6300esb", "-action", "watchdog=reset", "-serial", f"file:{self.serial}",
        ]  # fmt: skip

    def pins(self) -> int:
        """Of its eight; 3 is its power button."""
        return self._register(self.DATA)


class Raspi3b(Emulated):
    """QEMU's Raspberry Pi 3B: its device tree, its card reader, its pins; the cable hangs on a USB adapter.

    What it does not have: pulls, so that a pin nobody drives reads low (this class stands in for the one the reset
    button relies on); the green light; a watchdog that counts, arming it starts the machine again at once; and what
    of the board is not in the device tree at all.
    """

    name = "raspi3b"
    shell_is_console = True
    # Registers of the BCM2837's pins 0 to 31 (BCM2835 ARM Peripherals, §6.1).
    SET, CLEAR, LEVEL = 0x3F20001C, 0x3F200028, 0x3F200034

    def _machine(self, command_line: str) -> list[object]:
        extra = "console=ttyS1,115200 systemd.debug_shell=ttyS1 systemd.watchdog_sec=off"
        tree = self.folder / "board.dtb"
        tree.write_bytes(self.card.read("bcm2837-rpi-3-b.dtb", self.card.slot()))
        # What drives its pins from outside does so when it starts again, too.
        self._outside: dict[int, bool] = getattr(self, "_outside", {21: True})
        pins = self.folder / "pins.sock"
        pins.unlink(missing_ok=True)
        return [
            "-M", "raspi3b", "-dtb", tree, "-append", f"{command_line} {extra}",
            "-drive", f"file={self.card.path},format=raw,if=sd,cache=writethrough",
            "-device", f"usb-net,netdev=net,mac={MAC}", "-serial", "null", "-serial", "chardev:shell",
            "-qtest", f"unix:{pins},server=on,wait=off", "-qtest-log", "/dev/null",
        ]  # fmt: skip

    def _shell_log(self) -> str:
        return f",logfile={self.serial}"

    def _launch(self) -> None:
        super()._launch()
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(self.folder / "pins.sock"))
        self._registers = line.makefile("rw")
        self._turn = threading.Lock()
        self._drive_all()

    def _look_after(self) -> None:
        super()._look_after()
        # QEMU's USB host loses the adapter's first sign now and then. On a board one would plug the cable in again.
        with self._changes:
            if self.serial.exists() and b"usb: Not connected" in self.serial.read_bytes():
                box.report(self.folder, f"{self.name}: the emulator lost its USB adapter and was started again")
                self.cut_power()
                self._launch()

    def _drive_all(self) -> None:
        for pin, high in self._outside.items():
            self._write(self.SET if high else self.CLEAR, 1 << pin)

    def _write(self, register: int, value: int) -> None:
        with self._turn:
            self._registers.write(f"writel {register:#x} {value:#x}\n")
            self._registers.flush()
            self._registers.readline()

    def drive(self, pin: int, high: bool) -> None:
        self._outside[pin] = high
        self._drive_all()

    def pins(self) -> int:
        return self._register(self.LEVEL)
