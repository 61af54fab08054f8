"""Addresses of a host's name, from the system's resolver, which is a thread that may hang."""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Any

import trio

__all__ = ["LookUp"]

MAX_AT_ONCE = 4  # threads for one name: a resolver that hangs over it keeps no others waiting

Addresses = list[tuple[int, tuple[Any, ...]]]


class LookUp:
    """Of one endpoint's name, or address."""

    __slots__ = ("_host", "_limiter", "_port")

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._limiter: trio.CapacityLimiter | None = None

    async def addresses(self) -> Addresses:
        """(family, address as sockets take it) of each, in the resolver's order.

        Raises:
            OSError: socket.gaierror, or the system has no thread for it.
        """
        find = partial(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
        try:
            found = find(flags=socket.AI_NUMERICHOST)  # asks nobody
        except socket.gaierror:
            found = await self._ask(find)
        except UnicodeError as exc:
            raise OSError(errno.EINVAL, "no name of a host") from exc
        return [(one[0], one[4]) for one in found]

    async def _ask(self, find: Any) -> Any:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(MAX_AT_ONCE)
        try:
            return await trio.to_thread.run_sync(find, abandon_on_cancel=True, limiter=self._limiter)
        except RuntimeError as exc:  # "can't start new thread"
            raise OSError(errno.EAGAIN, "no thread to ask for its name") from exc
