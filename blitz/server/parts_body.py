"""A body as it comes out of the plugins that see it part by part: read as ``IncomingBody`` is.

Who reads it is kept waiting while guests run, and reads no faster than it is read itself: that is all the
back-pressure there is. One part, with what plugins make of it (``blitz/wasm/parts.py``), is all the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import trio
from trio.lowlevel import checkpoint_if_cancelled

from blitz._native import ffi, lib
from blitz.errors import ClientError
from blitz.filters import FilterRun
from blitz.http.buffer import PART_HEADROOM, Buffer
from blitz.http.rules import part_size
from blitz.wasm.parts import FED, OUT, PENDING, PartsRun

from .body_stream import IncomingBody
from .fetch import fetcher
from .guests import drive

if TYPE_CHECKING:
    from .body_stream import Parts, Readable
    from .deadline import Timer
    from .exchange import Exchange

__all__ = ["PartsBody", "pass_local", "pass_request", "pass_response"]

# What a body is read from; None: nothing but what is here.
Source: TypeAlias = "Readable | None"
_REQUEST, _RESPONSE = lib.BLITZ_PARTS_REQUEST, lib.BLITZ_PARTS_RESPONSE
_NOTHING = Buffer(0)


class PartsBody:
    """
    Attributes:
        part: the last part, in ``part.data[start:end]`` with the room around it that parts have.
        head_buffer: holds nothing: see ``first``.
        received: bytes that came out so far.
        collected: what of it a plugin behind has made us collect.
        changes: what comes out may be something else than what goes in.
        raw: the body on the wire that it reads; None: none.
    """

    head_buffer = _NOTHING

    def __init__(self, exchange: Exchange, run: PartsRun, source: Source, before: bytes) -> None:
        """
        Args:
            source: what goes in; None: nothing but *before*.
            before: what of it was read already.
        """
        self._exchange = exchange
        self._run = run
        self._source = source
        self._here: bytes | None = before if before or source is None else None
        self._buffered = not before
        self._sink: Buffer | None = None
        self._fed_last = False
        self.part: Buffer | None = None
        self.received = 0
        self.collected: bytes | None = None
        self.raw: IncomingBody | None = source if isinstance(source, IncomingBody) else None
        if isinstance(source, PartsBody):
            self.raw = source.raw
        self.changes: bool = run.changes or (isinstance(source, PartsBody) and source.changes)
        self.done = False

    def buffered(self) -> tuple[int, int]:
        """Nothing is here before a guest has seen it."""
        return 0, 0

    def use_timer(self, timer: Timer) -> None:
        """See ``IncomingBody``."""
        if self._source is not None:
            self._source.use_timer(timer)

    async def first(self) -> tuple[int, int]:
        """As ``next_part``, but of what is here already: perhaps nothing, and the body goes on."""
        while not self.done and self._feed_what_is_here():
            if await self._work():
                return self._came()
        return 0, 0

    async def next_part(self) -> tuple[int, int]:
        """See ``IncomingBody``; raises PluginError, and what the source raises."""
        while not self.done:
            if await self._work():
                return self._came()
            if self._fed_last:
                break
            source = self._source
            if self._feed_what_is_here():
                continue
            assert source is not None
            start, end = await source.next_part()
            self.part = source.part
            if self._run.passes:
                return self._pass(start, end)
            assert source.part is not None
            self._feed(
                source.part.ptr + start, end - start, last=source.done, buffer=source.part, start=start
            )
        self.done, self.part = True, self._sink
        return PART_HEADROOM, PART_HEADROOM

    def next_part_nowait(self) -> tuple[int, int] | None:
        """See ``IncomingBody``: a guest has to see it first, and that may take a while."""
        return None

    def _pass(self, start: int, end: int) -> tuple[int, int]:
        """No plugin wants to see it."""
        assert self._source is not None
        self.done = self._source.done
        self.received += end - start
        return start, end

    def _came(self) -> tuple[int, int]:
        run = self._run
        self.part = run.out
        self.done = run.ended
        self.received += run.end - run.start
        return run.start, run.end

    async def _work(self) -> bool:
        """Let guests see what was fed. True: something has come out."""
        guests = self._exchange.guests
        if guests is None:
            return await self._go()
        try:
            guests.acquire_nowait()
        except trio.WouldBlock:
            await guests.acquire()
        try:
            return await self._go()
        finally:
            guests.release()

    async def _go(self) -> bool:
        exchange, run = self._exchange, self._run
        step = run.go()
        if step == PENDING:
            step = await drive(run, exchange.resources.turns, exchange.downstream, fetcher(exchange))
            await checkpoint_if_cancelled()  # nobody may want it any more
        assert step in (FED, OUT)
        if step == FED and self._fed_last and run.ended:
            self.done = True
        return step == OUT

    def _feed_what_is_here(self) -> bool:
        """Feed what needs no waiting for. False: there was nothing."""
        if self._fed_last:
            return False
        source, here = self._source, self._here
        if here is not None:
            self._here = None
            self._feed(ffi.from_buffer("uint8_t[]", here), len(here), last=source is None or source.done)
            return True
        if not self._buffered:
            return False
        self._buffered = False
        assert source is not None
        start, end = source.buffered()
        if start == end and not source.done:
            return False
        self._feed(source.head_buffer.ptr + start, end - start, last=source.done)
        return True

    def _feed(self, ptr: Any, size: int, *, last: bool, buffer: Buffer | None = None, start: int = 0) -> None:
        if self._sink is None:
            self._sink = self._exchange.resources.parts.take()
        self._fed_last = last
        self._run.feed(ptr, size, last=last, buffer=buffer, start=start, sink=self._sink)

    def stop(self) -> None:
        """Nobody reads it any more: a pending guest is cancelled."""
        self._run.close()
        if isinstance(self._source, PartsBody):
            self._source.stop()

    def close(self) -> None:
        """The same, and the buffers go back, those of what it reads as well. Nothing may still use them."""
        self._run.close()
        self.part = None
        if self._sink is not None:
            self._exchange.resources.parts.give(self._sink)
            self._sink = None
        if self._source is not None:
            self._source.close()

    def leave(self) -> None:
        """Nobody wants to read it: what is here of it is taken, since it may be all that there is."""
        if self._source is not None and not isinstance(self._source, PartsBody):
            self._source.buffered()


def pass_request(exchange: Exchange) -> Source:
    """The request's body, as it comes out of all plugins that have let its head pass."""
    source: Source = exchange.request_parts or exchange.body
    run = exchange.chain_run
    stages = run.take_stages(_REQUEST) if run is not None else []
    if not stages:
        return source
    before, replaced = exchange.collected or b"", _take_new_body(exchange)
    if replaced is not None:
        before, source = replaced, None
        if exchange.request_parts is not None:
            exchange.request_parts.stop()
    if exchange.guests is None:
        exchange.guests = trio.Lock()
    exchange.collected = None
    parts = exchange.request_parts = PartsBody(exchange, _run(exchange, _REQUEST, stages), source, before)
    if parts.changes and part_size(exchange.request) is not None:
        # As the whole it would replace more than it is (RFC 9110 section 14.5).
        raise ClientError("content-range does not fit a body that a plugin may change part by part")
    return parts


def pass_response(
    exchange: Exchange, run: FilterRun, body: IncomingBody | None, collected: bytes | None
) -> tuple[Source, bytes | None]:
    """The same of the response, and what of that was collected. *collected*: of what it was until now."""
    source = exchange.response_parts or body
    stages = run.take_stages(_RESPONSE)
    if not stages:
        return source, collected
    before, replaced = collected or b"", _take_new_body(exchange)
    if replaced is not None:
        before, source = replaced, None
    return _respond_with(exchange, stages, source, before), None


def pass_local(exchange: Exchange, run: FilterRun) -> Parts | None:
    """The same of a local response; None: it is as it is in ``new_body``."""
    parts, cdata = exchange.response_parts, exchange.cdata
    edited = bool(cdata.body_edited)
    stages = run.take_stages(_RESPONSE)
    if not stages:
        return None if edited else parts
    if parts is None or edited:
        whole = _new_body(cdata)
        cdata.body_edited = 0
        parts = _respond_with(exchange, stages, None, whole)
        cdata.response.content_length = len(whole)
    else:
        parts = _respond_with(exchange, stages, parts, parts.collected or b"")
    cdata.response.body = lib.BLITZ_BODY_CHUNKED if parts.changes else lib.BLITZ_BODY_LENGTH
    return parts


def _respond_with(exchange: Exchange, stages: list[Any], source: Source, before: bytes) -> PartsBody:
    old = exchange.response_parts
    if old is not None and old is not source:
        old.stop()
    parts = exchange.response_parts = PartsBody(exchange, _run(exchange, _RESPONSE, stages), source, before)
    return parts


def _take_new_body(exchange: Exchange) -> bytes | None:
    """What a plugin has set as the whole body, for others to see part by part; None: none has."""
    cdata = exchange.cdata
    if not cdata.body_edited:
        return None
    cdata.body_edited = 0
    return _new_body(cdata)


def _new_body(cdata: Any) -> bytes:
    return ffi.buffer(cdata.new_body.ptr, cdata.new_body.len)[:] if cdata.new_body.len else b""


def _run(exchange: Exchange, which: int, stages: list[Any]) -> PartsRun:
    timeout = exchange.runtime.chain_timeout
    return PartsRun(exchange.cdata, which, stages, trio.current_time, exchange.note_cut, timeout)
