"""A card whose every write is recorded, so that it can be taken out of the box at any moment.

QEMU reaches it as a network block device (NBD, github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). Nothing
is written to this machine's disk, so no cache of this machine stands between the box and what is examined.

The card says that it has a volatile cache. What Linux may count on is then exactly this: a flush makes safe what was
answered *before the flush arrived*; everything else may be on the card, or not, or in part.
"""

import mmap
import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from card import SECTOR, Card

# How long the card takes for a write or a flush: long enough that Linux has several under way.
ANSWER_AFTER = 0.002

OPTION_MAGIC, OPTION_REPLY_MAGIC = b"IHAVEOPT", 0x0003E889045565A9
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
OPTION_ABORT, OPTION_GO = 2, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001
HAS_FLAGS, SEND_FLUSH = 1, 4
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3


@dataclass(frozen=True)
class Write:
    """Has arrived at the card."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Answered:
    """The box knows that one more write was taken; they are answered in the order they came."""


@dataclass(frozen=True)
class Flushed:
    """The box knows that the first `covered` writes are safe."""

    covered: int


@dataclass(frozen=True)
class Said:
    """The box told the outside, for example that settings are kept."""

    line: str


Event = Write | Answered | Flushed | Said


def apply(content, write: Write) -> None:
    content[write.offset : write.offset + len(write.data)] = write.data


def torn(write: Write, chance: random.Random) -> list[Write]:
    """What a card may have made of a write that the cut of power met: whole sectors, each old or new."""
    sectors = range(0, len(write.data), SECTOR)
    if chance.random() < 0.5:
        done = chance.randrange(len(sectors) + 1)
        kept = [at for at in sectors if at < done * SECTOR]
    else:
        kept = [at for at in sectors if chance.random() < 0.5]
    return [Write(write.offset + at, write.data[at : at + SECTOR]) for at in kept]


def left_after_cut(events: list[Event], has_cache: bool, chance: random.Random) -> list[Write]:
    """The writes that are on the card when power goes after `events`, one of the many ways it may be.

    A card without a cache has all it answered. One with a cache has what the last flush covered. Of the rest each
    write is kept, lost or torn; those to one place never overtake one another.
    """
    writes = [event for event in events if isinstance(event, Write)]
    if has_cache:
        safe = max((event.covered for event in events if isinstance(event, Flushed)), default=0)
    else:
        safe = sum(isinstance(event, Answered) for event in events)
    left = writes[:safe]
    # Both ends are likely in life: a cache hardly written back, and one that was nearly done.
    lost, tears = chance.choice([0.02, 0.2, 0.5, 0.8, 0.98]), chance.choice([0.0, 0.1, 0.5])
    for write in writes[safe:]:
        if chance.random() < lost:
            continue
        left += torn(write, chance) if chance.random() < tears else [write]
    return left


class RecordedCard:
    """Serves the card at `path`, as QEMU names such a place, until `cut`, on a thread of its own."""

    def __init__(self, flashed: Card, before: list[Write], socket_path: Path) -> None:
        """`before`: what was written since it was flashed, in order."""
        self._flashed = flashed
        with flashed.path.open("rb") as file:
            # Changes stay in memory, and the image as it is.
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        for write in before:
            apply(self._content, write)
        self.events: list[Event] = []
        self._answered = 0
        self._arrived = 0
        self._waiting: deque[tuple[float, int, Event]] = deque()
        self._stop = threading.Event()
        self.failure: Exception | None = None
        self.path = f"nbd+unix:///?socket={socket_path}"
        self._listener = socket.socket(socket.AF_UNIX)
        socket_path.unlink(missing_ok=True)
        self._listener.bind(str(socket_path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def keep(self, file: Path) -> Card:
        """The card as it is now, in a file."""
        with file.open("wb") as copy:
            for at in range(0, len(self._content), 1 << 20):
                block = self._content[at : at + (1 << 20)]
                if block.count(0) < len(block):
                    copy.seek(at)
                    copy.write(block)
            copy.truncate(len(self._content))
        return Card.in_place(file)

    def what_the_firmware_starts(self, folder: Path) -> tuple[Path, Path, str]:
        """Of the card as it is now."""
        copy = self.keep(folder / "card-at-start.img")
        try:
            return copy.what_the_firmware_starts(folder)
        finally:
            copy.path.unlink()

    def said(self, line: str) -> None:
        self.events.append(Said(line))

    def cut(self) -> list[Event]:
        """Takes the card out. What happened until then."""
        self._stop.set()
        self._thread.join()
        if self.failure:
            raise self.failure
        return self.events

    def _run(self) -> None:
        try:
            self._listener.settimeout(0.1)
            while not self._stop.is_set():
                try:
                    line, _ = self._listener.accept()
                except TimeoutError:
                    continue
                with line:
                    self._agree(line)
                    self._serve(line)
        except Exception as failure:
            if not self._stop.is_set():
                self.failure = failure
        finally:
            self._listener.close()

    def _agree(self, line: socket.socket) -> None:
        """The beginning of a connection ("fixed newstyle negotiation")."""
        line.sendall(b"NBDMAGIC" + OPTION_MAGIC + struct.pack(">H", 3))
        exactly(line, 4)
        while True:
            magic, option, length = struct.unpack(">8sII", exactly(line, 16))
            assert magic == OPTION_MAGIC
            exactly(line, length)

            def reply(kind: int, data: bytes = b"", to: int = option) -> None:
                line.sendall(struct.pack(">QIII", OPTION_REPLY_MAGIC, to, kind, len(data)) + data)

            if option == OPTION_GO:
                reply(REPLY_INFO, struct.pack(">HQH", 0, len(self._content), HAS_FLAGS | SEND_FLUSH))
                reply(REPLY_ACK)
                return
            reply(REPLY_ACK if option == OPTION_ABORT else REPLY_UNSUPPORTED)

    def _serve(self, line: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(line, selectors.EVENT_READ)
            while not self._stop.is_set():
                now = time.monotonic()
                due = self._waiting[0][0] - now if self._waiting else 0.05
                # All that has arrived is taken before an answer goes out: whatever came earlier cannot have
                # waited for that answer.
                if selector.select(max(0, due)):
                    if not self._take(line):
                        # A box that starts again: what was under way is done.
                        while self._waiting:
                            self._answer(None)
                        return
                elif self._waiting and due <= 0:
                    self._answer(line)

    def _take(self, line: socket.socket) -> bool:
        """One request; false when the box hangs up."""
        head = exactly(line, 28)
        if not head:
            return False
        magic, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", head)
        assert magic == REQUEST_MAGIC
        due = time.monotonic() + ANSWER_AFTER
        if kind == READ:
            line.sendall(struct.pack(">IIQ", REPLY_MAGIC, 0, cookie) + self._content[offset : offset + length])
        elif kind == WRITE:
            write = Write(offset, exactly(line, length))
            apply(self._content, write)
            self.events.append(write)
            self._arrived += 1
            self._waiting.append((due, cookie, Answered()))
        elif kind == FLUSH:
            self._waiting.append((due, cookie, Flushed(self._answered)))
        return kind != DISCONNECT

    def _answer(self, line: socket.socket | None) -> None:
        _, cookie, event = self._waiting.popleft()
        self._answered += isinstance(event, Answered)
        self.events.append(event)
        if line:
            line.sendall(struct.pack(">IIQ", REPLY_MAGIC, 0, cookie))


def exactly(line: socket.socket, length: int) -> bytes:
    """That many bytes, or none when the other end hangs up."""
    taken = bytearray()
    while len(taken) < length:
        more = line.recv(length - len(taken))
        if not more:
            return b""
        taken += more
    return bytes(taken)
