"""The end of a gateway's traffic: who is in flight, how long they may stay, what is cut off.

The order: for ``delay`` seconds only ``/readyz`` says so, for balancers to go elsewhere; then
what waits in the queues is taken and they are closed; idle connections end after a moment; exchanges in
flight have ``grace`` seconds; what is left then is cut off. Each step is a line of the log.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from blitz.errors import CutOff
from blitz.http.heads import span_bytes
from blitz.text import one_line

from .deadline import MAX_AT_ONCE

if TYPE_CHECKING:
    from .context import ServerContext
    from .listeners import Listeners
    from .open_connection import OpenConnection

__all__ = ["Drain"]

_log = logging.getLogger("blitz.server")

MAX_NAMED = 10  # exchanges that were cut off and have a line each
MAX_PATH = 200  # letters of a path in such a line


@dataclass(frozen=True, slots=True)
class InFlight:
    """An exchange, for a line of the log. path: without the query, which may hold secrets. age: seconds."""

    method: bytes
    path: bytes
    route: str
    client: str
    age: float

    def __str__(self) -> str:
        words = f"{self.method.decode('latin-1')} {self.path.decode('latin-1')}"
        if len(words) > MAX_PATH:
            words = words[:MAX_PATH] + "..."
        route = f"route {self.route}, " if self.route else ""
        return one_line(f"{words} ({route}client {self.client or 'unknown'}, {self.age:.1f} s)")


class Drain:
    """Of one gateway; ``run`` it once.

    Attributes:
        in_flight: exchanges when it began. cut: exchanges that were cut off.
    """

    def __init__(self, context: ServerContext, listeners: Listeners, who: str = "") -> None:
        self._context = context
        self._listeners = listeners
        self._who = f"{who}: " if who else ""
        self._delay = trio.CancelScope()
        self._grace = trio.CancelScope()
        self._latest = math.inf
        self.in_flight = 0
        self.cut = 0

    def shorten(self, grace: float | None = None, delay: float | None = None) -> None:
        """Let it end sooner: *grace* and *delay* seconds from now, at the latest."""
        now = trio.current_time()
        if grace is not None:
            self._latest = min(self._latest, now + grace)
            self._grace.deadline = min(self._grace.deadline, self._latest)
        if delay is not None:
            self._delay.deadline = min(self._delay.deadline, now + delay)

    async def run(self, grace: float, delay: float) -> None:
        """Drain, as the head of this file says."""
        context = self._context
        began = trio.current_time()
        self.in_flight = context.in_flight
        _log.info(
            "%sdrain: begun with connections: %d, exchanges in flight: %d%s; they have %g s",
            self._who,
            len(context.connections),
            self.in_flight,
            f"; new clients are served for {delay:g} s more" if delay else "",
            grace,
        )
        self.shorten(delay=delay)
        if delay:
            with self._delay:
                await trio.sleep_forever()
        context.draining = True
        context.fast_path.begin_drain()
        await self._listeners.close()
        self._grace.deadline = min(self._latest, trio.current_time() + grace)
        with self._grace:
            await context.fast_path.drain()
            for connection in list(context.connections):
                connection.drain()
            await context.wait_no_connections()
        named = await self._cut_off()
        took = trio.current_time() - began
        if not self.cut:
            _log.info("%sdrain: done after %.1f s, nothing was cut off", self._who, took)
            return
        _log.warning("%sdrain: exchanges cut off: %d, after %.1f s", self._who, self.cut, took)
        for exchange in named:
            _log.warning("%sdrain: cut off: %s", self._who, exchange)
        if self.cut > len(named):
            _log.warning("%sdrain: cut off: %d more", self._who, self.cut - len(named))

    async def _cut_off(self) -> list[InFlight]:
        """End what is left; those that have a line each."""
        named: list[InFlight] = []
        for number, connection in enumerate(list(self._context.connections), 1):
            if self._is_busy(connection):
                self.cut += 1
                if len(named) < MAX_NAMED:
                    named.append(self._describe(connection))
                connection.cut_off(
                    CutOff("cut off at the end of the drain (timeouts.drain, or told to hurry)")
                )
            else:
                connection.cancel()
            if number % MAX_AT_ONCE == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
        return named

    def _is_busy(self, connection: OpenConnection) -> bool:
        return connection.busy or self._context.fast_path.in_hand(connection) is not None

    def _describe(self, connection: OpenConnection) -> InFlight:
        now = trio.current_time()
        exchange = connection.exchange
        if exchange is None:
            line = self._context.fast_path.in_hand(connection)
            if line is None:
                return InFlight(b"-", b"-", "", connection.peer.address, 0.0)
            method, target, route, began = line
            return InFlight(method, _path(target), route, connection.peer.address, now - began)
        request = exchange.request
        route = exchange.entry.name.decode() if exchange.entry is not None else ""
        path = _path(span_bytes(request, request.target))
        return InFlight(exchange.method, path, route, exchange.peer.address, now - exchange.began)


def _path(target: bytes) -> bytes:
    return target.partition(b"?")[0]
