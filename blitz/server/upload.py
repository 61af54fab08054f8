"""The rest of a request body on its way to the upstream, while the answer may already be coming."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from blitz._native import lib
from blitz.errors import BlitzError, ClientError, ClientGone, UpstreamError

from .back_pressure import await_taker, send_patiently
from .body_stream import frame_chunk
from .deadline import Timer
from .rate import too_slow
from .splice import SinkBroken, can_splice, splice_body

if TYPE_CHECKING:
    from .body_stream import IncomingBody
    from .exchange import Exchange
    from .upstream import UpstreamConnection

__all__ = ["Upload", "failure"]

SENDING = "send to upstream"


class Upload:
    """Runs as a task of the connection's nursery; never raises.

    Attributes:
        finished: the whole body was sent.
        error: what ended it early; the upstream connection is closed then, so that whoever waits for
            the answer wakes up and finds this.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_closes_body",
        "_ended",
        "_exchange",
        "_scope",
        "_timer",
        "_unsent",
        "_upstream",
        "error",
        "finished",
    )

    def __init__(
        self, exchange: Exchange, upstream: UpstreamConnection, *, chunked: bool, unsent: bytes = b""
    ) -> None:
        """*unsent*: what goes before the rest of the body, as it is."""
        self._exchange = exchange
        self._unsent = unsent
        self._upstream = upstream
        self._chunked = chunked
        self._scope = trio.CancelScope()
        self._timer = Timer(exchange.context.wheel, self._scope.cancel)
        assert exchange.body is not None
        self._body = exchange.body
        self._closes_body = False
        self._ended = False
        self.finished = False
        self.error: BlitzError | None = None

    def takes_body(self) -> bool:
        """The exchange needs its body no more. True when the task still reads into it, and closes it then."""
        self._closes_body = not self._ended
        return self._closes_body

    async def run(self) -> None:
        exchange = self._exchange
        try:
            with self._scope:
                try:
                    await self._pump()
                    self.finished = True
                except BlitzError as exc:
                    self._fail(exc)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._fail(gone())
        finally:
            self._ended = True
            self._timer.disarm()
            if self._closes_body:
                self._body.close()
        if self._scope.cancelled_caught and self._timer.expired:
            self._fail(self._late())
        if self.finished:
            exchange.upload_finished()

    def _late(self) -> BlitzError:
        return untaken(self._upstream) if self._timer.what == SENDING else stalled()

    def stop(self) -> None:
        """The answer is over or failed: nobody needs the rest."""
        self._scope.cancel()

    async def _pump(self) -> None:
        body = self._body
        body.use_timer(self._timer)
        stream = self._upstream.stream
        if self._unsent:
            await self._send(memoryview(self._unsent))
        if not self._chunked and can_splice(body, stream):
            await self._splice(body)
        while not body.done:
            start, end = await body.next_part()
            part = body.part
            assert part is not None
            if self._chunked:
                data = frame_chunk(part, start, end, last=body.done)
            else:
                data = part.view[start:end]
            if data:
                await self._send(data)

    async def _send(self, data: memoryview) -> None:
        stream = self._upstream.stream
        try:
            sent = stream.send_nowait(data)
            if sent < len(data):
                patience = self._exchange.runtime.timeouts.send_idle
                await send_patiently(stream, data[sent:], self._timer, patience, SENDING)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self._wait_for_the_reader()

    async def _splice(self, body: IncomingBody) -> None:
        exchange = self._exchange
        send_idle = exchange.runtime.timeouts.send_idle
        try:
            await splice_body(
                body,
                self._upstream.stream,
                exchange.context.pipes,
                lambda: await_taker(self._upstream.stream, self._timer, send_idle, SENDING),
            )
        except SinkBroken:
            await self._wait_for_the_reader()

    async def _wait_for_the_reader(self) -> None:
        # The upstream takes no more. It may have answered early: whoever reads its answer will tell.
        self._timer.disarm()
        await trio.sleep_forever()

    def _fail(self, error: BlitzError) -> None:
        self.error = error
        self._upstream.stream.close()


def failure(body: IncomingBody, upstream: UpstreamConnection, code: int) -> BlitzError | None:
    """What ended a request's body on the fast path, BLITZ_BODY_* or BLITZ_STREAM_*; None: it goes on here."""
    if code in (0, lib.BLITZ_STREAM_SINK):
        return None
    if code == lib.BLITZ_STREAM_SOURCE:
        return gone()
    if code == lib.BLITZ_STREAM_STALLED:
        return stalled()
    if code == lib.BLITZ_STREAM_UNTAKEN:
        return untaken(upstream)
    if code == lib.BLITZ_STREAM_SLOW:
        assert body.rate is not None
        return too_slow(int(body.rate.cdata.owed))
    return body.reader.failure(code)


def gone() -> BlitzError:
    return ClientGone("client connection broke in the request body")


def stalled() -> BlitzError:
    return ClientError("request body stalled", status=408)


def untaken(upstream: UpstreamConnection) -> BlitzError:
    address = upstream.endpoint.address
    return UpstreamError(f"{address}: took none of the request body for too long", status=504)
