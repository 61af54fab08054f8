"""Bytes both ways between a client and an upstream after a real 101, until both sides have ended.

No frame is parsed. Three waits are bounded: ``tunnel_idle`` while neither side says anything (what nginx's
``proxy_read_timeout`` and HAProxy's ``timeout tunnel`` do), ``tunnel_silence`` while one side says nothing
and the other talks, and ``send_idle`` while a side takes none of what the other says. A broken connection
ends the tunnel; an end of stream is passed on as one and the other direction goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from .back_pressure import send_patiently
from .deadline import Timer
from .ends import note_late

if TYPE_CHECKING:
    from blitz.config.model import Timeouts

    from .access import AccessLine
    from .resources import Resources
    from .stream import ByteStream

__all__ = ["tunnel"]


async def tunnel(
    resources: Resources,
    timeouts: Timeouts,
    timer: Timer,
    line: AccessLine | None,
    client: tuple[ByteStream, bytes],
    upstream: tuple[ByteStream, bytes],
) -> None:
    """Carry bytes until both directions are done.

    Args:
        timer: the deadline for both sides together.
        client, upstream: each with the bytes that came from it behind its head already.
    """
    timer.arm(timeouts.tunnel_idle, "tunnel")

    def moved(received: int, sent: int) -> None:
        timer.arm(timeouts.tunnel_idle, "tunnel")
        if line is not None:
            line.received += received
            line.sent += sent

    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope
        up = _Direction(resources, timeouts, client[0], upstream[0], scope, lambda size: moved(size, 0))
        down = _Direction(resources, timeouts, upstream[0], client[0], scope, lambda size: moved(0, size))
        nursery.start_soon(up.run, client[1])
        nursery.start_soon(down.run, upstream[1])
    if up.timer.expired or down.timer.expired:
        resources.counters.timeouts += 1
        note_late(line, "tunnel")
    broken = up.broken or down.broken
    if line is not None and broken is not None:
        side = "client" if broken is client[0] else "upstream"
        line.cut(f"{side}_reset", f"{side} connection broke in the tunnel")


class _Direction:
    """From *source* to *sink*. Whatever ends it early ends the other one too, through *scope*.

    Attributes:
        broken: which of the two was, when that ended it.
    """

    def __init__(
        self,
        resources: Resources,
        timeouts: Timeouts,
        source: ByteStream,
        sink: ByteStream,
        scope: trio.CancelScope,
        moved: Callable[[int], object],
    ) -> None:
        """*moved* is called with the size of each piece that came."""
        self._parts = resources.parts
        self._timeouts = timeouts
        self._moved = moved
        self.source = source
        self.sink = sink
        self.scope = scope
        self.broken: ByteStream | None = None
        self._in_use = source
        self.timer = Timer(resources.wheel, scope.cancel)

    async def run(self, ahead: bytes) -> None:
        part = self._parts.take()
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
            self._parts.give(part)

    async def _carry(self, view: memoryview) -> None:
        """Until *source* ends."""
        while True:
            self.timer.arm(self._timeouts.tunnel_silence, "tunnel")
            self._in_use = self.source
            got = await self.source.receive_into(view)
            if not got:
                return
            self._moved(got)
            await self._send(view[:got])

    async def _send(self, data: memoryview) -> None:
        self._in_use = self.sink
        sent = self.sink.send_nowait(data)
        if sent < len(data):
            patience = self._timeouts.send_idle
            await send_patiently(self.sink, data[sent:], self.timer, patience, "tunnel")
