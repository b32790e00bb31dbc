"""A show: a feed, viewers, cuts, a lamp and somebody who watches the tally, all looked at from outside of the box."""

import base64
import json
import os
import random
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass, field

from vmix import Vmix

BUILT = os.environ.get("HW_TEST_BUILT", "target/debug")
# A lamp on pins that QEMU's `virt` machine has, too.
PROGRAM, PREVIEW = 5, 6
SETTINGS = f"""\
[[camera]]
name = "Camera from the card"
inputs = [1]
[[lamp]]
camera = "Camera from the card"
program_pin = {PROGRAM}
preview_pin = {PREVIEW}
active = "low"
"""
# From one to the next a single pin changes, so that nothing else is ever to be seen. What vMix says, what the lamp's
# program and preview light do, what the page is told.
CUTS = [("10", (True, False), "program"), ("00", (False, False), "safe"), ("20", (False, True), "preview"), ("00", (False, False), "safe")]


@dataclass
class Seen:
    """What changed, and when."""

    changes: list[tuple[float, object]] = field(default_factory=list)
    longest_gap: float = 0
    """Seconds between two looks, at most."""

    def see(self, what: object) -> None:
        if not self.changes or self.changes[-1][1] != what:
            self.changes.append((time.monotonic(), what))


def followed(cuts: list[tuple[float, object]], changes: list[tuple[float, object]]) -> list[float]:
    """Seconds from each cut until it was seen. All of them must have been, in this order, and nothing else."""
    assert [what for _, what in changes] == [what for _, what in cuts], (cuts, changes)
    return [seen - cut for (cut, _), (seen, _) in zip(cuts, changes, strict=True)]


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(part * (len(ordered) - 1) + 0.5)] * 1000 for part in (0.5, 0.99))
    return f"{len(ordered)} cuts, p50 {p50:.0f}, p99 {p99:.0f}, max {ordered[-1] * 1000:.0f} ms"


def run(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class Show:
    """Goes on until it is ended. Cuts come by no rhythm: the box asks vMix by itself every 500 ms, and a cut that
    it finds out like that should be late."""

    SECONDS = 100
    BETWEEN_CUTS = (0.7, 1.3)

    def __init__(self, box) -> None:
        self._box = box
        self.cuts: list[tuple[float, tuple]] = []
        self.lamp, self.page = Seen(), Seen()
        self.unknown = 0
        self._no_more_cuts, self._stop = threading.Event(), threading.Event()
        self._director: threading.Thread | None = None
        self._watchers: list[threading.Thread] = []
        self._vmix = Vmix()
        # Its own vMix is asked by nobody: it is there for the picture.
        self._sender = subprocess.Popen(
            [f"{BUILT}/returnfeed", "simulate", "--srt", f"srt://{box.address}:8890", "--tcp-port", "8199", "--http-port", "8188"]
        )
        self._viewers = None
        try:
            self._begin()
        except BaseException:
            self._end_all()
            raise

    def _begin(self) -> None:
        self._wait_for_feed()
        self._viewers = subprocess.Popen(
            [f"{BUILT}/examples/viewers", f"http://{self._box.address}:8889/pgm/whep", "2", str(self.SECONDS)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._watchers = [run(self._watch_lamp), run(self._watch_page)]
        deadline = time.monotonic() + 60
        while (self._last(self.lamp), self._last(self.page)) != (CUTS[-1][1:]):
            assert time.monotonic() < deadline, (self.lamp, self.page)
            time.sleep(0.1)
        # From here on every change is that of a cut.
        self.lamp.changes, self.page.changes, self.unknown = self.lamp.changes[-1:], self.page.changes[-1:], 0
        self._director = run(self._direct)

    @staticmethod
    def _last(seen: Seen) -> object:
        return seen.changes[-1][1] if seen.changes else None

    def _wait_for_feed(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            with urllib.request.urlopen(f"http://{self._box.address}:8889/api/v1/status", timeout=30) as answer:
                status = json.load(answer)
            if any(stream["live"] for stream in status["streams"]) and status["tally"]["source"] == "live":
                return
            assert time.monotonic() < deadline, status
            time.sleep(0.5)

    def _direct(self) -> None:
        chance, number = random.Random(5), 0
        while not self._no_more_cuts.wait(chance.uniform(*self.BETWEEN_CUTS)):
            cut = CUTS[number % len(CUTS)]
            self.cuts.append((time.monotonic(), cut))
            self._vmix.cut(cut[0])
            number += 1

    def _watch_lamp(self) -> None:
        before = time.monotonic()
        while not self._stop.is_set():
            pins = self._box.pins()
            now = time.monotonic()
            self.lamp.longest_gap, before = max(self.lamp.longest_gap, now - before), now
            # A low level lights.
            self.lamp.see((not pins >> PROGRAM & 1, not pins >> PREVIEW & 1))
            time.sleep(0.005)

    def _watch_page(self) -> None:
        with socket.create_connection((self._box.address, 8889), 10) as line:
            key = base64.b64encode(os.urandom(16)).decode()
            line.sendall(
                f"GET /ws/ HTTP/1.1\r\nHost: {self._box.address}:8889\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            messages = line.makefile("rb")
            while messages.readline().strip():
                pass
            while not self._stop.is_set():
                said = read_message(messages)
                if said.get("type") == "tally":
                    self.unknown += said["source"] != "live"
                    self.page.see(next(entry["tally"] for entry in said["inputs"] if entry["number"] == 1))

    def end(self) -> dict:
        """What the viewers counted, once they are done."""
        try:
            said, _ = self._viewers.communicate(timeout=self.SECONDS + 60)
        finally:
            self._end_all()
        return json.loads(said)

    def _end_all(self) -> None:
        self._no_more_cuts.set()
        if self._director:
            self._director.join()
            # The last cut is to be seen, too.
            time.sleep(self.BETWEEN_CUTS[1])
        self._stop.set()
        for watcher in self._watchers:
            watcher.join(15)
        self._vmix.close()
        for process in filter(None, (self._sender, self._viewers)):
            process.terminate()
            process.wait()

    def followed_by_lamp(self) -> list[float]:
        """Seconds from each cut until the lamp's pins had it."""
        return followed([(at, cut[1]) for at, cut in self.cuts], self.lamp.changes[1:])

    def followed_by_page(self) -> list[float]:
        """Seconds from each cut until a page was told."""
        return followed([(at, cut[2]) for at, cut in self.cuts], self.page.changes[1:])


def read_message(line) -> dict:
    """One text message (RFC 6455 §5.2); a server does not mask. Others are taken for empty ones."""
    kind, length = line.read(2)
    if length == 126:
        (length,) = struct.unpack(">H", line.read(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", line.read(8))
    text = line.read(length)
    return json.loads(text) if kind == 0x81 else {}
