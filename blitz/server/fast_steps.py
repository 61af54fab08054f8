"""What an exchange of the fast path needs of Python and goes on with: its route, a response, log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.builtin.message import Message
from blitz.errors import ClientError, UpstreamError
from blitz.http.heads import span_bytes
from blitz.static.respond import REDIRECT
from blitz.wasm.logs import emit_log_of

from .ask_filters import NOW
from .error_line import log_refusal
from .local_response import build_error, build_reply
from .request_line import RequestLine
from .route import find_route
from .route_rules import rule_request
from .send_file import NotKnown, build_plan, plan_nowait

if TYPE_CHECKING:
    from collections.abc import Callable

    from blitz.static.respond import Site

    from .fast_tables import FastTables
    from .parked import Parked
    from .runtime import RouteEntry

__all__ = ["FastSteps"]


class FastSteps:
    """Those of the fast path of *tables*.

    Attributes:
        by_report: what to call with a report (cffi ``blitz_fast_report *``), by BLITZ_FAST_*; each returns
            what the fast path reports next.
    """

    __slots__ = ("_context", "_tables", "by_report")

    def __init__(self, tables: FastTables) -> None:
        self._tables = tables
        self._context = tables.context
        self.by_report: dict[int, Callable[[Any], int]] = {
            lib.BLITZ_FAST_ASK: self._route,
            lib.BLITZ_FAST_REPLY: self._reply,
            lib.BLITZ_FAST_LOGS: self._take_logs,
        }

    def _route(self, report: Any) -> int:
        """A short request waits for its route."""
        parked = self._tables.parked[report.fd]
        connection, runtime = parked.connection, self._context.runtime
        request = self._tables.slots.exchange(report.slot).request
        native = options = ffi.NULL
        entry = parked.identity = None
        try:
            if report.route != ffi.NULL:  # the plugins that run before a route is chosen have run
                entry = find_route(runtime.router, request, connection.peer.listener)
            else:
                parked.peer = connection.client_of(request) if connection.peer.trusted else connection.peer
                listener = connection.peer.listener
                entry = runtime.before_entry or find_route(runtime.router, request, listener)
            if entry.own is not None and not self._is_known(report, parked, entry):
                entry = None
        except UpstreamError as error:
            return self._answer_without_route(report, parked, error)
        except ClientError:
            entry = None  # the general path finds it again, and says it
        peer = parked.peer
        if entry is not None and entry.short_route is not None:
            native = entry.short_route
            told = span_bytes(request, request.host) if entry.tells_host else b""
            options = connection.fast_path_options_for(peer, told, request.minor)
        fast_path = self._tables.native
        return int(lib.blitz_fast_route_it(fast_path, report.fd, native, peer.struct, options, report))

    def _is_known(self, report: Any, parked: Parked, entry: RouteEntry) -> bool:
        """The filters of *entry* let the client pass at once; else the general path asks them. Raises
        ClientError."""
        if entry.short_route is None or entry.own is None or entry.own.auth is None:
            return False
        message = Message(
            self._tables.slots.exchange(report.slot), parked.peer.address, parked.peer.client_scheme
        )
        # What C borrows of it for plugins and edits is kept until the connection's next request.
        parked.identity = entry.own.auth.let_pass(message, NOW)
        return parked.identity is not None

    def _answer_without_route(self, report: Any, parked: Parked, error: UpstreamError) -> int:
        """No route matches a short request."""
        cdata = self._tables.slots.exchange(report.slot)
        asked = self._tables.in_hand(parked.connection)
        assert asked is not None
        parked.failed = error
        self._context.counters.upstream_errors += 1
        request_id = ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:].decode()
        line = RequestLine(asked[0], asked[1])
        log_refusal(self._context.access, parked.peer, line, error.status_hint, error, request_id)
        build_error(cdata, error)
        told = lib.BLITZ_ANSWERED_WITH_ERROR
        return int(lib.blitz_fast_respond(self._tables.native, report.fd, told, report))

    def _take_logs(self, report: Any) -> int:
        """A plugin has left log lines, and its exchange goes on."""
        pool = self._tables.entries[report.route.id].chain.pools[report.index]
        emit_log_of(pool.instances[report.instance], self._tables.slots.exchange(report.slot))
        return int(lib.blitz_fast_accept(self._tables.native, report.fd, report))

    def _reply(self, report: Any) -> int:
        """The route of a short request gives the response."""
        entry, cdata = self._tables.entries[report.route.id], self._tables.slots.exchange(report.slot)
        if entry.site is not None:
            return self._reply_with_file(entry, entry.site, report)
        assert entry.answer is not None
        build_reply(cdata, entry.answer(cdata.request))
        return int(lib.blitz_fast_respond(self._tables.native, report.fd, lib.BLITZ_ANSWERED_BY_NONE, report))

    def _reply_with_file(self, entry: RouteEntry, site: Site, report: Any) -> int:
        """The same, if the response is in memory: no disk is asked here, and no part follows another."""
        fast_path, cdata = self._tables.native, self._tables.slots.exchange(report.slot)
        answered = bool(entry.rules) and rule_request(entry.rules, cdata)
        if not answered:
            try:
                made = plan_nowait(self._context.files, site, cdata.request, b"")
            except NotKnown:
                return int(lib.blitz_fast_decline(fast_path, report.fd, report))
            if made.file is not None or made.status == REDIRECT:  # which names the target as it came
                return int(lib.blitz_fast_decline(fast_path, report.fd, report))
            build_plan(cdata, made)
            lib.blitz_kept_put(self._tables.kept, entry.short_route, cdata, made.until)
        return int(lib.blitz_fast_respond(fast_path, report.fd, lib.BLITZ_ANSWERED_BY_NONE, report))
