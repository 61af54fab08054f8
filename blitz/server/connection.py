"""One client connection: heads in, exchanges run, answers out, until one side has had enough.

``serve_connection`` opens the connection's nursery, which owns all that the connection starts. What
goes wrong in here ends here: an error becomes one answer if no head was sent yet, then the
connection closes; nothing reaches the accept loop or another connection.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientError, ClientGone, CutOff, InternalError
from blitz.http.buffer import Buffer

from .answers import error_answer
from .back_pressure import send_patiently
from .deadline import DRAIN_IDLE, Timer
from .ends import note_broken, note_cancelled, note_late
from .exchange import Exchange
from .fast_path import CANCELLED, CLOSED, RELOADED, Handover, serve_short
from .send_request import drop_untrusted, set_host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .access import AccessLine
    from .context import ServerContext
    from .peer import Peer
    from .stream import ByteStream

__all__ = ["Connection", "linger", "serve_connection"]

_log = logging.getLogger("blitz.server")

MAX_EMPTY_LINES = 64  # before a request; nginx ignores any number, Envoy and HAProxy one
LINGER_TIME = 2.0  # seconds we go on reading after a last answer, so that a reset cannot destroy it
LINGER_SIZE = 1024 * 1024  # and at most so many bytes
CUT_GOODBYE_TIME = 1.0  # the same for one that a drain cuts off: its time is over
GOODBYE_TIME = 5.0  # seconds for sending an error answer after a deadline
CUT_OFF = 503  # the status in the line of an exchange that we ended without an answer
_CLOSE = lib.BLITZ_BODY_CLOSE


class Connection:
    """State of one client connection.

    Attributes:
        cut: why a drain ended it; None: it did not.
        buffer: receive buffer with the present head and what follows it; None while idle.
        timer: the deadline of the present wait; cancels the connection's nursery.
        busy: an exchange is running (drain lets it finish).
        introduced_as: minor version of HTTP/1 that ``upstream_options`` name in Via; -1 when what they say
            is true for the present exchange only.
        line: of the present exchange in the access log; None while that is off.
    """

    __slots__ = (
        "_fast_path_introduction",
        "_fast_path_options",
        "_introduction",
        "buffer",
        "busy",
        "client_options",
        "context",
        "cut",
        "exchange",
        "introduced_as",
        "line",
        "nursery",
        "peer",
        "served",
        "stream",
        "surplus",
        "timer",
        "upstream_options",
    )

    def __init__(self, context: ServerContext, stream: ByteStream, peer: Peer, nursery: trio.Nursery) -> None:
        self.context = context
        self.line: AccessLine | None = None
        self.stream = stream
        self.peer = peer
        self.nursery = nursery
        self.timer = Timer(context.wheel, nursery.cancel_scope.cancel)
        self.buffer: Buffer | None = None
        self.client_options: Any = None
        self.upstream_options: Any = None
        self._fast_path_options: Any = None
        self._fast_path_introduction = b""
        self.surplus = b""
        self.exchange: Exchange | None = None
        self.busy = False
        self.cut: CutOff | None = None
        self.served = 0
        self.introduced_as = 1
        self._introduction = b""

    async def run(self) -> None:
        """Serve exchanges until the connection ends. Raises what the last exchange raised."""
        context = self.context
        self.peer.trusted = context.runtime.trust.contains(self.peer.address)
        while True:
            begun: Handover | None = None
            if self.buffer is None:
                if self._may_be_short():
                    stopped = await serve_short(self)
                    if stopped == CLOSED:
                        return
                    if stopped == RELOADED:
                        continue
                    begun = stopped if isinstance(stopped, Handover) else None
                elif not await self._first_bytes():
                    return
            if self.client_options is None:
                self.make_options()
            if begun is not None:
                keep = await self._finish_short(begun)
            else:
                cdata = context.take_exchange()
                try:
                    if not await self._next_head(cdata):
                        return
                finally:
                    if not self.busy:
                        context.give_exchange(cdata)
                context.counters.exchanges += 1
                keep = await self._run_exchange(Exchange(self, cdata))
            if not keep:
                return
            self._settle_buffer()
            if self.buffer is not None:
                await checkpoint()  # pipelined requests may never wait for anything: others come first

    async def _run_exchange(self, exchange: Exchange, begun: Handover | None = None) -> bool:
        """Run one to its end; True when the connection goes on."""
        context = self.context
        self.exchange = exchange
        access = context.access
        if (access is not None or context.stories) and self.line is None:  # the fast path may have begun it
            self.line = context.access_log.begin(exchange)
        keep = await exchange.run(begun)
        self.timer.bound(0, "")
        if self.line is not None:
            self.end_line(self.line, exchange)
        exchange.close()
        self.exchange = None
        context.give_exchange(exchange.cdata)
        self.busy = False
        self.served += 1
        if not keep and exchange.must_linger:
            await linger(self.stream, context)
        return keep

    def end_line(self, line: AccessLine, exchange: Exchange) -> None:
        self.line = None
        line.end(exchange)

    def _end_known_line(self) -> None:
        """Write the line of an exchange of the fast path whose rest is not its business."""
        line = self.line
        if line is not None and line.known is not None:
            self.line = None
            line.write(*line.known)

    async def _finish_short(self, begun: Handover) -> bool:
        """Go on with what the fast path began."""
        if begun.unsent_answer is None:
            return await self._run_exchange(Exchange(self, begun.cdata, begun), begun)
        await self.send_rest(memoryview(begun.unsent_answer))
        self._end_known_line()
        return True

    def _may_be_short(self) -> bool:
        context = self.context
        return (
            context.runtime.short
            and not context.stories
            and not context.draining
            and self.stream.lend() is not None
        )

    def make_options(self) -> None:
        """Writer options, made with the first request: an idle connection needs none."""
        self.client_options = ffi.new("blitz_write_options *")
        options = self.upstream_options = ffi.new("blitz_write_options *")
        drop_untrusted(options)
        self.introduced_as = -1

    def client_of(self, request: Any) -> Peer:
        """Who a request from a trusted proxy is for."""
        self.introduced_as = -1
        return self.context.runtime.trust.client_behind(self.peer, request)

    def introduce(self, exchange: Exchange, minor: int, host: str = "") -> None:
        """Say to upstreams who the client is, that its request came as HTTP/1.*minor*, and for which *host*
        where they get another one."""
        self.introduced_as = -1 if host or exchange.peer is not self.peer else minor
        kind = exchange.runtime.resolved.http.forwarded
        lines = self._introduction = exchange.peer.introduction(minor, kind, host)
        self.upstream_options.extra = ffi.from_buffer("uint8_t[]", lines)
        self.upstream_options.extra_len = len(lines)

    def fast_path_options_for(self, peer: Peer, told_host: bytes = b"", host: bytes = b"") -> Any:
        """Writer options for requests of *peer* on the fast path; most times nothing has changed.

        Args:
            told_host: what upstreams are told that the client asked for, as in ``introduce``.
            host: for ``set_host``.
        """
        options = self._fast_path_options
        if options is None:
            options = self._fast_path_options = ffi.new("blitz_write_options *")
            drop_untrusted(options)
        lines = peer.introduction(
            1, self.context.runtime.resolved.http.forwarded, told_host.decode("latin-1")
        )
        if lines is not self._fast_path_introduction:
            self._fast_path_introduction = lines
            options.extra = ffi.from_buffer("uint8_t[]", lines)
            options.extra_len = len(lines)
        set_host(options, host)
        return options

    async def _next_head(self, cdata: Any) -> bool:
        """Read a request head; its first bytes are there. False when the client closed instead."""
        runtime = self.context.runtime
        buffer = self.buffer
        assert buffer is not None
        head = cdata.request
        timer = self.timer
        seen = 0
        empty = 0
        waiting = ""
        while True:
            if buffer.end > buffer.start:
                if not seen:
                    empty += self._skip_empty_lines(buffer)
                    if empty > MAX_EMPTY_LINES:
                        raise ClientError(f"more than {MAX_EMPTY_LINES} empty lines before a request")
                left = buffer.end - buffer.start
                ready = left > 1 or (left == 1 and buffer.data[buffer.start] != 13)
                size = runtime.reader.read_request(head, buffer, seen) if ready else 0
                if size:
                    buffer.start += size
                    self.busy = True
                    return True
                if not waiting:
                    # One deadline for the whole head, from its first byte (slow-loris), empty lines included.
                    waiting = "head" if ready else "keepalive"
                    timer.arm(runtime.timeouts.head, waiting)
                elif ready and waiting == timer.what == "keepalive":
                    waiting = timer.what = "head"  # the same deadline, but now there is something to answer
                seen = left if ready else 0
            if buffer.end == buffer.size:
                buffer = self._make_room(buffer, runtime.limits.max_head_size)
            got = await self.stream.receive_into(buffer.view[buffer.end :])
            if not got:
                if buffer.end > buffer.start:
                    raise ClientError("request head cut short", cause="client_reset")
                return False
            buffer.end += got

    async def _first_bytes(self) -> bool:
        """Wait for a request without holding a buffer, then read into one. False at end of stream."""
        context = self.context
        stream = self.stream
        self.arm_idle()
        await stream.wait_readable()
        buffer = self.buffer = context.buffers.take()
        got = stream.receive_nowait(buffer.view)
        if got < 0:
            got = await stream.receive_into(buffer.view)
        buffer.end = got
        return got > 0

    def arm_idle(self) -> None:
        """The deadline for the first byte of a request begins now."""
        timeouts = self.context.runtime.timeouts
        if self.context.draining:
            self.timer.arm(DRAIN_IDLE, "keepalive")
        elif self.served:
            self.timer.arm(timeouts.keepalive, "keepalive")
        else:
            self.timer.arm(timeouts.head, "first request")

    @staticmethod
    def _skip_empty_lines(buffer: Buffer) -> int:
        """Ignore empty lines before the request line (RFC 9112 section 2.2: one at least); how many."""
        start = buffer.start
        while buffer.end - buffer.start > 1 and buffer.data.startswith(b"\r\n", buffer.start):
            buffer.start += 2
        return (buffer.start - start) // 2

    def _make_room(self, buffer: Buffer, max_head_size: int) -> Buffer:
        if buffer.start:
            buffer.compact()
            return buffer
        bigger = buffer.grown(min(buffer.size * 4, max(max_head_size + 4096, buffer.size + 4096)))
        self.buffer = bigger
        return bigger

    def _settle_buffer(self) -> None:
        """Between exchanges: pipelined bytes move to the front, an empty buffer goes back."""
        buffer = self.buffer
        if buffer is None:
            return
        surplus = self.surplus
        if surplus:
            self.surplus = b""
            buffer.compact()
            if len(surplus) > buffer.size - buffer.end:
                buffer = buffer.grown(buffer.end + len(surplus) + 4096)
                self.buffer = buffer
            buffer.view[buffer.end : buffer.end + len(surplus)] = surplus
            buffer.end += len(surplus)
        if buffer.start == buffer.end:
            self.buffer = None
            self.context.buffers.give(buffer)

    def drain(self) -> None:
        """No keep-alive from now on; an idle client may still send a request for a moment."""
        if not self.busy and self.buffer is None:
            self.timer.arm(DRAIN_IDLE, "keepalive")

    def cut_off(self, why: CutOff) -> None:
        """End the exchange that runs: with an answer that says so, if none has begun."""
        self.cut = why
        self.timer.expired = True
        self.timer.expire()

    async def send(self, data: memoryview | bytes) -> None:
        """Send all of *data*; it may be overwritten as soon as this waits."""
        sent = self.stream.send_nowait(data)
        if sent < len(data):
            await self.send_rest(memoryview(bytes(data[sent:])))

    async def send_rest(self, data: memoryview) -> None:
        """Send *data*, which stays as it is; as long as the client takes some of it."""
        await send_patiently(self.stream, data, self.timer, self.context.runtime.timeouts.send_idle, "send")


async def linger(stream: ByteStream, context: ServerContext) -> None:
    """Say that this was all and read for a while what the client is still sending."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        with trio.move_on_after(LINGER_TIME):
            await stream.send_eof()
            left = LINGER_SIZE
            while left > 0:
                got = await stream.receive_into(context.unread.view)
                if not got:
                    break
                left -= got


async def serve_connection(
    context: ServerContext,
    stream: ByteStream,
    peer: Peer,
    arrive: Callable[[Connection], Awaitable[None]] | None = None,
) -> None:
    """Serve one client connection and close it. Never raises but on cancellation from outside.

    Args:
        arrive: what comes before HTTP; may give the connection another stream and peer.
    """
    connection: Connection | None = None
    error: BlitzError | None = None
    context.counters.connections += 1
    try:
        async with trio.open_nursery() as nursery:
            connection = Connection(context, stream, peer, nursery)
            context.connections.add(connection)
            try:
                if arrive is not None:
                    connection.timer.arm(context.runtime.timeouts.handshake, "handshake")
                    await arrive(connection)
                await connection.run()
            except ClientGone as exc:
                if connection.line is not None:
                    connection.line.failed(exc)
            except BlitzError as exc:
                error = exc
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                note_broken(connection.line)
            except Exception as exc:
                context.counters.internal_errors += 1
                _log.exception("internal error on a connection from %s", peer.address)
                error = InternalError(str(exc))
            nursery.cancel_scope.cancel()
        assert connection is not None
        if connection.timer.expired and error is None:
            error = connection.cut or _late(connection)
        if error is not None:
            with trio.move_on_after(CUT_GOODBYE_TIME if connection.cut else GOODBYE_TIME):
                await error_answer(connection, error)
                if not _is_cut(connection):
                    await linger(connection.stream, context)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    except Exception:
        # A fault of ours in a task of the connection or while saying goodbye. It ends here: what one
        # connection does must never reach the nursery that holds all of them.
        context.counters.internal_errors += 1
        _log.exception("internal error at the end of a connection from %s", peer.address)
    except BaseException:  # cancelled from outside
        if connection is not None:
            _note_cancelled(connection)
        raise
    finally:
        if connection is not None:
            stream = connection.stream
            if _is_cut(connection):
                stream.reset()
            elif connection.exchange is None:
                stream.finish()
            context.closed(connection)
            connection.timer.disarm()
            _release(connection)
        stream.close()
        # Its traceback knows this frame, and that all the buffers: a cycle, until the collector comes.
        error = connection = None


def _note_cancelled(connection: Connection) -> None:
    """The line of an exchange that we end must not say that its client has gone."""
    exchange = connection.exchange
    if connection.line is None or exchange is None:
        return
    connection.line.failed(CutOff(CANCELLED))
    exchange.status = exchange.status or CutOff.status_hint


def _is_cut(connection: Connection) -> bool:
    """An answer that ends with the connection was not finished: its end must not look like one."""
    exchange = connection.exchange
    return exchange is not None and exchange.head_sent and connection.client_options.body == _CLOSE


def _late(connection: Connection) -> BlitzError | None:
    """What a passed deadline means for the client; None: close without a word."""
    connection.context.counters.timeouts += 1
    what = connection.timer.what
    if what in ("handshake", "keepalive", "first request", "send"):
        note_late(connection.line, what)
        return None
    if what == "head":
        return ClientError("request head took too long (timeouts.head)", status=408)
    assert connection.exchange is not None
    error = connection.exchange.late(what)
    if error is None:
        note_late(connection.line, what)
    return error


def _release(connection: Connection) -> None:
    exchange = connection.exchange
    if connection.line is not None and connection.line.known is not None:
        note_cancelled(connection.line)
        connection._end_known_line()
    if exchange is not None:
        if connection.line is not None:
            if note_cancelled(connection.line) and not exchange.status:
                exchange.status = CUT_OFF
            connection.end_line(connection.line, exchange)
        exchange.close()
        connection.context.give_exchange(exchange.cdata)
        connection.exchange = None
    if connection.buffer is not None:
        connection.context.buffers.give(connection.buffer)
        connection.buffer = None
