"""A scoreboard in memory that all processes of a service share: each writes its own slot, anybody reads.

Made before the fork (an anonymous shared mapping). A slot has two pages that its writer uses in turn, so that
one that dies while it writes leaves its last notice readable; a checksum tells a page that is being written
from a whole one. Nothing blocks, and a slot costs memory only where it was written.
"""

from __future__ import annotations

import mmap
import struct
import zlib

__all__ = ["PAGE_SIZE", "Scoreboard"]

PAGE_SIZE = 128 * 1024  # more than 500 plugins and endpoints take
_TURN = struct.Struct("=Q")  # of a slot: how often it was written; the page of the last time is turn % 2
_HEAD = struct.Struct("=II")  # of a page: length and checksum of what follows
_SLOT_SIZE = 4096 + 2 * PAGE_SIZE
_READS = 20  # tries: a writer is in the way for microseconds


class Scoreboard:
    """*slots* slots, numbered from 0; each has one writer at a time."""

    def __init__(self, slots: int) -> None:
        self._memory = mmap.mmap(-1, slots * _SLOT_SIZE)
        self.slots = slots

    def write(self, slot: int, notice: bytes) -> bool:
        """Put *notice* on the slot; False, and the last one stays, when it is too long."""
        if len(notice) > PAGE_SIZE - _HEAD.size:
            return False
        start = self._start(slot)
        turn = _TURN.unpack_from(self._memory, start)[0] + 1
        page = _page(start, turn)
        end = page + _HEAD.size + len(notice)
        self._memory[page + _HEAD.size : end] = notice
        _HEAD.pack_into(self._memory, page, len(notice), zlib.crc32(notice))
        _TURN.pack_into(self._memory, start, turn)
        return True

    def read(self, slot: int) -> bytes:
        """The notice on the slot; b"" when there is none."""
        start = self._start(slot)
        for _ in range(_READS):
            turn = _TURN.unpack_from(self._memory, start)[0]
            if not turn:
                return b""
            page = _page(start, turn)
            size, checksum = _HEAD.unpack_from(self._memory, page)
            if size <= PAGE_SIZE - _HEAD.size:
                notice = self._memory[page + _HEAD.size : page + _HEAD.size + size]
                if zlib.crc32(notice) == checksum:
                    return notice
        return b""

    def clear(self, slot: int) -> None:
        """Take the notice off a slot whose writer is gone."""
        _TURN.pack_into(self._memory, self._start(slot), 0)

    def close(self) -> None:
        """Unmap it here; other processes keep theirs."""
        self._memory.close()

    def _start(self, slot: int) -> int:
        if not 0 <= slot < self.slots:
            raise IndexError(f"slot {slot} of {self.slots}")
        return slot * _SLOT_SIZE


def _page(start: int, turn: int) -> int:
    return start + 4096 + turn % 2 * PAGE_SIZE
