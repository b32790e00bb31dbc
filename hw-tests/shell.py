"""A root shell on a serial line: systemd's debug shell, though nobody can log in to the box."""

import os
import secrets
import select
import socket
import stat
import termios
import threading
import time
import tty
from pathlib import Path


def open_line(where: str) -> int:
    """A file descriptor of `tcp:HOST:PORT`, a Unix socket, or a serial device at 115200 bit/s."""
    if where.startswith("tcp:"):
        host, port = where.removeprefix("tcp:").rsplit(":", 1)
        return socket.create_connection((host, int(port)), 10).detach()
    if stat.S_ISSOCK(os.stat(where).st_mode):
        line = socket.socket(socket.AF_UNIX)
        line.connect(where)
        return line.detach()
    line = os.open(where, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    settings = termios.tcgetattr(line)
    settings[4] = settings[5] = termios.B115200
    termios.tcsetattr(line, termios.TCSANOW, settings)
    return line


class Shell:
    """Runs commands in the box. What the line says is kept in `log`, if one is named. On a line that is the `console`
    too, the kernel is told to be silent once the shell answers, or its words would get among the answers."""

    def __init__(self, where: str | Path, log: Path | None = None, console: bool = False) -> None:
        self._greeting = "dmesg -n 1; " if console else ""
        self._line = open_line(str(where))
        self._log = log.open("ab", buffering=0) if log else None
        self._heard = b""
        self._more = threading.Condition()
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Always, so that the log is whole and the box never waits for a reader."""
        while not self._closed:
            if not select.select([self._line], [], [], 0.2)[0]:
                continue
            try:
                said = os.read(self._line, 65536)
            except OSError:
                said = b""
            if self._log:
                self._log.write(said)
            with self._more:
                self._closed |= not said
                self._heard += said
                self._more.notify_all()

    def _until(self, mark: bytes, deadline: float) -> bytes:
        with self._more:
            while mark not in self._heard:
                if self._closed:
                    raise ConnectionError("the line to the box is closed")
                if not self._more.wait(deadline - time.monotonic()) and mark not in self._heard:
                    raise TimeoutError(f"no {mark!r} on the line of the shell: {self._heard[-200:]!r}")
            said, _, self._heard = self._heard.partition(mark)
            return said

    def send(self, line: str) -> None:
        """Without waiting for what comes of it."""
        if self._closed:
            raise ConnectionError("the line to the box is closed")
        os.write(self._line, line.encode() + b"\n")

    def wait(self, seconds: float) -> None:
        """Until the shell answers."""
        deadline = time.monotonic() + seconds
        while True:
            # The mark is put together there, lest the echo of the command be taken for it.
            mark = secrets.token_hex(4)
            self.send(f"TERM=dumb exec bash --norc --noediting\nstty -echo; PS1=; PS2=; {self._greeting}echo ready''-{mark}")
            try:
                self._until(f"ready-{mark}\r\n".encode(), min(deadline, time.monotonic() + 3))
                return
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def __call__(self, command: str, seconds: float = 60) -> tuple[int, str]:
        """Exit code and output."""
        self.send(f"{{ {command}\n}} 2>&1; code=$?; echo; echo the''-end $code")
        deadline = time.monotonic() + seconds
        said = self._until(b"the-end ", deadline)
        code = self._until(b"\r\n", deadline)
        return int(code), said.decode(errors="replace").replace("\r\n", "\n").strip()

    def close(self) -> None:
        """The box may go on; another shell can be opened on the same line."""
        self._closed = True
        self._reader.join()
        if self._line is None:
            return
        os.close(self._line)
        self._line = None
        if self._log:
            self._log.close()
