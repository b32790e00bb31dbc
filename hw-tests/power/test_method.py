"""The method of `make power-test` itself, without a box: it must see what a careless program loses."""

import json
import random
import socket
import struct

import pytest
import update
from promises import Promised, faults_of_access, faults_of_https, promised_by
from recorded import (
    HAS_FLAGS, OPTION_GO, OPTION_MAGIC, REQUEST_MAGIC, SECTOR, SEND_FLUSH, WRITE, FLUSH, Answered, Flushed, RecordedCard,
    Said, Write, left_after_cut,
)  # fmt: skip

OLD, NEW = b"o" * SECTOR, b"n" * SECTOR
DATA, POINTER = Write(0, NEW * 8), Write(8 * SECTOR, NEW)


def ways(events, has_cache=True, how_many=300):
    """What cards may hold after a cut, as they are read."""
    for seed in range(how_many):
        card = bytearray(OLD * 9)
        for write in left_after_cut(events, has_cache, random.Random(seed)):
            card[write.offset : write.offset + len(write.data)] = write.data
        yield bytes(card[: 8 * SECTOR]), bytes(card[8 * SECTOR :])


def test_what_a_flush_covered_is_on_every_card():
    events = [DATA, Answered(), Flushed(1), POINTER, Answered()]
    assert {data for data, _ in ways(events)} == {DATA.data}
    assert {pointer for _, pointer in ways(events)} == {OLD, NEW}


def test_without_a_flush_between_them_the_later_write_may_be_there_and_the_earlier_not():
    events = [DATA, Answered(), POINTER, Answered()]
    assert any(pointer == NEW and data == OLD * 8 for data, pointer in ways(events))


def test_a_card_without_a_cache_has_all_that_it_answered():
    events = [DATA, Answered(), POINTER]
    assert {data for data, _ in ways(events, has_cache=False)} == {DATA.data}
    assert {pointer for _, pointer in ways(events, has_cache=False)} == {OLD, NEW}


def test_a_write_is_torn_between_sectors_and_never_within_one():
    torn = {data for data, _ in ways([DATA, Answered()])} - {OLD * 8, DATA.data}
    assert len(torn) > 10
    for data in torn:
        assert {data[at : at + SECTOR] for at in range(0, len(data), SECTOR)} == {OLD, NEW}


def test_promises_are_those_that_were_heard_before_the_cut():
    said = [Said(line) for line in ["begin card 1", "kept settings 1", "kept fact 10.99.0.7", "begin card 2"]]
    promised = promised_by(said)
    assert (promised.settings, promised.begun, promised.fact, promised.at_rest) == (1, 2, 7, False)
    assert promised_by(said[:2]).at_rest


def ledger(*numbers):
    links = [{"id": f"{n:08x}", "name": f"Link {n}", "director": False, "digest": "0" * 64, "left_s": None} for n in numbers]
    return json.dumps({"password": None, "links": links, "pins": []}).encode() + b"\n"


def test_a_link_that_was_given_is_there_and_one_that_was_revoked_is_not():
    said = ["kept link 1", "kept link 2", "begin revoking 1", "kept revoked 1", "kept link 3", "begin revoking 2"]
    promised = promised_by([Said(line) for line in said])
    # Whether 2 is there yet, and whether 4 was made already, is known to nobody.
    for kept in [(3,), (2, 3), (2, 3, 4), (3, 4)]:
        assert faults_of_access(promised, ledger(*kept)) == []
    assert faults_of_access(promised, ledger(2)) == ["links [3] were given, and are gone"]
    assert faults_of_access(promised, ledger(1, 3)) == ["links [1] were revoked, and are back"]
    assert faults_of_access(promised, None) == ["links [3] were given, and are gone"]
    assert faults_of_access(Promised(), None) == []


def test_a_torn_ledger_and_a_torn_certificate_are_seen():
    whole = ledger(1, 2)
    for cut in range(len(whole) - 1):
        assert "torn" in faults_of_access(Promised(), whole[:cut])[0], cut
    pem = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"
    assert faults_of_https({"state/https-certificate.pem": pem, "state/last-seen": b"1790000000\n"}) == []
    for text in [b"", pem[:40], pem[:80], b"\0" * 512]:
        assert "torn" in faults_of_https({"state/https-certificate.pem": text})[0], text
    assert faults_of_https({"state/last-seen": b"\0\0\0"}) == ["the last time seen is b'\\x00\\x00\\x00'"]
    assert faults_of_https({}) == []


def test_an_update_is_cut_in_every_phase_and_after_it_was_confirmed():
    idle, write = (4096, 4096), [Write(4096, NEW), Answered()]
    phases = [update.BEGINS, update.WRITTEN, update.RESTARTED, update.CONFIRMED, update.AFTERWARDS]
    # Behind the last write to the slot other things are written.
    events = [event for phase in phases for event in (Said(phase), *(write if phase == update.BEGINS else []), DATA, Answered())]
    at = update.places(events, idle)
    for seed in range(100):
        moments = update.moments(events, idle, 20, random.Random(seed))
        for moment, (begin, end) in zip(moments, update.PHASES, strict=True):
            assert at[begin] < moment <= at[end], (begin, moment)
        assert sum(moment > at[update.CONFIRMED] for moment in moments) == 2
        assert sum(moment <= at[update.WRITTEN] for moment in moments) == 14


class Box:
    """What QEMU is to the card."""

    def __init__(self, path):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(str(path))
        assert self.line.recv(18, socket.MSG_WAITALL)[:16] == b"NBDMAGIC" + OPTION_MAGIC
        self.line.sendall(struct.pack(">I8sII", 3, OPTION_MAGIC, OPTION_GO, 0))
        reply = self.line.recv(20 + 12 + 20, socket.MSG_WAITALL)
        assert struct.unpack(">HQH", reply[20:32]) == (0, 9 * SECTOR, HAS_FLAGS | SEND_FLUSH)

    def ask(self, *requests):
        """All at once: each a kind and what is written."""
        self.line.sendall(b"".join(
            struct.pack(">IHHQQI", REQUEST_MAGIC, 0, kind, 1, 0, len(data)) + data for kind, data in requests
        ))  # fmt: skip

    def hear(self):
        assert struct.unpack(">IIQ", self.line.recv(16, socket.MSG_WAITALL))[1] == 0


@pytest.fixture
def card(tmp_path):
    class Flashed:
        path = tmp_path / "image"
        what_the_firmware_starts = None

    Flashed.path.write_bytes(OLD * 9)
    return RecordedCard(Flashed, [], tmp_path / "card.sock")


def test_a_flush_covers_what_was_answered_before_it_came(card, tmp_path):
    box = Box(tmp_path / "card.sock")
    box.ask((WRITE, DATA.data))
    box.hear()
    box.ask((FLUSH, b""))
    box.hear()
    assert card.cut() == [DATA, Answered(), Flushed(1)]


def test_a_flush_covers_nothing_that_was_still_under_way(card, tmp_path):
    box = Box(tmp_path / "card.sock")
    box.ask((WRITE, DATA.data), (FLUSH, b""))
    box.hear()
    box.hear()
    assert card.cut() == [DATA, Answered(), Flushed(0)]
