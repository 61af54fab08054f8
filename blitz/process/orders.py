"""What a parent tells one worker: to take from a queue, to give one up, to end.

Signals say too little (a worker that ends alone and one that ends with all the others treat their queues
differently), and everybody may send them. An order is one packet; the sockets of a queue come beside it.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Order", "Orders"]

PACKET = 4096
MAX_FDS = 200  # of one packet; the kernel's bound is 253

What = Literal["take", "give_up", "end", "hurry", "look", "gone"]


@dataclass(frozen=True, slots=True)
class Order:
    """
    Attributes:
        what: ``take``: from the queue of *place* too; ``give_up``: not any more; ``end``: drain; ``hurry``:
            do not wait; ``look``: operators have other wishes, on the scoreboard; ``gone``: the parent is no
            more.
        sockets: of the queue.
        alone: nobody else takes from the queue that is given up, or from all of them at an end.
        delay: ``timeouts.drain_delay`` is to be kept.
    """

    what: What
    place: int = -1
    sockets: tuple[socket.socket, ...] = ()
    alone: bool = False
    delay: bool = False


class Orders:
    """Both ends; made before the fork."""

    def __init__(self) -> None:
        self._parents, self._workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._parents.setblocking(False)
        self._workers.setblocking(False)

    # -- the parent

    def only_say(self) -> None:
        self._workers.close()

    def say(
        self,
        what: What,
        *,
        place: int = -1,
        sockets: Sequence[socket.socket] = (),
        alone: bool = False,
        delay: bool = False,
    ) -> None:
        """Give the order; never waits. A worker that has ended, or reads nothing, does not get it."""
        packet = json.dumps({"what": what, "place": place, "alone": alone, "delay": delay}).encode()
        fds = [sock.fileno() for sock in sockets]
        with contextlib.suppress(OSError):
            for start in range(0, max(len(fds), 1), MAX_FDS):
                socket.send_fds(self._parents, [packet], fds[start : start + MAX_FDS])

    def close(self) -> None:
        self._parents.close()
        self._workers.close()

    # -- the worker

    def only_obey(self) -> None:
        self._parents.close()

    def fileno(self) -> int:
        """Readable when there is an order, or the parent is gone."""
        return self._workers.fileno()

    def read(self) -> list[Order]:
        """What was ordered since the last look."""
        orders: list[Order] = []
        while True:
            try:
                packet, fds, _, _ = socket.recv_fds(self._workers, PACKET, MAX_FDS)
            except BlockingIOError:
                return orders
            except OSError:
                packet, fds = b"", []
            if not packet:
                return [*orders, Order("gone", alone=True)]
            sockets = tuple(_listener(fd) for fd in fds)
            orders.append(Order(sockets=sockets, **json.loads(packet)))


def _listener(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock
