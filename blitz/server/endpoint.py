"""Connections to upstreams: a pool per endpoint. Which endpoint is used is ``cluster.py``.

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
from typing import TYPE_CHECKING, Any, Literal

import trio
from trio.lowlevel import ParkingLot

from blitz._native import ffi, lib
from blitz.errors import InternalError, ShortageError, UpstreamError
from blitz.routing.check import CheckState

from .connect import Dialer, why_not_connected
from .health import EndpointHealth
from .shortages import shortage
from .stream import ByteStream, SocketStream
from .tls_stream import TlsError, TlsStream

if TYPE_CHECKING:
    from .tls import ClientTls

__all__ = ["Endpoint", "EndpointAddress", "UpstreamConnection"]

_log = logging.getLogger("blitz.upstream")

AGE_SPREAD = 0.1  # of max_age: connections end up to so much earlier
BUSY_PAUSE = 1.0  # seconds an endpoint that had no place for a request is tried last
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
        check: what health checks say; None: there are none.
    """

    __slots__ = (
        "_connections",
        "_dialer",
        "_host",
        "_lot",
        "_max_live",
        "_max_pending",
        "_of_clients",
        "_said_ejections",
        "_said_unasked",
        "_text",
        "_tls",
        "_tls_name",
        "_upstream",
        "address",
        "check",
        "health",
        "keep",
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
        max_pending: int = 0,
        weight: float = 1.0,
        host: str = "",
    ) -> None:
        """
        Args:
            max_live: connections at most, 0: any number. max_pending: requests that wait for one, the same.
            host: what *address* is one address of: a certificate has to be for it, and a Host field says it.
        """
        self.address = address
        self.max_age = max_age
        self.proxy_protocol = proxy_protocol
        self.reuse: Reuse = reuse
        self._tls = tls
        self._tls_name = host or address.host
        self._upstream = upstream
        self._max_pending = max_pending
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
        self.check: CheckState | None = None
        self.keep: object = None  # what ``native`` points to beyond this
        self._said_ejections = 0
        self._text: list[Any] = []
        self.native.weight = weight
        self.native.key = lib.blitz_balance_hash(self.name_ptr, len(self.name))
        self.native.name = {"ptr": self.name_ptr, "len": len(self.name)}
        named = str(EndpointAddress(host, address.port)).encode() if host else self.name
        self._host = b"localhost" if address.path else named
        self.native.host = {"ptr": ffi.from_buffer("uint8_t[]", self._host), "len": len(self._host)}
        self._max_live = max_live
        self._lot = ParkingLot()

    @property
    def own_host(self) -> bytes:
        """For a Host field of a request that brings none."""
        return self._host

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
                self._check_pending()
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
            self.health.failed("")
            self.native.fails_until = max(self.native.fails_until, trio.current_time() + BUSY_PAUSE)
            raise UpstreamError(
                f"{self.address}: all {self._max_live} connections are busy", status=503, retryable=True
            )
        self._note_failure(f"no connection within {timeout:g} s")
        raise UpstreamError(f"{self.address}: no connection within {timeout:g} s", status=504, retryable=True)

    def closed_one(self) -> None:
        self.live -= 1
        self._tell_next()

    def _check_pending(self) -> None:
        """One more request would wait for a connection."""
        waiting = self._lot.statistics().tasks_waiting
        if self._max_pending and waiting >= self._max_pending:
            raise UpstreamError(
                f"{self.address}: all {self._max_live} connections are busy, and {waiting} requests wait "
                "for one (max_pending)",
                status=503,
                retryable=True,
            )

    def take_health(self, old: Endpoint) -> None:
        """What was found out about the same endpoint under an earlier configuration."""
        self.health = old.health
        self._said_ejections = self.native.ejections = old.native.ejections
        self.native.fails_until = old.native.fails_until
        if self.check is not None and old.check is not None and self.check.is_like(old.check):
            self.check = old.check
            self.native.back_since = old.native.back_since
            self.native.state = self._checked_state

    def set_token(self, token: bytes, set_cookie: bytes) -> None:
        """What a sticky cookie calls it, and the field that sets it."""
        texts = self._text = [ffi.from_buffer("uint8_t[]", text) for text in (token, set_cookie)]
        self.native.token = {"ptr": texts[0], "len": len(token)}
        self.native.set_cookie = {"ptr": texts[1], "len": len(set_cookie)}

    def _note_failure(self, cause: str) -> None:
        self.health.failed(cause)
        self.failed()

    def failed(self) -> None:
        """It has failed at a request."""
        lib.blitz_endpoint_failed(self.native, trio.current_time())

    def checked(self, why: str | None) -> None:
        """A health check has ended, see ``CheckState.end``."""
        check = self.check
        assert check is not None
        if not check.end(why):
            return
        state = self._checked_state
        if not self.leaves and not self.drained:
            self.native.state = state
        if check.up:
            self.native.back_since = trio.current_time()
            self._say("%s is up again, health checks say")
        else:
            self._say("%s is down: health checks failed %d times, the last one: %s", check.fall, check.why)

    def look(self) -> None:
        """Say what has changed since the last look."""
        ejections = int(self.native.ejections)
        if ejections != self._said_ejections and self.health.down_since is None:
            seconds = max(float(self.native.fails_until) - trio.current_time(), 0.0)
            self._say("%s is left out: it failed at requests, the next one is in %.1f s", seconds)
        self._said_ejections = ejections

    def _say(self, sentence: str, *values: object) -> None:
        extra = {"upstream": self._upstream, "endpoint": str(self.address)}
        _log.warning("upstream %s: " + sentence, self._upstream, self.address, *values, extra=extra)

    @property
    def _checked_state(self) -> int:
        up = self.check is None or self.check.up
        return int(lib.BLITZ_ENDPOINT_READY if up else lib.BLITZ_ENDPOINT_DOWN)

    @property
    def drained(self) -> bool:
        """An operator says that it gets no new request."""
        return bool(self.native.state == lib.BLITZ_ENDPOINT_DRAINED)

    def drain(self, *, wanted: bool) -> None:
        """No new request from now on, or again as health checks say; what it has in hand goes on."""
        if self.leaves or wanted == self.drained:
            return
        self.native.state = lib.BLITZ_ENDPOINT_DRAINED if wanted else self._checked_state
        self._say("%s gets no new request: it is drained" if wanted else "%s gets requests again")

    @property
    def leaves(self) -> bool:
        """No new exchange gets it: its name has other addresses now."""
        return bool(self.native.state == lib.BLITZ_ENDPOINT_LEAVING)

    def leave(self) -> None:
        """Its name has other addresses now: what it has in hand it finishes."""
        self.native.state = lib.BLITZ_ENDPOINT_LEAVING
        self.retire()

    def is_failing(self, now: float) -> bool:
        """It has failed too often, a moment ago."""
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
            return await self.open_apart(preface)
        except OSError as exc:
            if number := shortage(exc):
                why = os.strerror(number)
                raise ShortageError(f"no connection to {address} can be made here: {why}", number) from exc
            raise self._failed(f"cannot connect: {why_not_connected(exc)}") from exc
        except (TlsError, trio.BrokenResourceError) as exc:
            raise self._failed(str(exc)) from exc

    async def open_apart(self, preface: bytes) -> ByteStream:
        """A connection that is nobody's and counts nowhere.

        Raises: OSError, TlsError, trio.BrokenResourceError.
        """
        stream = await self._dialer.dial()
        try:
            if preface:
                await stream.send_rest(memoryview(preface))
            return stream if self._tls is None else await self._encrypt(stream, self._tls)
        except BaseException:
            stream.close()
            raise

    def _failed(self, why: str) -> UpstreamError:
        self._note_failure(why)
        return UpstreamError(f"{self.address}: {why}", status=502, retryable=True, cause="upstream_connect")

    async def _encrypt(self, stream: SocketStream, tls: ClientTls) -> TlsStream:
        encrypted = tls.wrap(stream, self._tls_name)
        await encrypted.do_handshake()
        return encrypted
