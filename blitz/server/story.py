"""The way of one request in the gateway's log, step by step: what ``QUIC_LOG=debug`` and ``trace`` show.

Every line begins with the request's id. Without these levels there is no story, and the fast path serves
what it can; with them every exchange takes the general path, which tells. Sizes, names and times only: no
field values, no bodies, no queries.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from blitz._native import lib
from blitz.http.heads import span_bytes
from blitz.text import one_line

from .access_format import MAX_ERROR, MAX_SMALL, shown
from .error_line import path_of

if TYPE_CHECKING:
    from blitz.errors import BlitzError, PluginError

    from .access import AccessLine
    from .downstream import Downstream
    from .endpoint import Endpoint
    from .facts import ExchangeFacts
    from .runtime import RouteEntry
    from .upstream import Upstream

__all__ = ["Story", "is_wanted"]

TRACE = 5
_log = logging.getLogger("blitz.request")


def is_wanted() -> bool:
    """Somebody reads stories: the level is debug or trace."""
    return _log.isEnabledFor(logging.DEBUG)


class Story:
    """Of one exchange."""

    __slots__ = ("_began", "_id", "_mark", "_trace")

    def __init__(self, exchange: ExchangeFacts, downstream: Downstream) -> None:
        self._id = exchange.request_id
        self._began = self._mark = time.perf_counter()
        self._trace = _log.isEnabledFor(TRACE)
        request = exchange.request
        host = shown(span_bytes(request, request.host), MAX_ERROR) or "-"
        _log.debug(
            "%s: %s %s from %s for host %s",
            self._id,
            shown(exchange.method, MAX_SMALL),
            path_of(exchange.target),
            exchange.peer.address or "-",
            host,
        )
        self._detail(
            "request head: %d bytes, %d fields, HTTP/1.%d; request %d on this connection (%s)",
            _head_size(request),
            request.n_fields,
            request.minor,
            downstream.served + 1,
            exchange.peer.scheme,
        )
        if self._trace:
            why = _why_not_short(exchange, downstream)
            self._detail("fast path: %s", f"no, {why}" if why else "off while debug or trace is on")

    def _detail(self, sentence: str, *values: object) -> None:
        if self._trace:
            _log.log(TRACE, "%s: " + sentence, self._id, *values)

    # -- plugins

    def mark(self) -> None:
        """A plugin begins."""
        self._mark = time.perf_counter()

    def verdict(self, plugin: str, hook: str, verdict: str) -> None:
        """*plugin* has said ``continue`` or ``answer``; the time since ``mark`` is its own."""
        now = time.perf_counter()
        _log.debug(
            "%s: plugin %s, %s: %s, %.0f us", self._id, plugin, hook, verdict, (now - self._mark) * 1e6
        )
        self._mark = now

    def fault(self, error: PluginError, outcome: str) -> None:
        now = time.perf_counter()
        what = (error.hook or "-", error.kind, outcome or "the answer has begun", (now - self._mark) * 1e6)
        _log.debug("%s: plugin %s, %s: fault (%s), %s, %.0f us", self._id, error.plugin, *what)
        self._mark = now

    def collected(self, what: str, size: int, *, whole: bool) -> None:
        self._detail(
            "%s was held back for plugins: %d bytes, %s", what, size, "all of it" if whole else "a part"
        )

    # -- where it goes

    def route(self, entry: RouteEntry, *, moved: bool = False) -> None:
        sentence = "%s: plugins led it to route %s" if moved else "%s: route %s"
        _log.debug(sentence, self._id, entry.name.decode())
        if self._trace:
            why = _why_never_on(entry)
            self._detail("fast path: %s", f"not for this route, {why}" if why else "this route may take it")

    def trying(self, endpoint: Endpoint, tries: int, kept: Upstream | None) -> None:
        how = "a new connection" if kept is None else "a kept connection"
        _log.debug("%s: upstream %s, try %d, on %s", self._id, endpoint.address, tries, how)
        if kept is not None:
            self._detail("the kept connection has served %d exchanges", kept.used)

    def not_connected(self, error: BlitzError) -> None:
        _log.debug("%s: try failed: %s", self._id, one_line(error.message[:MAX_ERROR]))

    def fetch_failed(self, upstream: str, error: Exception) -> None:
        _log.debug(
            "%s: a plugin's fetch from %s failed: %s", self._id, upstream, one_line(str(error)[:MAX_ERROR])
        )

    def again(self, why: str) -> None:
        _log.debug("%s: tried again on a new connection: %s", self._id, one_line(why[:MAX_ERROR]))

    def sent_head(self, size: int, body: int, *, whole: bool) -> None:
        self._detail(
            "sent to the upstream: %d bytes, %d of them body%s", size, body, "" if whole else "; more follows"
        )

    def upstream_head(self, response: Any) -> None:
        self._detail(
            "answer of the upstream: status %d, head %d bytes, %d fields, body %s",
            response.status,
            _head_size(response),
            response.n_fields,
            _BODIES[response.body],
        )

    def kept(self, endpoint: Endpoint, *, kept: bool) -> None:
        self._detail("connection to %s: %s", endpoint.address, "kept for another" if kept else "closed")

    def end(self, status: int, line: AccessLine) -> None:
        """It is over; *status* 0: the client has gone."""
        said = f"answered {status}" if status else "not answered, the client has gone"
        why = f"; {line.cause}: {line.error}" if line.error else f"; {line.cause}" if line.cause else ""
        took = (time.perf_counter() - self._began) * 1e3
        _log.debug("%s: %s in %.3f ms%s", self._id, said, took, why)
        self._detail("bodies: %d bytes received, %d bytes sent", line.received, line.sent)


_BODIES = {
    lib.BLITZ_BODY_NONE: "none",
    lib.BLITZ_BODY_LENGTH: "by length",
    lib.BLITZ_BODY_CHUNKED: "chunked",
    lib.BLITZ_BODY_CLOSE: "until it closes",
}


def _head_size(head: Any) -> int:
    """As received, or as it would be written where h11 has read it."""
    return int(head.base_len) or sum(
        head.fields[i].name.len + head.fields[i].value.len + 4 for i in range(head.n_fields)
    )


def _why_not_short(exchange: ExchangeFacts, downstream: Downstream) -> str:
    """Why the fast path could not have served it, as far as its beginning tells; "" if it could."""
    request, runtime = exchange.request, exchange.runtime
    if not downstream.may_be_fast:
        return "C cannot read this connection: TLS that only Python drives, or no socket"
    if not runtime.short:
        parser = runtime.resolved.http.parser
        return "http.parser is h11" if parser == "h11" else "no route can be served by it"
    if request.body == lib.BLITZ_BODY_CHUNKED:
        return "the request's body is chunked"
    if not request.minor or not request.flags & lib.BLITZ_HEAD_KEEP_ALIVE:
        return "the connection ends with this request"
    return "" if request.flags == lib.BLITZ_HEAD_KEEP_ALIVE else "Expect or Upgrade"


def _why_never_on(entry: RouteEntry) -> str:
    if entry.cluster is None:
        return "the answer is the gateway's own"
    if entry.short_route is None:
        return "its plugins see bodies of answers, or may change what routes are chosen by"
    return ""
