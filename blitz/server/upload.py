"""The rest of a request body on its way to the upstream, while the answer may already be coming."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from blitz.errors import BlitzError, ClientError, ClientGone, UpstreamError

from .back_pressure import await_taker, send_patiently
from .body_stream import frame_chunk
from .deadline import Timer
from .splice import SinkBroken, can_splice, splice_body

if TYPE_CHECKING:
    from .body_stream import IncomingBody
    from .exchange import Exchange
    from .upstream import UpstreamConnection

__all__ = ["Upload"]

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
        "_upstream",
        "error",
        "finished",
    )

    def __init__(self, exchange: Exchange, upstream: UpstreamConnection, *, chunked: bool) -> None:
        self._exchange = exchange
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
                    self._fail(ClientGone("client connection broke in the request body"))
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
        if self._timer.what == SENDING:
            address = self._upstream.endpoint.address
            return UpstreamError(f"{address}: took none of the request body for too long", status=504)
        return ClientError("request body stalled", status=408)

    def stop(self) -> None:
        """The answer is over or failed: nobody needs the rest."""
        self._scope.cancel()

    async def _pump(self) -> None:
        exchange = self._exchange
        body = self._body
        body.use_timer(self._timer)
        stream = self._upstream.stream
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
            if not data:
                continue
            try:
                sent = stream.send_nowait(data)
                if sent < len(data):
                    patience = exchange.runtime.timeouts.send_idle
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
