"""Bytes both ways between a client and an upstream after a real 101, until both sides have ended.

No frame is parsed. Either direction that stays silent for ``tunnel_idle`` ends the tunnel, as does a broken
connection; an end of stream is passed on as one and the other direction goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

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
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_carry, exchange, client, upstream, ahead_up, nursery.cancel_scope)
        nursery.start_soon(_carry, exchange, upstream, client, ahead_down, nursery.cancel_scope)


async def _carry(
    exchange: Exchange, source: ByteStream, sink: ByteStream, ahead: bytes, scope: trio.CancelScope
) -> None:
    context = exchange.context
    timer = exchange.connection.timer
    idle = exchange.runtime.timeouts.tunnel_idle
    line = exchange.connection.line
    part = context.parts.take()
    try:
        if ahead:
            await sink.send_rest(memoryview(ahead))
        while True:
            timer.arm(idle, "tunnel")
            got = await source.receive_into(part.view)
            if not got:
                await sink.send_eof()
                return
            if line is not None and source is exchange.connection.stream:
                line.received += got
            elif line is not None:
                line.sent += got
            data = part.view[:got]
            sent = sink.send_nowait(data)
            if sent < got:
                await sink.send_rest(data[sent:])
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        scope.cancel()
    finally:
        context.parts.give(part)
