"""What a worker does when its parent orders something, or somebody sends it a signal.

The parent ends a worker by an order and a signal behind it. A signal without an order is somebody else's:
then the parent is asked, which starts a successor first and gives the order once that serves, so that the
place is never empty. (A terminal and systemd may signal all processes of a group; the parent's order comes
in the same moment.) A second one of those does not wait.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import trio

from blitz.gateway import Gateway, as_bound
from blitz.process.orders import Order, Orders
from blitz.process.signals import ENDING

__all__ = ["Obedience"]

_log = logging.getLogger("blitz.workers")

PATIENCE = 15.0  # seconds for the parent to answer; it gives a successor less (workers.LEAVING_TIMEOUT)
HURRIED_END = 2.0  # seconds for last answers and plugins' cleanup when nothing is to be waited for


class Obedience:
    """Of one worker that serves. own: its sockets, which tell how those of other places are spoken on.

    Attributes:
        told: it is to drain.
    """

    def __init__(
        self,
        gateway: Gateway,
        orders: Orders,
        nursery: trio.Nursery,
        own: Sequence[socket.socket],
        ask: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._orders = orders
        self._nursery = nursery
        self._own = own
        self._ask = ask
        self._taken: dict[int, list[socket.socket]] = {}
        self._signals = 0  # to end, from anybody
        self._ordered = 0  # orders to end: a signal comes behind each
        self._end: Order | None = None
        self._last = trio.CancelScope()
        self.told = trio.Event()

    async def hear(self, signals: AsyncIterator[int]) -> None:
        """Obey signals for ever."""
        async for number in signals:
            if number not in ENDING:
                if not self.told.is_set():
                    self._nursery.start_soon(self._gateway.reload_as_asked)
                continue
            self._read()  # an order to end is given before its signal is sent
            self._signals += 1
            if self._signals - self._ordered > 1:
                if self._end is None:
                    self._begin(Order("end"))
                self._obey(Order("hurry"))
            elif self._end is None:
                self._ask()
                self._nursery.start_soon(self._lose_patience)

    async def read_orders(self) -> None:
        """Obey the parent until it is gone."""
        while self._end is None or self._end.what != "gone":
            await trio.lowlevel.wait_readable(self._orders.fileno())
            self._read()

    def _read(self) -> None:
        for order in self._orders.read():
            self._obey(order)

    async def _lose_patience(self) -> None:
        await trio.sleep(PATIENCE)
        if self._end is None:
            _log.error("the parent does not answer for %g s: draining", PATIENCE)
            self._begin(Order("end"))

    def _obey(self, order: Order) -> None:
        listeners = self._gateway.listeners
        self._ordered += order.what == "end"
        if order.what == "take":
            fresh = [as_bound(one, self._own) for one in order.sockets]
            self._taken.setdefault(order.place, []).extend(fresh)
            listeners.add(fresh)
        elif order.what == "give_up":
            sockets = self._taken.pop(order.place, [])
            self._nursery.start_soon(partial(listeners.give_up, sockets, alone=order.alone))
        elif order.what == "look":
            self._gateway.see_to_wishes()
        elif order.what == "hurry":
            self._last.deadline = trio.current_time() + HURRIED_END
            self._nursery.start_soon(self._gateway.drain, 0.0, 0.0)
        elif self._end is None:
            self._begin(order)
        else:
            self._end = order

    def _begin(self, order: Order) -> None:
        self._end = order
        self._gateway.listeners.alone = order.alone
        self.told.set()

    async def drain(self, ended: trio.Event) -> bool:
        """Drain as ordered, and come to an end; True when nothing was cut off."""
        assert self._end is not None
        clean = await self._gateway.drain(delay=None if self._end.delay else 0.0)
        with self._last:
            await ended.wait()  # guests clean up, logs are written, operators get their last answer
        return clean
