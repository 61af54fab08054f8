"""Clients that reset while an exchange of theirs runs on the general path.

Such an exchange waits for many things: a connection, a place among ``max_pending``, a head, a guest, a
service that is asked first, the pause before another try. None of those waits can see its client, since
nothing is read from it meanwhile. So the fast path's epoll watches the client's socket, for errors and
hang-ups alone: neither bytes that wait there (a next request) nor the end of what it sends wakes anybody
(``native/fast_path_gone.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from blitz._native import lib

from .open_connection import OpenConnection

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ClientWatch", "WatchedConnection"]


class WatchedConnection(OpenConnection, Protocol):
    """One that wants to know.

    Attributes:
        watched: the descriptor that is watched; -1: none is. ``ClientWatch`` sets it.
    """

    watched: int

    def client_gone(self) -> None:
        """The client has reset. Called in a pass of the event loop: waits for nothing, raises nothing."""
        ...


class ClientWatch:
    """Those of one fast path (cffi ``blitz_fast_path *``).

    Args:
        runs: somebody runs it; else nobody is told.
    """

    __slots__ = ("_by_descriptor", "_fast_path", "_runs")

    def __init__(self, fast_path: Any, runs: Callable[[], bool]) -> None:
        self._fast_path = fast_path
        self._runs = runs
        self._by_descriptor: dict[int, WatchedConnection] = {}

    def watch(self, connection: WatchedConnection) -> None:
        """Tell *connection* of a reset, once, also of one that was before; until ``forget``.

        A stream without a socket of its own says nothing, and neither does one that the system will not
        watch: its exchange goes on until it sends something.
        """
        if connection.watched >= 0 or not self._runs():
            return
        fd = connection.stream.descriptor()
        if fd >= 0 and not lib.blitz_fast_watch_elsewhere(self._fast_path, fd):
            self._by_descriptor[fd] = connection
            connection.watched = fd

    def forget(self, connection: WatchedConnection) -> None:
        """It is closed now, or the fast path has it."""
        fd, connection.watched = connection.watched, -1
        if self._by_descriptor.get(fd) is connection:  # a descriptor that was closed may be another's by now
            del self._by_descriptor[fd]

    def gone(self, fd: int) -> None:
        """The client behind *fd* has reset."""
        connection = self._by_descriptor.get(fd)
        if connection is not None:
            connection.client_gone()
