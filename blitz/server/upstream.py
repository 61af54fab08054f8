"""Connections to upstreams: a pool per endpoint, and clusters of endpoints.

A connection goes back to the pool only when it is provably clean: the last answer was complete, the
request was sent whole, nothing is left in its buffer, both sides agreed to keep it. Before it is used
again the socket is asked once more: anything readable (data nobody asked for, or the end) makes it unfit.
"""

from __future__ import annotations

import errno
import logging
import math
import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import ParkingLot, wait_writable

from blitz._native import ffi, lib
from blitz.errors import InternalError, UpstreamError

from .stream import ByteStream, SocketStream, set_nodelay
from .tls_stream import TlsError, TlsStream

if TYPE_CHECKING:
    from .tls import ClientTls

__all__ = ["Cluster", "Endpoint", "EndpointAddress", "UpstreamConnection"]

_log = logging.getLogger("blitz.upstream")

FAILURE_PAUSE = 1.0  # seconds an endpoint that refused a connection is tried last


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """``host`` and ``port``, or ``path`` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UpstreamConnection:
    """One connection to an endpoint; ``used`` counts the exchanges it has served.

    Attributes:
        fd: of its socket.
        watched: the short lane may use it.
    """

    __slots__ = ("_poll", "endpoint", "fd", "stream", "used", "watched")

    def __init__(self, endpoint: Endpoint, stream: ByteStream) -> None:
        self.endpoint = endpoint
        self.stream = stream
        self.fd = (stream.stream if isinstance(stream, TlsStream) else stream).fileno()
        self.used = 0
        self.watched = False  # by the short lane
        self._poll: select.poll | None = None

    def is_quiet(self) -> bool:
        """Open, and nothing has arrived that nobody asked for."""
        stream = self.stream
        fd = stream.fileno()
        if fd < 0:
            return isinstance(stream, TlsStream) and stream.is_quiet()
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)
        return not self._poll.poll(0)

    def close(self) -> None:
        self.stream.close()
        self.endpoint.closed_one()

    def end(self) -> None:
        """Close an idle connection in good order."""
        self.stream.finish()
        self.close()


class Endpoint:
    """One address of a cluster with its connections.

    Attributes:
        proxy_protocol: a connection begins with a header that names the client, and serves one exchange.
        live: open connections, idle ones included.
        native: cffi ``blitz_endpoint *``, the idle connections.
    """

    __slots__ = (
        "_connections",
        "_last_good",
        "_lot",
        "_max_live",
        "_tls",
        "address",
        "failed_at",
        "failures",
        "live",
        "name",
        "name_ptr",
        "native",
        "proxy_protocol",
    )

    def __init__(
        self,
        address: EndpointAddress,
        max_live: int,
        max_idle: int,
        idle_timeout: float,
        *,
        tls: ClientTls | None = None,
        proxy_protocol: bool = False,
    ) -> None:
        self.address = address
        self.proxy_protocol = proxy_protocol
        self._tls = tls
        self._last_good: object = None
        self.name = str(address).encode()
        self.name_ptr = ffi.from_buffer("uint8_t[]", self.name)  # for exchanges: guests may ask for it
        native = lib.blitz_endpoint_new(0 if proxy_protocol else max_idle, idle_timeout)
        if native == ffi.NULL:
            raise InternalError("out of memory for an endpoint")
        self.native = ffi.gc(native, lib.blitz_endpoint_free)
        self.native.shut = tls is not None or proxy_protocol
        self._connections: dict[int, UpstreamConnection] = {}  # idle ones and those in the lane
        self.live = 0
        self.failures = 0
        self.failed_at = float("-inf")
        self._max_live = max_live
        self._lot = ParkingLot()

    @property
    def idle(self) -> int:
        """Connections that wait for their next use."""
        return int(self.native.n)

    def take_idle(self, now: float) -> UpstreamConnection | None:
        """The last used idle connection that is still clean, or None. Unfit ones are closed on the way.

        One that has been idle for ``idle_timeout`` may be closed by the upstream this very moment.
        """
        stale = ffi.new("uint8_t *")
        while (fd := lib.blitz_endpoint_take(self.native, now, stale)) >= 0:
            connection = self.taken(fd)
            if not stale[0] and connection.is_quiet():
                return connection
            connection.close()
        return None

    def taken(self, fd: int) -> UpstreamConnection:
        """The connection that was taken out of ``native``."""
        return self._connections.pop(fd)

    def give(self, connection: UpstreamConnection, now: float) -> None:
        """Take back a connection whose last exchange ended cleanly."""
        if lib.blitz_endpoint_give(self.native, connection.fd, now):
            connection.close()
            return
        connection.used += 1
        self._connections[connection.fd] = connection
        self._tell_next()

    def _tell_next(self) -> None:
        if self._lot:
            self._lot.unpark()
        self.native.wanted = bool(self._lot)

    async def connect(self, timeout: float, preface: bytes = b"") -> UpstreamConnection:
        """A new connection; waits for a place when ``max_connections`` are open.

        Args:
            timeout: seconds for all of it, the TLS handshake included.
            preface: sent before anything else: a PROXY header.
        Raises:
            UpstreamError: 503 when no place became free in *timeout* seconds, 502 when refused, unreachable
                or not who it should be, 504 when there was no answer in time. All retryable: no request
                was sent.
        """
        with trio.move_on_after(timeout or float("inf")) as scope:
            while self._max_live and self.live >= self._max_live:
                self.native.wanted = True
                await self._lot.park()
                connection = self.take_idle(trio.current_time())
                if connection is not None:
                    return connection
            self.live += 1
            try:
                stream = await self._open(preface)
            except BaseException:
                self.closed_one()
                raise
            return UpstreamConnection(self, stream)
        assert scope.cancelled_caught
        self.note_failure()
        if self._max_live and self.live >= self._max_live:
            raise UpstreamError(
                f"{self.address}: all {self._max_live} connections are busy", status=503, retryable=True
            )
        raise UpstreamError(f"{self.address}: no connection within {timeout:g} s", status=504, retryable=True)

    def closed_one(self) -> None:
        self.live -= 1
        self._tell_next()

    def note_failure(self) -> None:
        self.failures += 1
        self.failed_at = trio.current_time()

    def is_failing(self, now: float) -> bool:
        """The last connection could not be made, a moment ago."""
        return now - self.failed_at < FAILURE_PAUSE

    def retire(self) -> None:
        """Keep no connection from now on: idle ones close now, the others when they are given back."""
        self.native.shut = True
        self.native.most = 0
        stale = ffi.new("uint8_t *")
        while (fd := lib.blitz_endpoint_take(self.native, 0.0, stale)) >= 0:
            self.taken(fd).end()

    def expire_idle(self, now: float) -> None:
        """Close connections that have been idle for too long."""
        while (fd := lib.blitz_endpoint_expire(self.native, now)) >= 0:
            self.taken(fd).end()

    async def _open(self, preface: bytes) -> ByteStream:
        address = self.address
        try:
            if address.path:
                stream = await _connect(socket.AF_UNIX, address.path)
            else:
                stream = await self._open_tcp(address.host, address.port)
        except OSError as exc:
            raise self._failed(f"cannot connect: {_reason(exc)}") from exc
        try:
            if preface:
                await stream.send_rest(memoryview(preface))
            return stream if self._tls is None else await self._encrypt(stream, self._tls)
        except (TlsError, trio.BrokenResourceError) as exc:
            stream.close()
            raise self._failed(str(exc)) from exc
        except BaseException:
            stream.close()
            raise

    def _failed(self, why: str) -> UpstreamError:
        self.note_failure()
        return UpstreamError(f"{self.address}: {why}", status=502, retryable=True)

    async def _encrypt(self, stream: SocketStream, tls: ClientTls) -> TlsStream:
        encrypted = tls.wrap(stream, self.address.host)
        await encrypted.do_handshake()
        return encrypted

    async def _open_tcp(self, host: str, port: int) -> SocketStream:
        """Connect to the first address of *host* that answers; the one that did last time is tried first.

        An address that says nothing may use up its share of the time only: one of two that is gone costs
        half of ``timeouts.connect``, once.
        """
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = sorted(((one[0], one[4]) for one in found), key=lambda one: one[1] != self._last_good)
        last: OSError = OSError(errno.EADDRNOTAVAIL, f"no address for {host}")
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


class Cluster:
    """Endpoints that are interchangeable, taken in turn; one that just failed is tried last."""

    __slots__ = ("_next", "endpoints", "host", "name")

    def __init__(self, name: str, endpoints: list[Endpoint], host: str = "") -> None:
        self.name = name
        self.endpoints = endpoints
        self.host = host.encode()
        self._next = 0

    def order(self, now: float) -> list[Endpoint]:
        """Endpoints in the order in which this exchange should try them."""
        endpoints = self.endpoints
        if len(endpoints) == 1:
            return endpoints
        self._next = (self._next + 1) % len(endpoints)
        turned = endpoints[self._next :] + endpoints[: self._next]
        return sorted(turned, key=lambda endpoint: endpoint.is_failing(now))

    def retire(self) -> None:
        """No new exchange uses it: see ``Endpoint.retire``."""
        for endpoint in self.endpoints:
            endpoint.retire()


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


def _reason(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return f"name not resolved ({exc.strerror})"
    return {
        errno.ECONNREFUSED: "connection refused",
        errno.EHOSTUNREACH: "no route to host",
        errno.ENETUNREACH: "network unreachable",
        errno.ENOENT: "no such socket file",
        errno.EACCES: "permission denied",
    }.get(exc.errno or 0, exc.strerror or str(exc))
