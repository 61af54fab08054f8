"""The admin listener, over the HTTP server of everything else: pages that tell (GET), changes (POST).

It has a context of its own, so that a drain, a limit or a plugin of the gateway never closes it, and it is
there before the first configuration runs and until the last exchange has ended. It always has room for one
more, whatever others hold open on it (``server/room.py``).

Any worker answers for all of them: what they tell lies in memory that they share, and what is wanted of them
goes over their parent (``desk.py``). Who may ask for what, ``guard.py`` says.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import trio

from blitz.config import Address, Answer, Config, Limits, Route, Timeouts, resolve
from blitz.errors import ConfigError, only_error
from blitz.http.heads import field_values, span_bytes
from blitz.log_tap import follow_log
from blitz.measures.exposition import OPENMETRICS, TEXT, wants_openmetrics
from blitz.measures.figures import STREAMS_DROPPED
from blitz.server.body_stream import collect
from blitz.server.context import ServerContext
from blitz.server.helper import keep_going
from blitz.server.listen import accept_loop, close_listener, wake_deaf
from blitz.server.local_response import Reply
from blitz.server.room import Reserve
from blitz.server.runtime import Runtime, assemble
from blitz.server.send_local import send_reply
from blitz.server.send_stream import TooSlow, send_stream
from blitz.server.shortages import Shortages
from blitz.server.tls import TlsSettings

from .actions import MAX_BODY, Operated, Refused, change, json_reply
from .events import EVENT_STREAM, Stream, event_stream, line_stream
from .guard import NO_STORE, text, why_not_changed, why_refused
from .notices import recent_faults
from .pages import config_page, plugins_page, routes_page, upstreams_page
from .report import Reporter

if TYPE_CHECKING:
    from blitz.server.exchange import Exchange

    from .desk import Desk

__all__ = ["Admin"]

LIMITS = Limits(max_head_size=16 * 1024, max_field_size=8 * 1024, max_body_size=MAX_BODY, max_connections=64)
# Of the same length, so that of two connections the one that waits for longer is closed first (room.py).
TIMEOUTS = Timeouts(head=5.0, keepalive=5.0, send_idle=5.0, total=30.0)
RESERVED = 8  # descriptors that nobody else can have
GRACE = 2.0  # seconds for what was asked when the gateway has ended: an idle client keeps one
MAX_STREAMS = 16  # of one process at once; the other places are for who asks and goes
PATIENCE = 4.0  # seconds a client has to take what is new of a stream
STREAM_HEAD = Reply(200, b"", EVENT_STREAM, (NO_STORE, (b"x-accel-buffering", b"no")))
Page = Callable[[Any, bytes], Reply | Stream]


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
        self._pages: dict[bytes, Page] = {
            b"/livez": self._livez,
            b"/readyz": self._readyz,
            b"/status": self._status,
            b"/metrics": self._metrics,
            b"/config": self._config,
            b"/routes": self._routes,
            b"/plugins": self._plugins,
            b"/upstreams": self._upstreams,
            b"/faults": self._faults,
            b"/events": self._events,
            b"/logs": self._logs,
        }
        self._gateway: Operated | None = None
        self._context: ServerContext | None = None
        self._streams = 0
        self.addresses: list[tuple[str, int]] = [
            one.getsockname()[:2] for one in listeners if one.family != socket.AF_UNIX
        ]

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
        context = self._context = ServerContext(_runtime(self._serve), reserve, self._shortages)
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
            follow_log(None)
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

    def open(self, context: ServerContext, desk: Desk) -> None:
        """The gateway serves from now on."""
        self._gateway = Operated(context, desk, self.reporter)
        told = self.reporter.told
        context.faults.on_fault = told.fault
        context.access_log.tap = told.access.show
        follow_log(told.lines.show)

    # -- one request

    async def _serve(self, exchange: Exchange) -> bool:
        """See ``run_exchange``."""
        try:
            answer = await self._answer(exchange)
        except Refused as refused:
            answer = refused.reply
        if isinstance(answer, Reply):
            return await send_reply(exchange, answer, None)
        try:
            return await self._stream(exchange, answer)
        except TooSlow:
            self.reporter.measures.count(STREAMS_DROPPED)
            raise

    async def _answer(self, exchange: Exchange) -> Reply | Stream:
        request = exchange.request
        path, _, query = span_bytes(request, request.target).partition(b"?")
        refused = why_refused(request, path, self._token)
        if refused is not None:
            return refused
        page = self._pages.get(path)
        method = span_bytes(request, request.method)
        if method == b"POST" and page is None:
            return why_not_changed(request) or await self._change(exchange, path)
        if page is None:
            known = "\n".join(name.decode() for name in self._pages)
            return text(404, f"there is no such page; there are:\n{known}\n")
        if method not in (b"GET", b"HEAD"):
            return replace(text(405, "only GET and HEAD\n"), fields=(NO_STORE, (b"allow", b"GET, HEAD")))
        answer = page(request, query)
        if isinstance(answer, Reply) or method == b"GET":
            return answer
        return Reply(200, b"", EVENT_STREAM, (NO_STORE,))

    async def _change(self, exchange: Exchange, path: bytes) -> Reply:
        if exchange.expects_continue:
            await exchange.say_continue()
        body = await collect(exchange.body, MAX_BODY) if exchange.body is not None else b""
        return await change(self._operated(), path, body)

    async def _stream(self, exchange: Exchange, stream: Stream) -> bool:
        if self._streams >= MAX_STREAMS:
            busy = text(503, f"{MAX_STREAMS} streams are open in this process already\n")
            return await send_reply(exchange, busy, None)
        self._streams += 1
        try:
            return await send_stream(exchange, STREAM_HEAD, stream.next, PATIENCE)
        finally:
            self._streams -= 1

    def _operated(self) -> Operated:
        if self._gateway is None:
            raise Refused(json_reply(503, {"error": "starting: nothing runs yet"}))
        return self._gateway

    # -- pages

    def _livez(self, _: Any, query: bytes) -> Reply:
        return text(200, "ok\n")

    def _readyz(self, _: Any, query: bytes) -> Reply:
        trouble = self.reporter.why_not_ready()
        return text(503, f"{trouble}\n") if trouble else text(200, "ok\n")

    def _status(self, _: Any, query: bytes) -> Reply:
        return json_reply(200, self.reporter.status())

    def _metrics(self, request: Any, query: bytes) -> Reply:
        openmetrics = wants_openmetrics(field_values(request, b"accept"))
        kind = OPENMETRICS if openmetrics else TEXT
        vary = (b"vary", b"accept")
        return Reply(200, self.reporter.metrics(openmetrics=openmetrics), kind, (NO_STORE, vary))

    def _config(self, _: Any, query: bytes) -> Reply:
        return json_reply(200, config_page(self._operated().runtime.resolved))

    def _routes(self, _: Any, query: bytes) -> Reply:
        return json_reply(200, routes_page(self._operated().runtime.resolved))

    def _plugins(self, _: Any, query: bytes) -> Reply:
        return json_reply(200, plugins_page(self._operated().runtime, self.reporter.status()))

    def _upstreams(self, _: Any, query: bytes) -> Reply:
        return json_reply(200, upstreams_page(self._operated().runtime.resolved, self.reporter.status()))

    def _faults(self, _: Any, query: bytes) -> Reply:
        return json_reply(200, {"faults": recent_faults(self.reporter.notices)})

    def _events(self, _: Any, query: bytes) -> Stream:
        notices = self.reporter.notices
        since = _number(query, "since")
        return event_stream({"event": notices.events, "fault": notices.faults}, self._is_ending, since)

    def _logs(self, _: Any, query: bytes) -> Stream:
        notices = self.reporter.notices
        return line_stream({"log": notices.lines, "access": notices.access}, self._is_ending)

    def _is_ending(self) -> bool:
        return self._context is None or self._context.draining


def _number(query: bytes, name: str) -> float:
    """A number of seconds in the query; 0.0: it is not there."""
    said = parse_qs(query.decode("latin-1"), max_num_fields=8).get(name, ["0"])[-1]
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise Refused(json_reply(400, {"error": f"{name} is not a time: write seconds since the epoch"}))
    return number


def _runtime(serve: Callable[[Exchange], Awaitable[bool]]) -> Runtime:
    """A runtime that gives every request to *serve*."""
    routes = [Route(name="admin", answer=Answer())]
    resolved = resolve(Config(routes=routes, limits=LIMITS, timeouts=TIMEOUTS), {})
    return assemble(resolved, {}, TlsSettings(None, {}), serve)
