"""A message body as it comes in, part by part, from either side.

The first part is what arrived together with the head and lies in the head's own buffer; the others
come into large part buffers. Whatever arrives behind the end of the body is kept in ``surplus``: on
a client connection it is the next request, on an upstream connection it is a reason never to use
that connection again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from blitz._native import ffi, lib
from blitz.http.body import BodyReader
from blitz.http.buffer import PART_HEADROOM, PART_SIZE, Buffer, BufferPool

if TYPE_CHECKING:
    from .deadline import Timer
    from .rate import MinRate
    from .stream import ByteStream

__all__ = ["IncomingBody", "Parts", "Readable", "collect", "frame_chunk"]

_before = ffi.new("size_t *")


class Readable(Protocol):
    """What is read part by part: a body as it comes in, or as plugins leave it. See ``IncomingBody``."""

    part: Buffer | None
    received: int

    @property
    def head_buffer(self) -> Buffer: ...

    @property
    def done(self) -> bool: ...

    def buffered(self) -> tuple[int, int]: ...

    async def next_part(self) -> tuple[int, int]: ...

    def next_part_nowait(self) -> tuple[int, int] | None: ...

    def use_timer(self, timer: Timer) -> None: ...

    def close(self) -> None: ...


class Parts(Readable, Protocol):
    """A body as plugins leave it: see ``PartsBody`` (``parts_body.py``)."""

    changes: bool
    collected: bytes | None
    raw: IncomingBody | None

    async def first(self) -> tuple[int, int]: ...

    def stop(self) -> None: ...

    def leave(self) -> None: ...


class IncomingBody:
    """
    Attributes:
        reader: framing of this body.
        stream: where more of it comes from.
        head_buffer: holds the head; bytes behind the head are the first of the body.
        received: data bytes so far.
        surplus: bytes that arrived behind the end in a part buffer.
        rate: what the sender owes; None: nothing.
    """

    __slots__ = (
        "_idle_timeout",
        "_parts",
        "_timer",
        "_what",
        "head_buffer",
        "part",
        "rate",
        "reader",
        "received",
        "stream",
        "surplus",
    )

    def __init__(
        self,
        reader: BodyReader,
        head_buffer: Buffer,
        stream: ByteStream,
        parts: BufferPool,
        timer: Timer,
        idle_timeout: float,
        what: str,
        rate: MinRate | None = None,
    ) -> None:
        self.reader = reader
        self.head_buffer = head_buffer
        self.received = 0
        self.surplus = b""
        self.part: Buffer | None = None
        self.stream = stream
        self._parts = parts
        self._timer = timer
        self._idle_timeout = idle_timeout
        self._what = what
        self.rate = rate

    @property
    def done(self) -> bool:
        return self.reader.done

    def buffered(self) -> tuple[int, int]:
        """``(start, end)`` of the data in ``head_buffer`` that came with the head; no waiting.

        The rest of the buffer, from ``head_buffer.start`` on, belongs to what comes next.
        """
        buffer = self.head_buffer
        start, size = buffer.start, buffer.end - buffer.start
        if not size or self.reader.done:
            return start, start
        data, consumed = self.reader.feed(buffer.ptr + start, size)
        buffer.start = start + consumed
        self.received += data
        return start, start + data

    async def next_part(self) -> tuple[int, int]:
        """Wait for more data; it lies in ``part.data[start:end]`` with headroom and tailroom around.

        Returns ``(start, end)``; equal when the body ended without further data. The part is
        valid until the next call.
        Raises: what the reader raises; trio.BrokenResourceError when the peer is gone.
        """
        part = self._part_to_fill()
        while not self.reader.done:
            self.arm()
            data = self._take(part, await self.stream.receive_into(self._room(part)))
            if data:
                return PART_HEADROOM, PART_HEADROOM + data
        return PART_HEADROOM, PART_HEADROOM

    def next_part_nowait(self) -> tuple[int, int] | None:
        """The same without waiting; None: nothing is there, or the stream cannot tell."""
        part = self._part_to_fill()
        while not self.reader.done:
            size = self.stream.receive_nowait(self._room(part))
            if size < 0:
                return None
            data = self._take(part, size)
            if data:
                return PART_HEADROOM, PART_HEADROOM + data
        return PART_HEADROOM, PART_HEADROOM

    def _part_to_fill(self) -> Buffer:
        part = self.part
        if part is None:
            part = self.part = self._parts.take()
        return part

    def _room(self, part: Buffer) -> memoryview:
        remaining = self.reader.remaining
        size = remaining if 0 < remaining < PART_SIZE else PART_SIZE
        return part.view[PART_HEADROOM : PART_HEADROOM + size]

    def _take(self, part: Buffer, size: int) -> int:
        """*size* bytes have come into *part*, none: the stream has ended. Returns how many are data."""
        reader, first = self.reader, PART_HEADROOM
        if not size:
            reader.feed_eof()
            return 0
        data, consumed = reader.feed(part.ptr + first, size)
        if consumed < size:
            self.surplus = bytes(part.view[first + consumed : first + size])
        if data:
            self._arrived(data)
        return int(data)

    def arm(self) -> None:
        """The deadline for the next part begins now.

        Raises:
            ClientError: 408, the sender has been slower than it may be.
        """
        seconds = self._idle_timeout
        if self.rate is not None:
            left = self.rate.begin_wait(self.received)
            seconds = min(seconds, left) if seconds else left
        self._timer.arm(seconds, self._what)

    def _arrived(self, size: int) -> None:
        self.received += size
        if self.rate is not None:
            self.rate.end_wait()

    def pass_by(self, size: int) -> None:
        """*size* data bytes went past this object (splice)."""
        self.reader.pass_by(size)
        self._arrived(size)

    def use_timer(self, timer: Timer) -> None:
        """Another task reads from now on: its waits are bounded by its own deadline."""
        self._timer = timer

    def close(self) -> None:
        """Give the part buffer back. Nothing may still use it."""
        if self.part is not None:
            self._parts.give(self.part)
            self.part = None


def frame_chunk(part: Buffer, start: int, end: int, *, last: bool) -> memoryview:
    """Put the chunked coding around ``part.data[start:end]`` in its headroom and tailroom.

    Returns the bytes to send: size line, data, CRLF and, when *last*, the last chunk.
    """
    size = lib.blitz_chunk_frame(part.ptr + start, end - start, last, _before)
    first = start - _before[0]
    return part.view[first : first + size]


async def collect(body: Readable, limit: int, seconds: float = math.inf, before: bytes = b"") -> bytes:
    """Read *body* until it ends, more than *limit* bytes are there, or *seconds* have passed.

    Returns what came so far, behind what had come *before*.
    """
    start, end = body.buffered()
    collected = bytearray(before)
    collected += body.head_buffer.view[start:end]
    if not body.done and len(collected) <= limit:
        # Streams wait before they read, never after: nothing is lost when the time is over.
        with trio.move_on_after(seconds):
            while not body.done and len(collected) <= limit:
                start, end = await body.next_part()
                assert body.part is not None
                collected += body.part.view[start:end]
    return bytes(collected)
