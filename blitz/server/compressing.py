"""A response's body compressed on its way to the client, step by step.

``blitz/builtin/compress.py`` decides what is compressed, ``encoders.py`` there does it. Here is what a body
costs others: memory that does not grow with it, because nothing more is read before the client has taken
what there is, and no more of the event loop than a slice at a time.

Why not a thread: a step takes as long as a thread needs to be asked, and each worker has one core as a rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import trio

from blitz._native import ffi, lib
from blitz.builtin.encoders import STEP
from blitz.errors import BlitzError
from blitz.http.buffer import PART_HEADROOM, PART_SIZE
from blitz.http.rules import field_value

if TYPE_CHECKING:
    from blitz.builtin.compress import Coded

    from .body_stream import Readable
    from .deadline import Timer
    from .exchange import Exchange

__all__ = ["Held", "Relayed", "Source", "coding_of", "send_compressed", "send_held"]

NULL = ffi.NULL
SLICE = (
    1e-3  # seconds of the event loop that a body has at once, and all that had one have together in a pass
)
FULL = 16 * 1024  # bytes that are worth a system call
LONGEST_LENGTH = 19  # digits of one that C reads, at most
WHOLE = 64 * 1024  # a body that is there and not larger is sent with its length


class Source(Protocol):
    """A body, part by part; a part is valid until the next one is asked for."""

    @property
    def done(self) -> bool:
        """There is no other part."""
        ...

    def at_hand(self) -> memoryview | None:
        """The next part, perhaps an empty one; None: it has to be waited for."""
        ...

    async def wait(self) -> memoryview: ...


class Held:
    """A body that is there as a whole."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.done = False

    def at_hand(self) -> memoryview | None:
        self.done = True
        return self._data

    async def wait(self) -> memoryview:
        raise AssertionError("it is at hand")


class Relayed:
    """An upstream's body."""

    def __init__(self, body: Readable, first: memoryview, why_cut: Callable[[Exception], BlitzError]) -> None:
        """
        Args:
            first: what came of it already.
            why_cut: what it means that the upstream's side broke.
        """
        self._body = body
        self._first: memoryview | None = first
        self._why_cut = why_cut

    @property
    def done(self) -> bool:
        return self._first is None and self._body.done

    def at_hand(self) -> memoryview | None:
        first, self._first = self._first, None
        if first is not None:
            return first
        try:
            found = self._body.next_part_nowait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._why_cut(exc) from exc
        return self._part(*found) if found is not None else None

    async def wait(self) -> memoryview:
        try:
            return self._part(*await self._body.next_part())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._why_cut(exc) from exc

    def _part(self, start: int, end: int) -> memoryview:
        part = self._body.part
        assert part is not None
        return part.view[start:end]


def coding_of(exchange: Exchange, size: int | None = None) -> Coded | None:
    """Decide about the response in ``cdata``, whose head is settled but for that, and say so in it.

    Args:
        size: of its body; None: what the head says.
    """
    message, entry, response = exchange.message, exchange.entry, exchange.cdata.response
    if message is None or entry is None or entry.own is None or entry.own.compress is None:
        return None
    if size is None:
        size = _length(response)
    coded = entry.own.compress.response(message, response, size, exchange.resources.encoders.left)
    if coded is not None:
        response.content_length = -1
        if response.body != lib.BLITZ_BODY_NONE:  # to HEAD, it has none
            response.body = lib.BLITZ_BODY_CHUNKED
    return coded


def _length(response: Any) -> int | None:
    """The body's, as GET gets it; None: it is not known."""
    said = field_value(response, b"content-length")
    return int(said) if said is not None and len(said) <= LONGEST_LENGTH and said.isdigit() else None


async def send_held(exchange: Exchange, coded: Coded) -> None:
    """Send ``cdata.response`` with a body that we hold whole, in ``cdata.new_body``."""
    body, response = exchange.cdata.new_body, exchange.cdata.response
    data = memoryview(ffi.buffer(body.ptr, body.len))
    if len(data) <= WHOLE:
        encoded = await _encode(exchange, coded, data)
        sent = exchange.frame_local(len(encoded))
        if exchange.line is not None:
            exchange.line.sent = sent
        await exchange.send_head(ffi.from_buffer("uint8_t[]", encoded), sent, last=True)
        return
    is_head = exchange.method == b"HEAD"
    response.body = lib.BLITZ_BODY_NONE if is_head else lib.BLITZ_BODY_CHUNKED
    if exchange.frame():
        await send_compressed(exchange, coded, Held(data))
    else:
        await exchange.send_head(NULL, 0, last=True)


async def _encode(exchange: Exchange, coded: Coded, data: memoryview) -> bytes:
    pace, encoder, made = _Pace(exchange), coded.encoder(), []
    try:
        for step in _steps(data):
            await pace.turn()
            made.append(encoder.compress(step))
        made.append(encoder.finish())
    finally:
        pace.leave()
    return b"".join(made)


async def send_compressed(exchange: Exchange, coded: Coded, source: Source) -> None:
    """Send the response in ``cdata``, which has been framed, with the body of *source*.

    What has come leaves before the next part is waited for: the head in any case, and all of the body where
    its end is not known, or each part counts by itself.

    Raises: what ends either side; the client then sees no end of the body.
    """
    shared = exchange.resources.encoders
    shared.left -= coded.memory
    out, pace, encoder = _Out(exchange), _Pace(exchange), coded.encoder()
    try:
        while not source.done:
            try:
                part = source.at_hand()
            except BlitzError:
                await out.send()  # the head at least: it would have left before, without compression
                raise
            if part is None:
                if coded.eager:
                    out.add(encoder.flush())
                pace.leave()
                await out.send()
                part = await source.wait()
                pace.begin()
            for step in _steps(part):
                await pace.turn()
                out.add(encoder.compress(step))
                if out.size >= FULL:
                    pace.leave()
                    await out.send()
        out.add(encoder.finish())
        pace.leave()
        await out.send(last=True)
    finally:
        pace.leave()
        out.close()
        shared.left += coded.memory


def _steps(part: memoryview) -> Iterator[memoryview]:
    return (part[at : at + STEP] for at in range(0, len(part), STEP))


class _Pace:
    """How much of the event loop one body takes: slices of it, after the first one in turn with others."""

    __slots__ = ("_end", "_has_turn", "_timer", "_turns")

    def __init__(self, exchange: Exchange) -> None:
        self._turns = exchange.resources.encoders.turns
        self._timer: Timer = exchange.downstream.timer
        self._has_turn = False
        self.begin()

    def begin(self) -> None:
        """A slice begins: this task has just waited."""
        self._end = time.perf_counter() + SLICE

    async def turn(self) -> None:
        """Before each step: wait for the next slice, if this one is over."""
        if time.perf_counter() < self._end:
            return
        self.leave()
        self._timer.arm(0, "compression")  # nobody else is waited for
        await self._turns.acquire()
        self._has_turn = True
        self.begin()

    def leave(self) -> None:
        """Let the next one have its turn, before anything else is waited for."""
        if self._has_turn:
            self._has_turn = False
            self._turns.release()


class _Out:
    """What has been made, on its way out: behind the head the first time.

    Attributes:
        size: bytes that have not been sent.
    """

    __slots__ = ("_began", "_exchange", "_made", "_part", "size")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._made: list[bytes] = []
        self._part = exchange.resources.parts.take()
        self._began = False
        self.size = 0

    def add(self, data: bytes) -> None:
        if data:
            self._made.append(data)
            self.size += len(data)

    async def send(self, *, last: bool = False) -> None:
        """Send all of it, and the head if that has not been. *last*: there will be no more."""
        data = b"".join(self._made)
        self._made.clear()
        self.size = 0
        exchange = self._exchange
        if exchange.line is not None:
            exchange.line.sent += len(data)
        if not self._began:
            self._began = True
            await exchange.send_head(ffi.from_buffer("uint8_t[]", data), len(data), last=last)
            return
        for start in range(0, len(data), PART_SIZE):
            piece = data[start : start + PART_SIZE]
            end = PART_HEADROOM + len(piece)
            self._part.view[PART_HEADROOM:end] = piece
            is_last = last and start + len(piece) == len(data)
            await exchange.downstream.send_part(self._part, PART_HEADROOM, end, last=is_last)

    def close(self) -> None:
        self._exchange.resources.parts.give(self._part)
