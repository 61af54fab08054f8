"""The listening sockets of all workers: one queue for each, on the same addresses.

The kernel spreads new connections over the queues, whether or not anybody takes from them. So each is held
by the parent and by whoever takes from it, and by nobody else: once those have closed it, the kernel refuses
at once or uses another queue. While a place has no worker that serves, another one takes from its queue
(``takers.py``); with the last place of all, connections wait for the next worker.
"""

from __future__ import annotations

import socket

import msgspec

from blitz.config import Resolved
from blitz.gateway import bind_all, spoken_on
from blitz.process import systemd

__all__ = ["Queues"]


class Queues:
    """Sockets that systemd passed are shared by all: there is one queue, and each worker takes from it.

    Attributes:
        own: they are this service's alone, one for each place.
    Raises:
        ConfigError: an address cannot be bound.
    """

    def __init__(self, resolved: Resolved) -> None:
        inherited = systemd.inherited_sockets()
        self.own = not inherited
        first = inherited or bind_all(resolved, share=resolved.workers > 1)
        same = tuple(spoken_on(sock, ()) for sock in first)
        self._same = msgspec.structs.replace(resolved, listen=same)
        self._groups = {0: first}
        self.grow(resolved.workers)

    def grow(self, workers: int) -> None:
        """Have a queue for each of so many places.

        Raises:
            ConfigError: an address cannot be bound once more; what was there stays.
        """
        for place in range(workers):
            if place in self._groups:
                continue
            if not self.own:
                self._groups[place] = self._groups[0]
                continue
            for listener in self._groups[0]:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._groups[place] = bind_all(self._same, share=True)

    def shrink(self, workers: int) -> None:
        """Close, as far as the parent holds them, the queues of the places beyond so many."""
        for place in [place for place in self._groups if place >= workers]:
            group = self._groups.pop(place)
            if self.own:
                for listener in group:
                    listener.close()

    def of(self, place: int) -> list[socket.socket]:
        return self._groups[place]

    def keep_only(self, place: int) -> None:
        """As the worker in *place*: the others' queues are not to be held open by this process."""
        if self.own:
            for other, group in self._groups.items():
                if other != place:
                    for listener in group:
                        listener.close()

    def close(self) -> None:
        for group in self._groups.values():
            for listener in group:
                listener.close()
