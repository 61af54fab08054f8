"""The access log: one line per exchange on standard output, by a writer that the event loop never waits for.

Lines are collected and handed to a thread in one piece. While standard output takes nothing (a full pipe,
a slow disk) they pile up to MAX_PENDING; after that they are dropped and counted. A line is at most
PIPE_BUF bytes and goes to a pipe in one write with others up to that size, so that the lines of several
workers never mix.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from blitz._native import ffi, lib
from blitz.errors import BlitzError, PluginError
from blitz.text import one_line

from .access_writer import LineWriter
from .heads import span_bytes

if TYPE_CHECKING:
    from .connection import Connection
    from .exchange import Exchange
    from .incoming import IncomingBody
    from .peer import Peer
    from .runtime import RouteEntry

__all__ = ["AccessLine", "AccessLog"]

_log = logging.getLogger("blitz.server")

STDOUT = 1
FLUSH_INTERVAL = 0.1  # seconds: at any load a write carries many lines, and nobody reads faster
MAX_PENDING = 8 * 1024 * 1024  # bytes: ten seconds of the busiest worker
MAX_TARGET = 2048  # characters of a target; the rest is replaced by "..."
MAX_ERROR = 300
CLIENT_GONE = 499  # nginx's word for: the client went before there was an answer


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of ``log.access = "json"``.

    Attributes:
        time: RFC 3339, when the request head was complete. duration: seconds from then to the answer's end.
        id: of the request; a fault and an error answer name the same one.
        received, sent: bytes of the bodies, without their framing; of a tunnel all bytes.
        route, upstream: "" when none was chosen.
        plugin: the last one that answered or failed. error: why there is no proper answer.
    """

    time: str
    id: str
    client: str
    method: str
    target: str
    http: str
    status: int
    received: int
    sent: int
    duration: float
    route: str = ""
    upstream: str = ""
    plugin: str = ""
    error: str = ""


class AccessLine:
    """What is remembered of an exchange until its line is written.

    Attributes:
        plugin, error, upstream: as in ``Record``. entry: the route, when one was chosen.
        answer: the body that is relayed; else ``sent`` counts.
    """

    __slots__ = (
        "_http",
        "_log",
        "_method",
        "_target",
        "_time",
        "answer",
        "entry",
        "error",
        "plugin",
        "received",
        "sent",
        "upstream",
    )

    def __init__(self, log: AccessLog, method: bytes, target: bytes, http: str, *, age: float = 0.0) -> None:
        """*age*: seconds since the request head was complete."""
        self._log = log
        self._http = http
        self._method = method
        self._target = target
        self._time = time.perf_counter() - age
        self.plugin = ""
        self.error = ""
        self.received = 0
        self.sent = 0
        self.answer: IncomingBody | None = None
        self.entry: RouteEntry | None = None
        self.upstream = b""

    def failed(self, error: BlitzError) -> None:
        """*error* decided the answer, or would have."""
        if isinstance(error, PluginError):
            self.plugin = error.plugin
        self.error = one_line(error.message[:MAX_ERROR])

    def end(self, exchange: Exchange) -> None:
        """Write the line; *exchange* still has everything."""
        upstream = exchange.cdata.upstream
        body = exchange.body
        if body is not None:
            self.received += body.received
        if self.answer is not None:
            self.sent += self.answer.received
        self.entry = exchange.entry
        self.upstream = ffi.buffer(upstream.ptr, upstream.len)[:] if upstream.len else b""
        self.write(exchange.request_id, exchange.peer, exchange.status)

    def write(self, request_id: str, peer: Peer, status: int) -> None:
        """The exchange is over: write the line. *status* 0: the client has gone."""
        duration = time.perf_counter() - self._time
        self._log.write(
            Record(
                time=self._log.stamp(time.time() - duration),
                id=request_id,
                client=peer.address,
                method=_text(self._method, MAX_TARGET),
                target=_text(self._target, MAX_TARGET),
                http=self._http,
                status=status or CLIENT_GONE,
                received=self.received,
                sent=self.sent,
                duration=round(duration, 6),
                route=self.entry.name.decode() if self.entry is not None else "",
                upstream=_text(self.upstream, MAX_ERROR),
                plugin=self.plugin,
                error=self.error[:MAX_ERROR],
            )
        )


class AccessLog:
    """One per gateway. ``run`` writes what the other methods collect.

    Attributes:
        kind: ``off``, ``json`` or ``common``.
        dropped: lines that could not be written, so far.
    """

    def __init__(self, kind: str = "off", fd: int = STDOUT) -> None:
        self.kind = kind
        self.dropped = 0
        self._writer = LineWriter(fd)
        self._failing = False
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._size = 0
        self._said = 0
        self._wanted = trio.Event()
        self._second = -1
        self._prefix = ""
        self._limiter = trio.CapacityLimiter(1)

    def begin(self, exchange: Exchange) -> AccessLine:
        """A request head is complete; plugins have not touched it."""
        request = exchange.request
        return AccessLine(self, exchange.method, span_bytes(request, request.target), f"1.{request.minor}")

    def refused(self, connection: Connection, cdata: Any, error: BlitzError) -> None:
        """*error* was answered, or not, outside of an exchange: no request came, or the short lane
        waited in vain for its answer. *cdata* has the id that the answer tells."""
        line, connection.line = connection.line or AccessLine(self, b"", b"", ""), None
        line.failed(error)
        octets: bytes = ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:]
        line.write(octets.decode(), connection.peer, error.status_hint)

    def stamp(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{int((now - second) * 1000):03d}Z"

    def write(self, record: Record) -> None:
        """Collect a line."""
        line = self._encode(record) if self.kind == "json" else _common(record)
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


def _common(record: Record) -> bytes:
    """NCSA Common Log Format, and the request id behind it."""
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.strptime(record.time[:19], "%Y-%m-%dT%H:%M:%S"))
    request = "-"
    if record.method:
        request = f"{record.method} {record.target} HTTP/{record.http}".replace("\\", "\\\\").replace(
            '"', '\\"'
        )
    return (
        f'{record.client or "-"} - - [{when}] "{request}" {record.status} {record.sent or "-"} {record.id}'
    ).encode()


def _text(octets: bytes, most: int) -> str:
    text = octets.decode("ascii", "backslashreplace")
    return text if len(text) <= most else text[: most - 3] + "..."
