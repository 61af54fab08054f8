"""The access log: one line per exchange on standard output, by a writer that the event loop never waits for.

Lines are collected and handed to a thread in one piece. While standard output takes nothing (a full pipe,
a slow disk) they pile up to MAX_PENDING; after that they are dropped and counted. A line is at most
PIPE_BUF bytes and goes to a pipe in one write with others up to that size, so that the lines of several
workers never mix.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

from blitz.errors import BlitzError, PluginError
from blitz.http.rules import field_value
from blitz.text import one_line

from .access_format import MAX_ERROR, MAX_SMALL, MAX_TARGET, Record, encode, shown
from .access_writer import LineWriter
from .heads import span_bytes

if TYPE_CHECKING:
    from .body_stream import IncomingBody
    from .facts import ExchangeFacts
    from .peer import Peer
    from .request_line import RequestLine
    from .runtime import RouteEntry

__all__ = ["AccessLine", "AccessLog", "Record"]

_log = logging.getLogger("blitz.server")

STDOUT = 1
FLUSH_INTERVAL = 0.1  # seconds: at any load a write carries many lines, and nobody reads faster
MAX_PENDING = 8 * 1024 * 1024  # bytes: ten seconds of the busiest worker
CLIENT_GONE = 499  # nginx's word for: the client went before there was an answer


class AccessLine:
    """What is remembered of an exchange until its line is written.

    Attributes:
        host, user_agent, referrer, plugin, cause, error, upstream, tries: as in ``Record``.
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
        "known",
        "plugin",
        "received",
        "referrer",
        "sent",
        "tries",
        "upstream",
        "user_agent",
    )

    def __init__(self, log: AccessLog, method: bytes, target: bytes, http: str, *, age: float = 0.0) -> None:
        """*age*: seconds since the request head was complete."""
        self._log = log
        self._http = http
        self._method = method
        self._target = target
        self._time = time.perf_counter() - age
        self.host = self.user_agent = self.referrer = self.upstream = b""
        self.plugin = ""
        self.cause = ""
        self.error = ""
        self.received = 0
        self.sent = 0
        self.tries = 0
        self.answer: IncomingBody | None = None
        self.entry: RouteEntry | None = None
        self.known: tuple[str, Peer, int] | None = None

    def failed(self, error: BlitzError) -> None:
        """*error* decided the answer, or would have."""
        if isinstance(error, PluginError):
            self.plugin = error.plugin
        self.cut(error.cause, error.message)

    def cut(self, cause: str, message: str) -> None:
        """The exchange did not come to a proper end: *cause* is one of ``blitz.errors.CAUSES``."""
        self.cause = cause
        self.error = one_line(message[:MAX_ERROR])

    def end(self, exchange: ExchangeFacts) -> None:
        """Write the line; *exchange* still has everything."""
        body = exchange.body
        if body is not None:
            self.received += body.received
        if self.answer is not None:
            self.sent += self.answer.received
        self.entry = exchange.entry
        self.tries = exchange.tries
        self.upstream = exchange.endpoint.name if exchange.endpoint is not None else b""
        self.write(exchange.request_id, exchange.peer, exchange.status)

    def write(self, request_id: str, peer: Peer, status: int) -> None:
        """The exchange is over: write the line. *status* 0: the client has gone."""
        duration = time.perf_counter() - self._time
        if not status:
            self.sent = 0
            self.cause = self.cause or "client_reset"
        self._log.write(
            Record(
                time=self._log.stamp(time.time() - duration),
                id=request_id,
                client=peer.address,
                method=shown(self._method, MAX_SMALL),
                target=shown(self._target, MAX_TARGET),
                http=self._http,
                status=status or CLIENT_GONE,
                received=self.received,
                sent=self.sent,
                duration=round(duration, 6),
                scheme=peer.client_scheme,
                host=shown(self.host, MAX_ERROR),
                user_agent=shown(self.user_agent, MAX_ERROR),
                referrer=shown(self.referrer, MAX_ERROR),
                route=self.entry.name.decode() if self.entry is not None else "",
                upstream=shown(self.upstream, MAX_ERROR),
                tries=self.tries,
                plugin=self.plugin,
                cause=self.cause,
                error=self.error[:MAX_ERROR],
            )
        )


class AccessLog:
    """One per gateway. ``run`` writes what the other methods collect.

    Attributes:
        kind: ``log.access``.
        dropped: lines that could not be written, so far.
    """

    def __init__(self, kind: str = "off", fd: int = STDOUT) -> None:
        self.kind = kind
        self.dropped = 0
        self._writer = LineWriter(fd)
        self._failing = False
        self._lines: list[bytes] = []
        self._size = 0
        self._said = 0
        self._wanted = trio.Event()
        self._second = -1
        self._prefix = ""
        self._limiter = trio.CapacityLimiter(1)

    def begin(self, exchange: ExchangeFacts) -> AccessLine:
        """A request head is complete; plugins have not touched it."""
        request = exchange.request
        line = AccessLine(self, exchange.method, exchange.target, f"1.{request.minor}")
        line.host = span_bytes(request, request.host)
        line.user_agent = field_value(request, b"user-agent") or b""
        line.referrer = field_value(request, b"referer") or b""
        return line

    def refused(self, asked: RequestLine) -> AccessLine:
        """No exchange comes of what a client sent."""
        return AccessLine(self, asked.method, asked.target, asked.http)

    def stamp(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{int((now - second) * 1000):03d}Z"

    def write(self, record: Record) -> None:
        """Collect a line, if there are any."""
        if self.kind == "off":
            return
        line = encode(record, self.kind)
        if self._size > MAX_PENDING:
            self.dropped += 1
            return
        self._lines.append(line + b"\n")
        self._size += len(line) + 1
        if len(self._lines) == 1:
            self._wanted.set()

    async def run(self) -> None:
        """Write for ever; on cancellation what is left is written, if that takes no time."""
        try:
            while True:
                if not self._lines:
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
        lines, self._lines = self._lines, []
        self._size = 0
        if not lines:
            return
        # Abandoned on cancellation: standard output may never take it.
        self.dropped += await trio.to_thread.run_sync(
            self._writer.write, lines, abandon_on_cancel=True, limiter=self._limiter
        )
        self._tell_lost(self._writer.problem)

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
