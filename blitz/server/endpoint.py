"""Connections to upstreams: a pool per endpoint, and clusters of endpoints.

A connection goes back to the pool only when it is clean as far as anybody can see: the last answer was
complete, the request was sent whole, nothing is left in its buffer, both sides agreed to keep it. While it
rests there, and once more before it is used again, anything that comes on it (data nobody asked for, or the
end) makes it unfit. What comes after that look is the answer to the next request, whoever sent it: an
upstream from which that is to be feared gets ``reuse = false`` or ``"client"``.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import trio
from trio.lowlevel import ParkingLot

from blitz._native import ffi, lib
from blitz.errors import InternalError, ShortageError, UpstreamError
from blitz.routing.balance import in_turn

from .connect import Dialer, why_not_connected
from .health import EndpointHealth
from .shortages import shortage
from .stream import ByteStream, SocketStream
from .tls_stream import TlsError, TlsStream

if TYPE_CHECKING:
    from .tls import ClientTls

__all__ = ["Cluster", "Endpoint", "EndpointAddress", "UpstreamConnection"]

_log = logging.getLogger("blitz.upstream")

AGE_SPREAD = 0.1  # of max_age: connections end up to so much earlier
FAILURE_PAUSE = 1.0  # seconds an endpoint that refused a connection is tried last
SAY_AGAIN = 10.0  # seconds between two lines about one endpoint that speaks unasked

Reuse = bool | Literal["client"]


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
        client: the client connection that it is for; None: it is for everybody's requests.
        fd: of its socket.
        born: when it was opened, a little earlier at random: those of one burst do not all end at once.
        watched: the fast path watches it.
    """

    __slots__ = ("_poll", "born", "client", "endpoint", "fd", "stream", "used", "watched")

    def __init__(self, endpoint: Endpoint, stream: ByteStream) -> None:
        self.endpoint = endpoint
        self.stream = stream
        self.fd = (stream.stream if isinstance(stream, TlsStream) else stream).fileno()
        self.born = trio.current_time() - random.uniform(0, AGE_SPREAD) * endpoint.max_age
        self.client: object = None
        self.used = 0
        self.watched = False
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

    def close_unfit(self) -> None:
        """Close one that was not quiet; if the upstream has said something, it is counted.

        Over TLS looking has taken the first byte.
        """
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if self.stream.receive_nowait(memoryview(bytearray(1))) > 0:
                self.endpoint.note_unasked()
        self.close()

    def end(self) -> None:
        """Close an idle connection in good order."""
        self.stream.finish()
        self.close()


class Endpoint:
    """One address of a cluster with its connections.

    Attributes:
        proxy_protocol: a connection begins with a header that names the client, and serves one exchange.
        reuse: who may use a connection again: everybody, nobody, or only the client that it was opened for.
        max_age: seconds after which none is used again; 0: as old as they like.
        live: open connections, idle ones included.
        unasked: connections that were closed because the upstream said on them what nobody had asked for.
        native: cffi ``blitz_endpoint *``, the idle connections.
        health: whether connections can be made.
    """

    __slots__ = (
        "_connections",
        "_dialer",
        "_host",
        "_lot",
        "_max_live",
        "_of_clients",
        "_said_unasked",
        "_tls",
        "address",
        "health",
        "live",
        "max_age",
        "name",
        "name_ptr",
        "native",
        "proxy_protocol",
        "reuse",
        "unasked",
    )

    def __init__(
        self,
        address: EndpointAddress,
        max_live: int,
        max_idle: int,
        idle_timeout: float,
        max_age: float = 0.0,
        *,
        upstream: str = "",
        tls: ClientTls | None = None,
        proxy_protocol: bool = False,
        reuse: Reuse = True,
    ) -> None:
        self.address = address
        self.max_age = max_age
        self.proxy_protocol = proxy_protocol
        self.reuse: Reuse = reuse
        self._tls = tls
        self._dialer = Dialer(address.host, address.port, address.path)
        self.name = str(address).encode()
        self.name_ptr = ffi.from_buffer("uint8_t[]", self.name)  # for exchanges: guests may ask for it
        native = lib.blitz_endpoint_new(0 if proxy_protocol or not reuse else max_idle, idle_timeout, max_age)
        if native == ffi.NULL:
            raise InternalError("out of memory for an endpoint")
        self.native = ffi.gc(native, lib.blitz_endpoint_free)
        self.native.shut = tls is not None or proxy_protocol or reuse is not True
        self._connections: dict[int, UpstreamConnection] = {}  # idle ones and those on the fast path
        self._of_clients: dict[object, UpstreamConnection] = {}  # idle ones that are for one client only
        self.unasked = 0
        self._said_unasked = float("-inf")
        self.live = 0
        self.health = EndpointHealth(str(address), upstream)
        self.native.fails_until = -math.inf
        self.native.name = {"ptr": self.name_ptr, "len": len(self.name)}
        self._host = b"localhost" if address.path else self.name
        self.native.host = {"ptr": ffi.from_buffer("uint8_t[]", self._host), "len": len(self._host)}
        self._max_live = max_live
        self._lot = ParkingLot()

    @property
    def idle(self) -> int:
        """Connections that wait for their next use."""
        return int(self.native.n)

    def take_idle(self, now: float, client: object) -> UpstreamConnection | None:
        """An idle connection for *client* that is still clean, or None. Unfit ones are closed on the way.

        One that has been idle for ``idle_timeout`` may be closed by the upstream this very moment, and one of
        ``max_age`` may lead to where the name was: unless it is the client's own, and housekeeping has not
        come to it yet, it is not used.
        """
        if self.reuse == "client":
            return self._take_own(client)
        taken = ffi.new("blitz_taken *")
        while (fd := lib.blitz_endpoint_take(self.native, now, taken)) >= 0:
            connection = self.taken(fd)
            if connection.is_quiet() and not taken.stale:
                return connection
            connection.close_unfit()
        return None

    def _take_own(self, client: object) -> UpstreamConnection | None:
        connection = self._of_clients.get(client)
        if connection is None or not self.take_out(connection):
            return None
        if connection.is_quiet():
            return connection
        connection.close_unfit()
        return None

    def idle_at(self, fd: int) -> UpstreamConnection | None:
        """The connection with that descriptor, if it is idle; then it is taken out."""
        connection = self._connections.get(fd)
        return connection if connection is not None and self.take_out(connection) else None

    def take_out(self, connection: UpstreamConnection) -> bool:
        """*connection* is idle no more; False: it was not."""
        fd = connection.fd
        if self._connections.get(fd) is not connection or lib.blitz_endpoint_remove(self.native, fd):
            return False
        self.taken(fd)
        return True

    def taken(self, fd: int) -> UpstreamConnection:
        """The connection that was taken out of ``native``."""
        connection = self._connections.pop(fd)
        if connection.client is not None:
            del self._of_clients[connection.client]
        return connection

    def give(self, connection: UpstreamConnection, now: float) -> None:
        """Take back a connection whose last exchange ended cleanly."""
        if lib.blitz_endpoint_give(self.native, connection.fd, connection.born, now):
            connection.end()
            return
        connection.used += 1
        self._connections[connection.fd] = connection
        if connection.client is not None:
            self._of_clients[connection.client] = connection
        self._tell_next()

    def client_gone(self, client: object) -> None:
        """Nobody can use the connection that is *client*'s any more."""
        connection = self._of_clients.get(client)
        if connection is not None and self.take_out(connection):
            connection.end()

    def note_unasked(self) -> None:
        """The upstream has said something on a connection on which nothing was asked."""
        self.unasked += 1
        now = trio.current_time()
        if now - self._said_unasked >= SAY_AGAIN:
            self._said_unasked = now
            _log.warning(
                "%s: said something that nobody had asked for; such connections are closed, %d so far. If it "
                'can be made to do that, set reuse to false or "client" for this upstream',
                self.address,
                self.unasked,
            )

    def _tell_next(self) -> None:
        if self._lot:
            self._lot.unpark()
        self.native.wanted = bool(self._lot)

    async def connect(self, timeout: float, client: object, preface: bytes = b"") -> UpstreamConnection:
        """A new connection for *client*; waits for a place when ``max_connections`` are open.

        Args:
            timeout: seconds for all of it, the TLS handshake included.
            preface: sent before anything else: a PROXY header.
        Raises:
            UpstreamError: 503 when no place became free in *timeout* seconds, 502 when refused, unreachable
                or not who it should be, 504 when there was no answer in time. All retryable: no request
                was sent.
            ShortageError: it cannot be made here; that says nothing about the endpoint.
        """
        with trio.move_on_after(timeout or float("inf")) as scope:
            while self._max_live and self.live >= self._max_live:
                if self.reuse == "client" and self._end_oldest():
                    continue
                self.native.wanted = True
                await self._lot.park()
                connection = self.take_idle(trio.current_time(), client)
                if connection is not None:
                    return connection
            self.live += 1
            try:
                stream = await self._open(preface)
            except BaseException:
                self.closed_one()
                raise
            self.health.works()
            connection = UpstreamConnection(self, stream)
            connection.client = client if self.reuse == "client" else None
            return connection
        assert scope.cancelled_caught
        if self._max_live and self.live >= self._max_live:
            self._note_failure("")
            raise UpstreamError(
                f"{self.address}: all {self._max_live} connections are busy", status=503, retryable=True
            )
        self._note_failure(f"no connection within {timeout:g} s")
        raise UpstreamError(f"{self.address}: no connection within {timeout:g} s", status=504, retryable=True)

    def closed_one(self) -> None:
        self.live -= 1
        self._tell_next()

    def take_health(self, health: EndpointHealth) -> None:
        """Of the same endpoint under an earlier configuration."""
        self.health = health
        self.native.fails_until = health.failed_at + FAILURE_PAUSE

    def _note_failure(self, cause: str) -> None:
        self.health.failed(cause)
        self.native.fails_until = self.health.failed_at + FAILURE_PAUSE

    def is_failing(self, now: float) -> bool:
        """The last connection could not be made, a moment ago."""
        return now < float(self.native.fails_until)

    def retire(self) -> None:
        """Keep no connection from now on: idle ones close now, the others when they are given back."""
        self.native.shut = True
        self.native.most = 0
        taken = ffi.new("blitz_taken *")
        while (fd := lib.blitz_endpoint_take(self.native, math.inf, taken)) >= 0:
            self.taken(fd).end()

    def _end_oldest(self) -> bool:
        """Somebody else needs the place of the connection that has been idle for longest."""
        fd = lib.blitz_endpoint_expire(self.native, math.inf)
        if fd >= 0:
            self.taken(fd).end()
        return bool(fd >= 0)

    def expire_idle(self, now: float) -> None:
        """Close idle connections that have been idle for too long, or are too old."""
        while (fd := lib.blitz_endpoint_expire(self.native, now)) >= 0:
            self.taken(fd).end()

    async def _open(self, preface: bytes) -> ByteStream:
        address = self.address
        try:
            stream = await self._dialer.dial()
        except OSError as exc:
            if number := shortage(exc):
                why = os.strerror(number)
                raise ShortageError(f"no connection to {address} can be made here: {why}", number) from exc
            raise self._failed(f"cannot connect: {why_not_connected(exc)}") from exc
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
        self._note_failure(why)
        return UpstreamError(f"{self.address}: {why}", status=502, retryable=True, cause="upstream_connect")

    async def _encrypt(self, stream: SocketStream, tls: ClientTls) -> TlsStream:
        encrypted = tls.wrap(stream, self.address.host)
        await encrypted.do_handshake()
        return encrypted


class Cluster:
    """Endpoints that are interchangeable, taken in turn; one that just failed is tried last.

    Attributes:
        native: cffi ``blitz_cluster *``: whose turn it is, for the fast path too.
    """

    __slots__ = ("_natives", "endpoints", "host", "name", "native")

    def __init__(self, name: str, endpoints: list[Endpoint], host: str = "") -> None:
        self.name = name
        self.endpoints = endpoints
        self.host = host.encode()
        self._natives = ffi.new("blitz_endpoint *[]", [endpoint.native for endpoint in endpoints])
        self.native = ffi.new("blitz_cluster *", {"n": len(endpoints), "endpoints": self._natives})
        if self.host:
            self.native.host = {"ptr": ffi.from_buffer("uint8_t[]", self.host), "len": len(self.host)}

    def order(self, now: float) -> list[Endpoint]:
        """Endpoints in the order in which this exchange should try them."""
        endpoints = self.endpoints
        if len(endpoints) == 1:
            return endpoints
        first = int(lib.blitz_cluster_turn(self.native, now))
        self.native.next = first + 1
        return in_turn(endpoints, first, lambda endpoint: endpoint.is_failing(now))

    def retire(self) -> None:
        """No new exchange uses it: see ``Endpoint.retire``."""
        for endpoint in self.endpoints:
            endpoint.retire()
