"""A stream to an upstream's address: the name looked up, its addresses tried."""

from __future__ import annotations

import errno
import math
import socket

import trio
from trio.lowlevel import wait_writable

from .names import LookUp
from .stream import SocketStream, set_nodelay

__all__ = ["Dialer", "why_not_connected"]


class Dialer:
    """Of one endpoint: ``host`` and ``port``, or ``path`` of a Unix socket."""

    __slots__ = ("_host", "_last_good", "_look_up", "_path")

    def __init__(self, host: str, port: int, path: str) -> None:
        self._path = path
        self._host = host
        self._look_up = LookUp(host, port)
        self._last_good: object = None

    async def dial(self) -> SocketStream:
        """A new stream. Raises OSError."""
        return await _connect(socket.AF_UNIX, self._path) if self._path else await self._dial_tcp()

    async def _dial_tcp(self) -> SocketStream:
        """Connect to the first address that answers; the one that did last time is tried first.

        An address that says nothing may use up its share of the time only: one of two that is gone costs
        half of ``timeouts.connect``, once.
        """
        addresses = sorted(await self._look_up.addresses(), key=lambda one: one[1] != self._last_good)
        last: OSError = OSError(errno.EADDRNOTAVAIL, f"no address for {self._host}")
        for left, (family, sockaddr) in zip(range(len(addresses), 0, -1), addresses, strict=True):
            patience = trio.current_effective_deadline() - trio.current_time()
            with trio.move_on_after(patience / left if left > 1 else math.inf):
                try:
                    stream = await _connect(family, sockaddr)
                except OSError as exc:
                    last = exc
                    continue
                self._last_good = sockaddr
                return stream
            last = OSError(errno.ETIMEDOUT, "no answer")
        raise last


async def _connect(family: int, sockaddr: object) -> SocketStream:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            set_nodelay(sock)
        try:
            sock.connect(sockaddr)  # type: ignore[arg-type]
        except BlockingIOError:
            await wait_writable(sock)
            failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, errno.errorcode.get(failed, "error")) from None
    except BaseException:
        sock.close()
        raise
    return SocketStream(sock)


def why_not_connected(exc: OSError) -> str:
    """What *exc* of ``dial`` says, in words."""
    if isinstance(exc, socket.gaierror):
        return f"name not resolved ({exc.strerror})"
    return {
        errno.ECONNREFUSED: "connection refused",
        errno.EHOSTUNREACH: "no route to host",
        errno.ENETUNREACH: "network unreachable",
        errno.ENOENT: "no such socket file",
        errno.EACCES: "permission denied",
    }.get(exc.errno or 0, exc.strerror or str(exc))
