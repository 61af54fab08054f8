"""Bytes both ways between a client and an upstream after a real 101, until both sides have ended.

No frame is parsed. Three waits are bounded: ``tunnel_idle`` while neither side says anything (what nginx's
``proxy_read_timeout`` and HAProxy's ``timeout tunnel`` do), ``tunnel_silence`` while one side says nothing
and the other talks, and ``send_idle`` while a side takes none of what the other says. A broken connection
ends the tunnel; an end of stream is passed on as one and the other direction goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .back_pressure import send_patiently
from .deadline import Timer
from .ends import note_late

if TYPE_CHECKING:
    from .exchange import Exchange
    from .stream import ByteStream

__all__ = ["tunnel"]


async def tunnel(exchange: Exchange, upstream: ByteStream, ahead_up: bytes, ahead_down: bytes) -> None:
    """Carry bytes until both directions are done.

    Args:
        ahead_up, ahead_down: bytes that arrived behind the heads already.
    """
    client = exchange.connection.stream
    exchange.connection.timer.arm(exchange.runtime.timeouts.tunnel_idle, "tunnel")
    async with trio.open_nursery() as nursery:
        up = _Direction(exchange, client, upstream, nursery.cancel_scope)
        down = _Direction(exchange, upstream, client, nursery.cancel_scope)
        nursery.start_soon(up.run, ahead_up)
        nursery.start_soon(down.run, ahead_down)
    line = exchange.connection.line
    if up.timer.expired or down.timer.expired:
        exchange.context.counters.timeouts += 1
        note_late(line, "tunnel")
    broken = up.broken or down.broken
    if line is not None and broken is not None:
        side = "client" if broken is client else "upstream"
        line.cut(f"{side}_reset", f"{side} connection broke in the tunnel")


class _Direction:
    """From *source* to *sink*. Whatever ends it early ends the other one too, through *scope*.

    Attributes:
        broken: which of the two was, when that ended it.
    """

    def __init__(
        self, exchange: Exchange, source: ByteStream, sink: ByteStream, scope: trio.CancelScope
    ) -> None:
        self.exchange = exchange
        self.source = source
        self.sink = sink
        self.scope = scope
        self.broken: ByteStream | None = None
        self._in_use = source
        self.timer = Timer(exchange.context.wheel, scope.cancel)

    async def run(self, ahead: bytes) -> None:
        parts = self.exchange.context.parts
        part = parts.take()
        try:
            if ahead:
                await self._send(memoryview(ahead))
            await self._carry(part.view)
            self.timer.disarm()
            await self.sink.send_eof()
            if not self.sink.half_closes:
                self.scope.cancel()  # nothing but the end of both tells it
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.broken = self._in_use
            self.scope.cancel()
        finally:
            self.timer.disarm()
            parts.give(part)

    async def _carry(self, view: memoryview) -> None:
        """Until *source* ends."""
        connection = self.exchange.connection
        timeouts = self.exchange.runtime.timeouts
        line = connection.line
        from_client = self.source is connection.stream
        while True:
            self.timer.arm(timeouts.tunnel_silence, "tunnel")
            self._in_use = self.source
            got = await self.source.receive_into(view)
            if not got:
                return
            connection.timer.arm(timeouts.tunnel_idle, "tunnel")
            if line is not None and from_client:
                line.received += got
            elif line is not None:
                line.sent += got
            await self._send(view[:got])

    async def _send(self, data: memoryview) -> None:
        self._in_use = self.sink
        sent = self.sink.send_nowait(data)
        if sent < len(data):
            patience = self.exchange.runtime.timeouts.send_idle
            await send_patiently(self.sink, data[sent:], self.timer, patience, "tunnel")
