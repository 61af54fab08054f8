"""Rings that processes share: what is read was written, whole and in order, or is said to be lost."""

from __future__ import annotations

import random
import threading

import pytest

from blitz.admin.ledger import Ledger, Reader, Writer


@pytest.mark.parametrize("seed", range(20))
def test_a_reader_gets_all_or_is_told_that_some_are_lost(seed: int) -> None:
    chance = random.Random(seed)
    ledger = Ledger(3, 4096)
    reader = Reader(ledger, from_now=False)
    written: list[list[bytes]] = [[], [], []]
    got: list[list[bytes]] = [[], [], []]
    lost_once = False
    for _ in range(400):
        slot = chance.randrange(3)
        record = bytes([slot]) + chance.randbytes(chance.choice((0, 1, 7, 100, 1500)))
        assert ledger.write(slot, record)
        written[slot].append(record)
        if chance.random() < 0.1:
            records, lost = reader.read()
            lost_once |= lost
            for one in records:
                got[one[0]].append(one)
    records, lost = reader.read()
    lost_once |= lost
    for one in records:
        got[one[0]].append(one)
    for said, heard in zip(written, got, strict=True):
        left = iter(said)
        assert all(one in left for one in heard)  # in order, none made up
    assert lost_once == (written != got)


def test_a_record_that_is_too_long_changes_nothing() -> None:
    ledger = Ledger(1, 4096)
    assert ledger.write(0, b"a" * 2000)
    assert not ledger.write(0, b"b" * 2048)
    assert Reader(ledger, from_now=False).read() == ([b"a" * 2000], False)


def test_reading_while_another_writes_gives_whole_records_only() -> None:
    ledger = Ledger(1, 4096)
    writer = Writer(ledger, 0)
    ended = threading.Event()

    def write() -> None:
        for number in range(5000):
            writer.write(bytes([number % 256]) * (number % 600))
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    reader, count = Reader(ledger), 0
    while not ended.is_set():
        for record in reader.read()[0]:
            assert record == record[:1] * len(record)
            count += 1
    thread.join()
    assert count + len(reader.read()[0])


def test_lines_are_kept_only_while_somebody_reads() -> None:
    ledger = Ledger(1, 4096)
    writer, reader = Writer(ledger, 0), Reader(ledger)
    writer.show(b"before\n")
    assert reader.read() == ([], False)
    ledger.watch(60)
    lines = b"".join(b"line %d\n" % number for number in range(200))
    writer.show(lines)
    records, lost = reader.read()
    assert all(record.endswith(b"\n") for record in records)
    assert lines.endswith(b"".join(records)) and lost == (b"".join(records) != lines)
