"""Rings of records in memory that all processes of a service share: each writes into its own, anybody reads.

Made before the fork, like the scoreboard. A writer never waits: what is oldest in its ring gives way, and a
reader that was too slow is told so. What a process wrote stays readable when it has died.

A record has its length and a checksum before it. Places are counted in bytes that were ever written; the
header of a ring says where its oldest whole record begins and where the newest one ends. A writer moves the
beginning first, then writes, then moves the end, so a reader that looks again at the beginning knows whether
what it has copied was overwritten meanwhile.
"""

from __future__ import annotations

import mmap
import struct
import threading
import time
import zlib
from collections.abc import Iterable

__all__ = ["Ledger", "Reader", "Writer"]

_PLACES = struct.Struct("@QQ")  # of a ring: the beginning of what is readable, the end
_RECORD = struct.Struct("@II")  # length and checksum of what follows
_WATCHED = struct.Struct("@d")  # of the whole: monotonic time until which somebody reads
_PAGE = 4096
_TRIES = 3


class Ledger:
    """*slots* rings of *size* bytes each, a power of two; numbered from 0."""

    def __init__(self, slots: int, size: int) -> None:
        self.slots = slots
        self.size = size
        self._memory = mmap.mmap(-1, _PAGE + slots * (_PAGE + size))

    # -- who reads

    def watch(self, seconds: float) -> None:
        """Somebody reads, for so long at least."""
        _WATCHED.pack_into(self._memory, 0, time.monotonic() + seconds)

    @property
    def watched(self) -> bool:
        """Somebody reads now: what is for readers only is worth writing."""
        return bool(_WATCHED.unpack_from(self._memory, 0)[0] > time.monotonic())

    # -- one ring

    def places(self, slot: int) -> tuple[int, int]:
        """(beginning, end) of what is readable in it."""
        begin, end = _PLACES.unpack_from(self._memory, self._start(slot))
        return begin, end

    def write(self, slot: int, record: bytes) -> bool:
        """Add *record*; False: it is longer than half a ring. A ring has one writer at a time."""
        need = _room(len(record))
        if need > self.size // 2:
            return False
        start = self._start(slot)
        begin, end = _PLACES.unpack_from(self._memory, start)
        before = begin
        while end + need - begin > self.size:
            begin += _room(_RECORD.unpack(self._copy(slot, begin, _RECORD.size))[0])
        if begin != before:
            _PLACES.pack_into(self._memory, start, begin, end)
        self._put(slot, end, _RECORD.pack(len(record), zlib.crc32(record)) + record)
        _PLACES.pack_into(self._memory, start, begin, end + need)
        return True

    def read(self, slot: int, at: int) -> tuple[list[bytes], int, bool]:
        """What was written from the place *at* on: records, the next place, and whether some were lost."""
        begin, end = self.places(slot)
        found: list[bytes] = []
        lost = at < begin
        at, failed = max(at, begin), 0
        while at < end and failed < _TRIES:
            record = self._read_one(slot, at)
            begin = self.places(slot)[0]
            if record is None or at < begin:  # overwritten while it was read
                lost, at, failed = True, max(at, begin), failed + 1
                continue
            found.append(record)
            at += _room(len(record))
        return found, at, lost

    def _read_one(self, slot: int, at: int) -> bytes | None:
        length, checksum = _RECORD.unpack(self._copy(slot, at, _RECORD.size))
        if _room(length) > self.size // 2:
            return None
        record = self._copy(slot, at + _RECORD.size, length)
        return record if zlib.crc32(record) == checksum else None

    def _start(self, slot: int) -> int:
        if not 0 <= slot < self.slots:
            raise IndexError(f"slot {slot} of {self.slots}")
        return _PAGE + slot * (_PAGE + self.size)

    def _copy(self, slot: int, at: int, size: int) -> bytes:
        data, first = self._start(slot) + _PAGE, at % self.size
        whole = self._memory[data + first : data + min(first + size, self.size)]
        return whole + self._memory[data : data + size - len(whole)]

    def _put(self, slot: int, at: int, octets: bytes) -> None:
        data, first = self._start(slot) + _PAGE, at % self.size
        fits = min(len(octets), self.size - first)
        self._memory[data + first : data + first + fits] = octets[:fits]
        self._memory[data : data + len(octets) - fits] = octets[fits:]


class Writer:
    """The writing side of one ring; any thread may use it. *slot* -1: nowhere."""

    def __init__(self, ledger: Ledger, slot: int) -> None:
        self.ledger = ledger
        self._slot = slot
        self._lock = threading.Lock()

    def write(self, record: bytes) -> None:
        if self._slot >= 0:
            with self._lock:
                self.ledger.write(self._slot, record)

    def show(self, lines: bytes) -> None:
        """Write whole *lines*, each with its end, if somebody reads them now."""
        if not self.ledger.watched:
            return
        most, at = self.ledger.size // 8, 0
        while at < len(lines):
            end = lines.rfind(b"\n", at, at + most) + 1 or lines.find(b"\n", at) + 1 or len(lines)
            self.write(lines[at:end])
            at = end


class Reader:
    """One who follows all rings; *from_now*: what was written before is not told."""

    def __init__(self, ledger: Ledger, *, from_now: bool = True) -> None:
        self._ledger = ledger
        self._from_now = from_now
        self._at = [ledger.places(slot)[from_now] for slot in range(ledger.slots)]

    def read(self) -> tuple[list[bytes], bool]:
        """What is new, ring by ring, and whether some was lost because this came too late."""
        found: list[bytes] = []
        lost = False
        for slot in range(self._ledger.slots):
            if self._ledger.places(slot)[1] == self._at[slot]:
                continue
            records, self._at[slot], missed = self._ledger.read(slot, self._at[slot])
            found += records
            lost |= missed
        return found, lost


def _room(length: int) -> int:
    """Bytes that a record of that length takes: headers never wrap around."""
    return _RECORD.size + (length + 7 & ~7)


def joined(records: Iterable[bytes]) -> bytes:
    """*records* as the elements of a JSON array."""
    return b"[" + b",".join(records) + b"]"
