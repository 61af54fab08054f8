"""The access log: one line per exchange on standard output, by a writer that the event loop never waits for.

``native/access_line.c`` writes a line, and ``native/access_log.c`` keeps them until a thread takes all that
there are; those of the fast path come there without Python. While standard output takes nothing (a full pipe,
a slow disk) they pile up to MAX_PENDING; after that they are dropped and counted. A line is at most PIPE_BUF
bytes and goes to a pipe in one write with others up to that size, so that the lines of several workers never
mix.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import BlitzError, InternalError, PluginError
from blitz.http.heads import span_bytes
from blitz.http.rules import field_value
from blitz.text import one_line

from .access_format import MAX_ERROR
from .access_writer import LineWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from blitz.measures import Measures

    from .body_stream import Readable
    from .facts import ExchangeFacts
    from .peer import Peer
    from .request_line import RequestLine
    from .runtime import RouteEntry

__all__ = ["AccessLine", "AccessLog"]

_log = logging.getLogger("blitz.server")

STDOUT = 1
FLUSH_INTERVAL = 0.1  # seconds: at any load a write carries many lines, and nobody reads faster
MAX_PENDING = 8 * 1024 * 1024  # bytes: ten seconds of the busiest worker
KINDS = {
    "off": lib.BLITZ_ACCESS_OFF,
    "json": lib.BLITZ_ACCESS_JSON,
    "common": lib.BLITZ_ACCESS_COMMON,
    "combined": lib.BLITZ_ACCESS_COMBINED,
}
CLIENT_GONE = 499  # nginx's word for: the client went before there was an answer


class AccessLine:
    """What is remembered of an exchange until it is over: then it is counted, and its line written if there
    is a log.

    Attributes:
        plugins_ns, upstream_ns: what hooks and upstreams took of it.
        host, user_agent, referrer, identity, plugin, cause, error, upstream, tries: as in
            ``blitz_access_record``.
        entry: the route, when one was chosen.
        known: id, client and status, when nothing but the answer's rest is left to do.
        answer: the body that is relayed; else ``sent`` counts.
    """

    __slots__ = (
        "_http",
        "_log",
        "_method",
        "_target",
        "_time",
        "answer",
        "cause",
        "entry",
        "error",
        "host",
        "identity",
        "known",
        "plugin",
        "plugins_ns",
        "received",
        "referrer",
        "sent",
        "tries",
        "upstream",
        "upstream_ns",
        "user_agent",
    )

    def __init__(self, log: AccessLog, method: bytes, target: bytes, http: str, *, age: float = 0.0) -> None:
        """*age*: seconds since the request head was complete."""
        self._log = log
        self._http = http
        self._method = method
        self._target = target
        self._time = time.perf_counter() - age
        self.host = self.user_agent = self.referrer = self.upstream = self.identity = b""
        self.plugin = ""
        self.cause = ""
        self.error = ""
        self.received = 0
        self.sent = 0
        self.tries = 0
        self.plugins_ns = self.upstream_ns = 0
        self.answer: Readable | None = None
        self.entry: RouteEntry | None = None
        self.known: tuple[str, Peer, int] | None = None

    def hide_target(self, target: bytes) -> None:
        """The line shows *target*."""
        self._target = target

    def failed(self, error: BlitzError) -> None:
        """*error* decided the answer, or would have."""
        if isinstance(error, PluginError):
            self.plugin = error.plugin
        self.cut(error.cause, error.message)

    def cut(self, cause: str, message: str) -> None:
        """The exchange did not come to a proper end: *cause* is one of ``blitz.errors.CAUSES``."""
        self.cause = cause
        self.error = one_line(message[:MAX_ERROR])

    def sent_whole(self, size: int) -> None:
        """The response had a body of *size* bytes of ours; what came of another one stays here."""
        self.sent = size
        self.answer = None

    def end(self, exchange: ExchangeFacts) -> None:
        """The exchange is over; it still has everything."""
        body = exchange.body
        if body is not None:
            self.received += body.received
        if self.answer is not None:
            self.sent += self.answer.received
        self.entry = exchange.entry
        self.identity = exchange.identity.encode("utf-8", "replace")
        self.tries = exchange.tries
        self.plugins_ns, self.upstream_ns = exchange.spent_ns
        self.upstream = exchange.endpoint.name if exchange.endpoint is not None else b""
        self.write(exchange.request_id, exchange.peer, exchange.status)

    def write(self, request_id: str, peer: Peer, status: int) -> None:
        """The exchange is over: count it, and write the line. *status* 0: the client has gone."""
        duration = time.perf_counter() - self._time
        if not status:
            self.sent = 0
            self.cause = self.cause or "client_reset"
        self._log.measure(self, self._method, status or CLIENT_GONE, duration)
        if not self._log.is_on:
            return
        self._log.write(
            time=time.time() - duration,
            duration=duration,
            id=request_id.encode(),
            client=peer.address.encode(),
            method=self._method,
            target=self._target,
            http=self._http.encode(),
            status=status or CLIENT_GONE,
            received=self.received,
            sent=self.sent,
            scheme=peer.client_scheme.encode(),
            host=self.host,
            identity=self.identity,
            user_agent=self.user_agent,
            referrer=self.referrer,
            route=self.entry.name if self.entry is not None else b"",
            upstream=self.upstream,
            tries=self.tries,
            plugin=self.plugin.encode(),
            cause=self.cause.encode(),
            error=self.error[:MAX_ERROR].encode(),
        )


class AccessLog:
    """One per gateway. ``run`` writes what the other methods collect.

    Attributes:
        native: cffi ``blitz_access_log *``.
        is_on: lines are written.
        tap: called in a thread with lines that are written, each with its end; None: nobody follows them.

    Args:
        measures: where exchanges are counted; None: nowhere.
    """

    def __init__(self, kind: str = "off", fd: int = STDOUT, measures: Measures | None = None) -> None:
        self._measures = measures
        log = lib.blitz_access_log_new(MAX_PENDING)
        if log == ffi.NULL:
            raise InternalError("out of memory for the access log")
        self.native: Any = ffi.gc(log, lib.blitz_access_log_free)
        self.set_kind(kind)
        self._writer = LineWriter(fd)
        self.tap: Callable[[bytes], object] | None = None
        self._failing = False
        self._unwritten = 0
        self._said = 0
        self._wanted = trio.Event()
        self._limiter = trio.CapacityLimiter(1)

    def set_kind(self, kind: str) -> None:
        """*kind*: ``log.access``."""
        self.is_on = kind != "off"
        lib.blitz_access_log_set_kind(self.native, KINDS[kind])

    @property
    def dropped(self) -> int:
        """Lines that could not be written, so far."""
        return self._unwritten + int(lib.blitz_access_log_dropped(self.native))

    def begin(self, exchange: ExchangeFacts) -> AccessLine:
        """A request head is complete; plugins have not touched it."""
        request = exchange.request
        line = AccessLine(self, exchange.method, exchange.target, f"1.{request.minor}")
        if not self.is_on:
            return line
        line.host = span_bytes(request, request.host)
        line.user_agent = field_value(request, b"user-agent") or b""
        line.referrer = field_value(request, b"referer") or b""
        return line

    def refused(self, asked: RequestLine) -> AccessLine:
        """No exchange comes of what a client sent."""
        return AccessLine(self, asked.method, asked.target, asked.http)

    def measure(self, line: AccessLine, method: bytes, status: int, duration: float) -> None:
        """Count the exchange of *line*, whether or not there are any lines."""
        if self._measures is None:
            return
        name = line.entry.name.decode() if line.entry is not None else ""
        measured = {
            "method": {"ptr": ffi.from_buffer("uint8_t[]", method), "len": len(method)},
            "status": status,
            "total_ns": max(int(duration * 1e9), 0),
            "plugins_ns": line.plugins_ns,
            "upstream_ns": line.upstream_ns,
            "received": line.received,
            "sent": line.sent,
        }
        lib.blitz_route_measure(self._measures.route(name), ffi.new("blitz_measured *", measured))

    def write(self, **facts: Any) -> None:
        """Collect the line of these *facts*, members of ``blitz_access_record``, if there are any lines."""
        texts = []
        for name, value in facts.items():
            if isinstance(value, bytes):
                text = ffi.from_buffer("uint8_t[]", value)
                texts.append(text)
                facts[name] = (text, len(value))
        record = ffi.new("blitz_access_record *", facts)
        if lib.blitz_access_log_add(self.native, record):
            self.wake()

    def wake(self) -> None:
        """There is a line, and the writer sleeps."""
        self._wanted.set()

    async def run(self) -> None:
        """Write for ever; on cancellation what is left is written, if that takes no time."""
        try:
            while True:
                if lib.blitz_access_log_sleep(self.native):
                    self._wanted = trio.Event()
                    await self._wanted.wait()
                await self._write_out()
                await trio.sleep(FLUSH_INTERVAL)
        finally:
            with trio.move_on_after(FLUSH_INTERVAL) as scope:
                scope.shield = True
                await self._write_out()
            self._tell_lost()

    async def _write_out(self) -> None:
        block = lib.blitz_access_log_take(self.native)
        if block == ffi.NULL:
            return
        block = ffi.gc(block, lib.blitz_access_blocks_free)
        # Abandoned on cancellation: standard output may never take it.
        self._unwritten += await trio.to_thread.run_sync(
            self._write_blocks, block, abandon_on_cancel=True, limiter=self._limiter
        )
        self._tell_lost(self._writer.problem)

    def _write_blocks(self, first: Any) -> int:
        """In a thread, whose alone the blocks are. Returns how many lines could not be written."""
        lost, block = 0, first
        while block != ffi.NULL:
            lines = ffi.buffer(block.data, block.len)[:]
            lost += self._writer.write(lines)
            if self.tap is not None:
                self.tap(lines)
            block = block.next
        return lost

    def _tell_lost(self, problem: str = "") -> None:
        """Say that lines are being lost, once, and how many they were when that is over."""
        if problem:
            if not self._failing:
                _log.warning(
                    "standard output does not take the access log: %s; lines are dropped and counted", problem
                )
            self._failing = True
        elif self.dropped > self._said:
            _log.warning(
                "%d lines of the access log were lost: standard output did not take them",
                self.dropped - self._said,
                extra={"lost": self.dropped - self._said},
            )
            self._said = self.dropped
            self._failing = False
