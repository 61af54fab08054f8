"""The buffers and exchanges that the fast path is lent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blitz._native import lib
from blitz.errors import InternalError
from blitz.http.buffer import Buffer

if TYPE_CHECKING:
    from .resources import Resources

__all__ = ["Slots"]

SCRATCH_SIZE = 256 * 1024
MORE_SLOTS = 16  # when all are in use
ANSWER_SIZE = 64 * 1024  # of a response that comes in one read, and is sent in one
MAX_IDLE_SLOTS = 256  # kept for reuse: 4 MiB of head buffers


class Slots:
    """Those of one fast path (cffi ``blitz_fast_path *``), by their native index: each a buffer for a request
    and an exchange."""

    __slots__ = ("_answer", "_context", "_face", "_lent", "_native", "_scratch")

    def __init__(self, native: Any, context: Resources) -> None:
        self._native = native
        self._face = lib.blitz_fast_face_of(native)
        self._context = context
        self._scratch = Buffer(SCRATCH_SIZE)
        self._answer = Buffer(ANSWER_SIZE)
        self._lent: list[tuple[Buffer, Any]] = []
        answer, scratch = self._answer, self._scratch
        lib.blitz_fast_lend(native, answer.ptr, answer.size, scratch.ptr, scratch.size)

    def __len__(self) -> int:
        return len(self._lent)

    def exchange(self, index: int) -> Any:
        """cffi ``blitz_exchange *`` of a slot."""
        return self._lent[index][1]

    def add(self) -> None:
        """Lend it more."""
        for _ in range(MORE_SLOTS):
            index = lib.blitz_fast_add_slot(self._native)
            if index < 0:
                raise InternalError("out of memory for the fast path")
            self._lent.append((self._context.buffers.take(), self._context.take_exchange()))
            self._fill(index)

    def take(self, report: Any) -> tuple[Buffer, Any]:
        """Buffer and exchange of the report's slot; it gets others instead."""
        index = report.slot
        buffer, cdata = self._lent[index]
        buffer.end = report.got
        self._lent[index] = (self._context.buffers.take(), self._context.take_exchange())
        self._fill(index)
        return buffer, cdata

    def _fill(self, index: int) -> None:
        buffer, cdata = self._lent[index]
        lib.blitz_fast_fill_slot(self._native, index, buffer.ptr, buffer.size, cdata)

    def drop(self) -> bool:
        """Give a few back if a busy moment has left many free; True: there may be more of them."""
        face = self._face
        for _ in range(MORE_SLOTS):
            if face.free_slots <= MAX_IDLE_SLOTS or lib.blitz_fast_drop_slot(self._native) < 0:
                return False
            self._lent.pop()
        return True
