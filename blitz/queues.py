"""The listening sockets of all workers: one queue for each, on the same addresses.

The kernel spreads new connections over the queues, whether or not anybody takes from them. A worker that died
leaves its queue to its successor, and nobody is refused meanwhile. Where no successor comes, connections
would wait in it for ever, so the queue is left: it stops listening, and new connections go to the others. The
next worker in that place listens again once it serves.
"""

from __future__ import annotations

import socket

import msgspec

from blitz import systemd
from blitz.config import Resolved
from blitz.gateway import bind_all, spoken_on

__all__ = ["Queues"]


class Queues:
    """Sockets that systemd passed are shared by all: there is one queue, and each worker takes from it.

    Raises:
        ConfigError: an address cannot be bound.
    """

    def __init__(self, resolved: Resolved) -> None:
        inherited = systemd.inherited_sockets()
        self._own = not inherited and resolved.workers > 1
        if inherited:
            self._groups = [inherited] * resolved.workers
            return
        first = bind_all(resolved, share=self._own)
        if not self._own:
            self._groups = [first]
            return
        same = msgspec.structs.replace(resolved, listen=tuple(spoken_on(sock, ()) for sock in first))
        self._groups = [bind_all(same, share=True) for _ in range(1, resolved.workers)]
        if all(address.port for address in resolved.listen):
            self._groups.insert(0, first)
            return
        # Only a socket that was bound to a port by its number keeps that when it stops listening.
        self._groups.insert(0, bind_all(same, share=True))
        for listener in first:
            listener.close()

    def of(self, place: int) -> list[socket.socket]:
        return self._groups[place]

    def leave(self, place: int) -> None:
        """Nobody takes from this queue: connections that wait in it are reset, new ones go to the others."""
        if not self._own:
            return
        for listener in self._groups[place]:
            # Shut down twice, a socket hands that on to every connection that it accepts later.
            if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for group in self._groups:
            for listener in group:
                listener.close()
