"""The upstream door (``upstream.py``) for HTTP/1.1: one exchange on a connection of an endpoint's pool.

The upstream is not trusted: heads are read by the same strict rules as a client's, and its connection is used
again only when the exchange ended cleanly on both sides and nothing came behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from blitz._native import lib
from blitz.errors import UpstreamError

from .back_pressure import await_taker, send_patiently
from .body_stream import IncomingBody, frame_chunk
from .splice import SinkBroken, can_splice, splice_body
from .upstream import SENDING

if TYPE_CHECKING:
    from blitz.http.body import BodyReader
    from blitz.http.buffer import Buffer

    from .deadline import Timer
    from .endpoint import Endpoint, UpstreamConnection
    from .forwarding import Forwarding
    from .resources import Resources
    from .resting import Resting
    from .stream import ByteStream

__all__ = ["H1Upstream", "H1Upstreams"]

_CHUNKED = lib.BLITZ_BODY_CHUNKED
_RESPONSE = lib.BLITZ_RESPONSE

RESET = "upstream_reset"


class H1Upstream:
    """Of one exchange; ``release`` it."""

    __slots__ = (
        "_body",
        "_buffer",
        "_chunked",
        "_connection",
        "_heads",
        "_resources",
        "_resting",
        "_runtime",
        "_stream",
        "endpoint",
        "used",
    )

    def __init__(self, resources: Resources, resting: Resting, connection: UpstreamConnection) -> None:
        self._resources = resources
        self._runtime = resources.runtime
        self._resting = resting
        self._connection = connection
        self._stream = connection.stream
        self._buffer: Buffer | None = None
        self._body: IncomingBody | None = None
        self._chunked = False
        self._heads = 0
        self.endpoint: Endpoint = connection.endpoint
        self.endpoint.native.active += 1
        self.used = connection.used

    def go_on(self, received: Buffer | None, head_size: int, *, chunked: bool) -> None:
        """See ``Upstreams.adopt``."""
        self._chunked = chunked
        self._buffer = received
        if received is not None:
            received.start = head_size
            self._heads = 1 if head_size else 0

    # -- the request

    async def send_head(
        self,
        request: Any,
        forwarding: Forwarding,
        kind: int,
        content_length: int,
        first: Any,
        size: int,
        *,
        last: bool,
        timer: Timer,
    ) -> int:
        resources, options = self._resources, forwarding.options
        self._chunked = kind == _CHUNKED
        options.body = kind
        options.content_length = content_length
        options.first_is_last = last
        options.close = not self.endpoint.reuse
        written = resources.write_head(request, options, first, size)
        data = resources.scratch.view[:written]
        try:
            sent = self._stream.send_nowait(data)
        except trio.BrokenResourceError:
            return written
        if sent < written:
            await self.send_rest(bytes(data[sent:]), timer)
        return written

    async def send_rest(self, data: bytes, timer: Timer) -> None:
        try:
            await self._send_rest(memoryview(data), timer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it may have responded before it closed: reading will tell

    async def send_part(self, part: Buffer, start: int, end: int, *, last: bool, timer: Timer) -> bool:
        data = frame_chunk(part, start, end, last=last) if self._chunked else part.view[start:end]
        if not data:
            return True
        try:
            sent = self._stream.send_nowait(data)
            if sent < len(data):
                await self._send_rest(data[sent:], timer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def splice(self, body: IncomingBody, timer: Timer) -> bool:
        stream = self._stream
        if self._chunked or not can_splice(body, stream):
            return True
        patience = self._runtime.timeouts.send_idle
        try:
            await splice_body(
                body, stream, self._resources.pipes, lambda: await_taker(stream, timer, patience, SENDING)
            )
        except SinkBroken:
            return False
        return True

    async def _send_rest(self, data: memoryview, timer: Timer) -> None:
        await send_patiently(self._stream, data, timer, self._runtime.timeouts.send_idle, SENDING)

    # -- the response

    async def read_head(self, response: Any, method: bytes) -> None:
        reader = self._runtime.reader
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = self._resources.buffers.take()
        seen = 0
        while True:
            if buffer.end > buffer.start:
                lib.blitz_head_reset(response, _RESPONSE)
                size = reader.read_response(response, buffer, seen, method)
                if size:
                    buffer.start += size
                    self._heads += 1
                    return
                seen = buffer.end - buffer.start
            if buffer.end == buffer.size:
                buffer = self._make_room(buffer)
            buffer.end += await self._receive(buffer)

    def _make_room(self, buffer: Buffer) -> Buffer:
        if buffer.start:
            buffer.compact()
            return buffer
        most = self._runtime.limits.max_head_size
        self._buffer = buffer.grown(min(buffer.size * 4, max(most, buffer.size) + 4096))
        return self._buffer

    async def _receive(self, buffer: Buffer) -> int:
        address = self.endpoint.address
        untouched = not self._heads and buffer.end == buffer.start
        where = "before an answer" if untouched else "in the head"
        try:
            got = await self._stream.receive_into(buffer.view[buffer.end :] if buffer.end else buffer.view)
        except trio.BrokenResourceError as exc:
            what = f"{address}: connection reset {where}"
            raise UpstreamError(what, retryable=untouched, cause=RESET) from exc
        if not got:
            what = f"{address}: connection closed {where}"
            raise UpstreamError(what, retryable=untouched, cause=RESET)
        return got

    def body(self, reader: BodyReader, timer: Timer) -> IncomingBody:
        if self._buffer is None:  # another driver has read the head
            self._buffer = self._resources.buffers.take()
        patience = self._runtime.timeouts.response_idle
        parts = self._resources.parts
        self._body = IncomingBody(reader, self._buffer, self._stream, parts, timer, patience, "answer body")
        return self._body

    def switch(self) -> tuple[ByteStream, bytes]:
        buffer = self._buffer
        assert buffer is not None
        return self._stream, bytes(buffer.view[buffer.start : buffer.end])

    # -- ends

    def abort(self) -> None:
        self._stream.close()

    def release(self, *, clean: bool, keep_alive: bool = False) -> bool:
        self.endpoint.native.active -= 1
        body, buffer = self._body, self._buffer
        more = bool(buffer is not None and buffer.start < buffer.end) or bool(
            body is not None and body.surplus
        )
        fit = clean and keep_alive
        kept = fit and not more
        if body is not None:
            body.close()
        if buffer is not None:
            self._resources.buffers.give(buffer)
        if kept:
            self._resting.give_back(self._connection)
        else:
            if fit:  # behind the last answer of a connection it does no harm, and may not have come yet
                self.endpoint.note_unasked()
            self._connection.close()
        # The exchange may be known to an error's traceback for longer than this is needed.
        self._body = self._buffer = None
        return kept


class H1Upstreams:
    """Those of one gateway."""

    def __init__(self, resources: Resources, resting: Resting) -> None:
        self._resources = resources
        self._resting = resting

    def take_idle(self, endpoint: Endpoint, owner: object) -> H1Upstream | None:
        connection = self._resting.take_idle(endpoint, owner)
        return H1Upstream(self._resources, self._resting, connection) if connection is not None else None

    async def connect(self, endpoint: Endpoint, timeout: float, owner: object, preface: bytes) -> H1Upstream:
        endpoint.native.active += 1  # who comes meanwhile may go elsewhere
        try:
            connection = await endpoint.connect(timeout, owner, preface)
        finally:
            endpoint.native.active -= 1
        return H1Upstream(self._resources, self._resting, connection)

    def adopt(
        self, connection: UpstreamConnection, received: Buffer | None, head_size: int, *, chunked: bool
    ) -> H1Upstream:
        upstream = H1Upstream(self._resources, self._resting, connection)
        upstream.go_on(received, head_size, chunked=chunked)
        return upstream
