"""The admin listener: ``/livez``, ``/readyz``, ``/status`` and ``/metrics`` over the same HTTP server as
everything else.

It has a context of its own, so that a drain, a limit or a plugin of the gateway never closes it, and it is
there before the first configuration runs and until the last exchange has ended. It always has room for one
more, whatever others hold open on it (``server/room.py``).

Who may look: where no token is set, whoever reaches the address, under a name that no other site can point to
it (an address, or localhost: a page in a browser of this machine must not read it through a name of its own,
DNS rebinding). With a token, ``/status`` and ``/metrics`` want it; the other two say nothing that a probe
may not know.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import trio

from blitz.config import Address, Answer, Config, Limits, Route, Timeouts, resolve
from blitz.errors import ConfigError, only_error
from blitz.http.heads import field_values, span_bytes
from blitz.measures.exposition import OPENMETRICS, TEXT, wants_openmetrics
from blitz.server.context import ServerContext
from blitz.server.helper import keep_going
from blitz.server.listen import accept_loop, close_listener, wake_deaf
from blitz.server.local_response import Handler, Reply
from blitz.server.room import Reserve
from blitz.server.runtime import Runtime, assemble
from blitz.server.shortages import Shortages
from blitz.server.tls import TlsSettings

from .report import Reporter

__all__ = ["Admin"]

LIMITS = Limits(max_head_size=16 * 1024, max_field_size=8 * 1024, max_body_size=1, max_connections=64)
# Of the same length, so that of two connections the one that waits for longer is closed first (room.py).
TIMEOUTS = Timeouts(head=5.0, keepalive=5.0, send_idle=5.0, total=30.0)
RESERVED = 8  # descriptors that nobody else can have
GRACE = 2.0  # seconds for what was asked when the gateway has ended: an idle client keeps one
JSON = b"application/json"
NO_STORE = (b"cache-control", b"no-store")


class Admin:
    """The listener with its pages; ``serve`` it around the life of a gateway.

    Args:
        shortages: of the process: a listener dies, descriptors run out here too.
    Attributes:
        reporter: what the pages say.
    """

    def __init__(
        self,
        reporter: Reporter,
        listeners: Sequence[socket.socket],
        token: str,
        shortages: Shortages | None = None,
    ) -> None:
        self.reporter = reporter
        self._shortages = shortages
        self._listeners = listeners
        self._token = token.encode()
        self._pages: dict[bytes, Callable[[Any], Reply]] = {
            b"/livez": self._livez,
            b"/readyz": self._readyz,
            b"/status": self._status,
            b"/metrics": self._metrics,
        }
        # Those that say more than a probe may know: with a token, they want it.
        self._secret = (b"/status", b"/metrics")
        self.addresses: list[tuple[str, int]] = [one.getsockname()[:2] for one in listeners]

    def check_token(self, token: str) -> None:
        """May *token* be the one that is asked for? The listener may be on another address than a
        configuration says that was loaded later.

        Raises:
            ConfigError: other machines reach the listener, and there is none.
        """
        if not token and not all(Address(host, port).is_loopback for host, port in self.addresses):
            raise ConfigError(
                "other machines reach the admin listener, and there is no token; "
                "set admin.token, or start anew with admin.listen on 127.0.0.1"
            )

    def take_token(self, token: str) -> None:
        """Ask for *token* from now on; "": for none."""
        self._token = token.encode()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Answer while the body runs; closes the listeners."""
        if not self._listeners:
            yield
            return
        reserve = Reserve(RESERVED)
        context = ServerContext(_runtime(self.answer), reserve, self._shortages)
        try:
            self.check_token(self._token.decode())
            async with trio.open_nursery() as nursery:
                lost = "nothing times out on the admin listener"
                nursery.start_soon(keep_going, "deadlines of operators", lost, context.wheel.run)
                async with trio.open_nursery() as connections:
                    for listener in self._listeners:
                        accept = partial(accept_loop, listener, context, connections)
                        nursery.start_soon(keep_going, "the admin listener", "new connections wait", accept)
                    yield
                    self._drain(context)
                    connections.cancel_scope.deadline = trio.current_time() + GRACE
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            error = only_error(group)
            if error is None:
                raise
            raise error from None
        finally:
            for listener in self._listeners:
                close_listener(listener)
            context.pipes.close()
            reserve.close()

    def look_after(self) -> None:
        """Once a second: is there a listener that is dead and does not tell?"""
        wake_deaf(self._listeners)

    def _drain(self, context: ServerContext) -> None:
        """Answer whoever has connected to this process; the next ones come to another, if there is one."""
        context.draining = True
        for listener in self._listeners:
            close_listener(listener)
        for connection in list(context.connections):
            connection.drain()

    def answer(self, request: Any) -> Reply:
        """The answer to a request (its head, cffi ``blitz_head *``)."""
        token = self._token
        path = span_bytes(request, request.target).partition(b"?")[0]
        page = self._pages.get(path)
        if not token and not _is_local_name(span_bytes(request, request.host)):
            return _text(421, "use an address or localhost as the name of this host, or set admin.token\n")
        if page is None:
            known = "\n".join(name.decode() for name in self._pages)
            return _text(404, f"there is no such page; there are:\n{known}\n")
        if span_bytes(request, request.method) not in (b"GET", b"HEAD"):
            return replace(_text(405, "only GET and HEAD\n"), fields=(NO_STORE, (b"allow", b"GET, HEAD")))
        if token and path in self._secret and not _has_token(request, token):
            challenge = (b"www-authenticate", b'Bearer realm="blitz"')
            return replace(_text(401, "admin.token is wanted\n"), fields=(NO_STORE, challenge))
        return page(request)

    def _livez(self, _: Any) -> Reply:
        return _text(200, "ok\n")

    def _readyz(self, _: Any) -> Reply:
        trouble = self.reporter.why_not_ready()
        return _text(503, f"{trouble}\n") if trouble else _text(200, "ok\n")

    def _status(self, _: Any) -> Reply:
        body = msgspec.json.format(msgspec.json.encode(self.reporter.status()), indent=2)
        return Reply(200, body + b"\n", JSON, (NO_STORE,))

    def _metrics(self, request: Any) -> Reply:
        openmetrics = wants_openmetrics(field_values(request, b"accept"))
        kind = OPENMETRICS if openmetrics else TEXT
        vary = (b"vary", b"accept")
        return Reply(200, self.reporter.metrics(openmetrics=openmetrics), kind, (NO_STORE, vary))


def _text(status: int, body: str) -> Reply:
    return Reply(status, body.encode(), fields=(NO_STORE,))


def _has_token(request: Any, token: bytes) -> bool:
    values = field_values(request, b"authorization")
    if len(values) != 1:
        return False
    scheme, _, given = values[0].partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)


def _is_local_name(authority: bytes) -> bool:
    host = authority.decode("latin-1")
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if host.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _runtime(handler: Handler) -> Runtime:
    """A runtime that gives every request to *handler*."""
    routes = [Route(name="admin", answer=Answer())]
    resolved = resolve(Config(routes=routes, limits=LIMITS, timeouts=TIMEOUTS), {})
    return assemble(resolved, {}, TlsSettings(None, {}), handler)
