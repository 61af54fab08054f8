"""The fast path: most exchanges, without a line of Python.

An exchange is short when its head came in one read, no plugin wants the body of the answer, all say
"continue" (or one answers), and the answer's head came in one read too.
``native/fast_path.c`` runs them: every turn of the event loop it does for all its connections what is ready.
A connection's task sleeps in ``serve_short`` meanwhile.

Whatever is not short is handed over to the general path (``exchange.py``) at the step it has reached: a
``Handover`` holds what is there, and ``Connection.run`` goes on with it. The fast path decides nothing
that the general path would decide otherwise: the same tests run over both; limits, rules, counters are the
same.

trio waits for the fast path's epoll; when its loop comes back from waiting, an instrument hook
(``after_io_wait``) runs the fast path's turn: no task switch, and no system call to arm a wait.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientError, InternalError, UpstreamError
from blitz.http.buffer import Buffer
from blitz.measures.figures import EXCHANGES
from blitz.wasm.chain import CONTINUE, emit_log_of
from blitz.wasm.logs import finished_lines

from .access import AccessLine
from .deadline import DRAIN_IDLE, MAX_AT_ONCE, TICK
from .ends import note_broken
from .error_line import log_refusal
from .heads import span_bytes
from .helper import keep_going
from .local_response import build_local, build_reply
from .open_connection import OpenConnection
from .request_line import RequestLine
from .resting import Resting
from .route import find_route

if TYPE_CHECKING:
    from collections.abc import Callable

    from blitz.wasm.log_lines import FinishedLines

    from .endpoint import Endpoint, UpstreamConnection
    from .peer import Peer
    from .resources import Resources
    from .runtime import RouteEntry, Runtime

__all__ = [
    "CANCELLED",
    "CLOSED",
    "HEAD_BYTES",
    "RELOADED",
    "FastPath",
    "Handover",
    "serve_short",
    "shake_hands",
]

_log = logging.getLogger("blitz.server")

_HAND_OVER = lib.BLITZ_FAST_HAND_OVER
_STAYS = (lib.BLITZ_FAST_RETURNED, lib.BLITZ_FAST_LOGGED)
# By BLITZ_WAIT_*: what the general path calls that wait (``Timer.what``).
_WAITS = ("", "first byte", "answer body", "send", "request body", "send to upstream")

CANCELLED = "cut off: the gateway was cancelled"
CLOSED = "closed"  # the client has gone between two requests, or its last one has been answered
RELOADED = "reloaded"  # what runs now may have no fast path; the next request is there, unread
SHAKEN = "shaken"  # its TLS handshake is done
HEAD_BYTES = "head bytes"  # the first bytes of a request are in connection.buffer

SCRATCH_SIZE = 256 * 1024
MORE_SLOTS = 16  # when all are in use
ANSWER_SIZE = 64 * 1024  # of a response that comes in one read, and is sent in one
MAX_IDLE_SLOTS = 256  # kept for reuse: 4 MiB of head buffers


@dataclass(slots=True)
class Stream:
    """A body that was on its way when the fast path stopped.

    Attributes:
        is_response: of the response, whose head was sent; else of the request, whose head was sent.
        body: cffi ``blitz_body *``, how far it has come in.
        chunked: it goes out in chunked coding.
        closes: of the response: the connection ends with it.
        unsent: what came of it and was not sent yet, coded.
        failed: what ended it, BLITZ_BODY_* or BLITZ_STREAM_*; 0: nothing did.
    """

    is_response: bool
    body: Any
    chunked: bool
    closes: bool
    unsent: bytes
    failed: int


@dataclass(slots=True)
class Handover:
    """Where the fast path stopped with a complete request head in ``connection.buffer``.

    Attributes:
        cdata: the native exchange; its owner is whoever takes the handover.
        method, target: of the request as the client sent it.
        entry: the route, or None: nothing was decided yet.
        peer: the client, once plugins may have changed what it was found by.
        step: what the chain in cdata has come to; ``ChainRun.see_to`` takes it.
        upstream: the request was written to it; unsent is what is left of it.
        answer: holds what came of the answer; None: nothing was read yet.
        answer_size: bytes of its head, if plugins have been asked about it.
        answer_body: how its body comes in, with answer_size: what the head says of that may be theirs.
        failed: what came of its body, or without upstream of the request body, is none (BLITZ_BODY_*); or 0.
        stream: the body that is on its way; None: no one is.
        endpoint: where the request went, when the upstream connection is not needed any more.
        is_local: a response of our own is in cdata, and plugins have been asked about it.
        error: what that response tells of.
        unsent_answer: the answer was written to the client but for this; nothing else is left to do.
        closes: and the connection ends with it.
        body: cffi ``blitz_body *``, how the body of the request comes in, whatever plugins made of it;
            None: it has none. Known if decided.
        body_rate: cffi ``blitz_rate *``, what its sender owes; known with body.
        began: when the head was complete, on trio's clock.
        runtime: that it began on.
    """

    cdata: Any = None
    method: bytes = b""
    target: bytes = b""
    entry: RouteEntry | None = None
    peer: Peer | None = None
    step: int = CONTINUE
    upstream: UpstreamConnection | None = None
    unsent: bytes = b""
    answer: Buffer | None = None
    answer_size: int = 0
    answer_body: Any = None
    failed: int = 0
    stream: Stream | None = None
    endpoint: Endpoint | None = None
    is_local: bool = False
    error: BlitzError | None = None
    unsent_answer: bytes | None = None
    closes: bool = False
    body: Any = None
    body_rate: Any = None
    began: float = 0.0
    runtime: Runtime | None = None

    @property
    def decided(self) -> bool:
        """There is more than a request: the fast path knows where it goes."""
        return self.entry is not None or self.is_local


class ParkedConnection(OpenConnection, Protocol):
    """A client connection as the fast path sees it (``connection.py``).

    Attributes:
        buffer: a head with what follows it; the fast path puts it there when it stops.
        line: of the exchange that it stops in, or whose response it has nearly sent.
        served: exchanges that have ended.
    """

    buffer: Buffer | None
    line: AccessLine | None
    served: int

    def fast_path_options_for(self, peer: Peer, told_host: bytes = b"", minor: int = 1) -> Any:
        """cffi ``blitz_write_options *`` for requests of *peer*; alive until the next call."""
        ...

    def client_of(self, request: Any) -> Peer:
        """Who a request from a trusted proxy is for."""
        ...

    def take_back(self, begun: Handover) -> None:
        """The exchange of *begun* is the connection's: it ends as any other does, and goes no further."""
        ...


async def serve_short(fast_path: FastPath, connection: ParkedConnection) -> Handover | str:
    """Serve short exchanges until something else comes: a Handover, CLOSED, RELOADED or HEAD_BYTES.

    The connection has no buffer and nothing unread. Raises trio.BrokenResourceError.
    """
    parked = fast_path.enter(connection)

    def abort(_: RaiseCancelT) -> Abort:
        fast_path.leave(connection)
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)
    if parked.error:
        raise trio.BrokenResourceError(f"socket connection broken: {os.strerror(parked.error)}")
    return parked.stopped


async def shake_hands(fast_path: FastPath, connection: ParkedConnection, tls: Any) -> bool:
    """Have the handshake of *connection* done by C; *tls*: ``TlsStream.lend()``. False: whoever called has to
    go on with it, as it stands.

    Raises: trio.BrokenResourceError; ``tls.error`` says whether it was the handshake that failed.
    """
    parked = fast_path.enter_shaking(connection, tls)

    def abort(_: RaiseCancelT) -> Abort:
        fast_path.leave(connection)
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)
    if parked.error:
        raise trio.BrokenResourceError(f"socket connection broken: {os.strerror(parked.error)}")
    return bool(parked.stopped == SHAKEN)


@dataclass(slots=True)
class _Parked:
    """A connection on the fast path.

    Attributes:
        peer: the client of its present exchange.
        failed: what the last response of our own that is an error told of.
        stopped, error: why it left; error is an errno.
    """

    task: Task
    connection: ParkedConnection
    peer: Peer
    failed: BlitzError | None = None
    stopped: Handover | str = CLOSED
    error: int = 0


class FastPath(trio.abc.Instrument):
    """One per gateway. Start ``run`` once in its nursery; nothing may enter before that.

    Attributes:
        resting: the upstream connections that nobody uses now.
        runs: somebody runs it; else no connection may enter.
    """

    def __init__(self, context: Resources) -> None:
        self._context = context
        fast_path = lib.blitz_fast_new()
        if fast_path == ffi.NULL:
            raise InternalError(f"no fast path: {os.strerror(ffi.errno)}")
        self._native = ffi.gc(fast_path, lib.blitz_fast_free)
        self._face = lib.blitz_fast_face_of(fast_path)
        self._face.date = context.date
        self._face.date_len = len(context.date)
        self._face.counted = context.measures.cells(EXCHANGES)
        self._report = ffi.new("blitz_fast_report *")
        self._scratch = Buffer(SCRATCH_SIZE)
        self._answer = Buffer(ANSWER_SIZE)
        self._lend()
        self._slots: list[tuple[Buffer, Any]] = []  # what the native slots have been lent
        self._parked: dict[int, _Parked] = {}  # by descriptor
        self._entries: dict[int, RouteEntry] = {}  # by the ids of their native routes
        self.resting = Resting(self._native)
        # What an exchange that goes on here needs of Python; each returns what the fast path reports next.
        self._see_to: dict[int, Callable[[Any], int]] = {
            lib.BLITZ_FAST_ASK: self._route,
            lib.BLITZ_FAST_REPLY: self._reply,
            lib.BLITZ_FAST_LOGS: self._take_logs,
        }
        self._id_field = b""
        self._lines: FinishedLines | None = None
        self.runs = False
        self._entered = trio.Event()
        self._again: Task | None = None

    @property
    def in_flight(self) -> int:
        """Exchanges that run on the fast path and wait for their upstream."""
        return int(self._face.in_flight)

    @property
    def slots(self) -> tuple[int, int]:
        """How many buffers and exchanges the fast path holds, and how many of them are in use."""
        return len(self._slots), int(self._face.slots - self._face.free_slots)

    @property
    def parts(self) -> int:
        """Buffers of bodies that it holds: where a receiver does not take what came, and a few spare ones."""
        return int(self._face.parts)

    def in_hand(self, connection: OpenConnection) -> tuple[bytes, bytes, str, float] | None:
        """The exchange of *connection* that runs here: method, target, route, when it began (trio's time).
        None: it has none here."""
        fd = connection.stream.descriptor()
        if connection.exchange is not None or fd not in self._parked:
            return None
        report = ffi.new("blitz_fast_report *")
        lib.blitz_fast_look(self._native, fd, report)
        found = report.line
        if not found.method.len:
            return None
        method, target = (ffi.buffer(text.ptr, text.len)[:] for text in (found.method, found.target))
        route = self._entries[report.route.id].name.decode() if report.route != ffi.NULL else ""
        return method, target, route, found.began

    def take_exchanges(self) -> int:
        """Exchanges that have begun on the fast path since somebody last asked."""
        exchanges = int(self._face.exchanges)
        self._face.exchanges = 0
        return exchanges

    # -- what it runs on

    def run_on(self, runtime: Runtime) -> None:
        """New exchanges start on *runtime*; connections that wait are taken over with their next request."""
        face = self._face
        face.generation = (face.generation + 1) % 2**32
        if runtime.pools:  # else those of an earlier configuration may still have something to end
            face.engine = runtime.pools[0].plugin.engine.ptr
        face.limits = runtime.head_limits
        face.keepalive = runtime.timeouts.keepalive
        face.first_request = runtime.timeouts.head
        face.total = runtime.timeouts.total
        face.max_body = runtime.limits.max_body_size
        face.max_chunk_line = runtime.limits.max_chunk_line_size
        face.max_trailers = runtime.limits.max_trailer_size
        face.rate.owed = runtime.limits.min_body_rate if runtime.timeouts.body_grace else 0
        face.rate.grace = runtime.timeouts.body_grace
        self._id_field = runtime.request_id_header
        face.id_field.ptr = ffi.from_buffer("uint8_t[]", self._id_field)
        face.id_field.len = len(self._id_field)
        face.logged = runtime.resolved.log.access != "off"
        face.access_log = self._context.access_log.native
        # What was sent to an upstream under an earlier configuration ends under that.
        self._entries = {key: entry for key, entry in self._entries.items() if entry.short_route.in_flight}
        self._entries |= {entry.short_route.id: entry for entry in runtime.short_entries}
        for entry in runtime.short_entries:
            entry.short_route.measures = self._context.measures.route(entry.name.decode())
        self.resting.forget_old()
        self._collect_lines()
        face.route = _route_of_all(runtime) or ffi.NULL

    def _collect_lines(self) -> None:
        """Have lines of plugins finished without Python, if the log takes them so."""
        self._lines = finished_lines()
        self._face.lines = self._lines.native if self._lines is not None else ffi.NULL

    async def drain(self) -> None:
        """From now on nobody enters; whoever waits for a request does so in the general path.

        Thousands may wait: they go a few at a time, and to the last of them even when this is cancelled.
        """
        face = self._face
        face.draining = 1
        face.keepalive = face.first_request = DRAIN_IDLE  # of those whose response has begun
        report = ffi.new("blitz_fast_report *")
        woken = 0
        while lib.blitz_fast_next_idle(self._native, report):
            self._wake(report, RELOADED)
            woken += 1
            if woken % MAX_AT_ONCE == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()

    # -- coming and going

    def enter(self, connection: ParkedConnection) -> _Parked:
        """The present task sleeps from now on; the fast path wakes it. Raises trio.BrokenResourceError."""
        peer = connection.peer
        fd, tls = connection.stream.descriptor(), connection.stream.lend()
        # An idle connection needs no options: they are made with its first request, or anew after a reload.
        # Whoever has shaken hands is about to send one.
        likely = connection.served or tls != ffi.NULL
        options = connection.fast_path_options_for(peer) if likely else ffi.NULL
        parked = _Parked(current_task(), connection, peer)
        served, now = connection.served > 0, trio.current_time()
        failed = lib.blitz_fast_enter(self._native, fd, tls, peer.struct, options, peer.trusted, served, now)
        if failed:
            raise trio.BrokenResourceError(f"the fast path cannot watch it: {os.strerror(failed)}")
        connection.timer.disarm()
        self._parked[fd] = parked
        self._entered.set()
        return parked

    def enter_shaking(self, connection: ParkedConnection, tls: Any) -> _Parked:
        """The same for a connection whose TLS handshake has to be done; its timer goes on."""
        peer = connection.peer
        parked = _Parked(current_task(), connection, peer)
        fd = connection.stream.descriptor()
        failed = lib.blitz_fast_enter(self._native, fd, tls, ffi.NULL, ffi.NULL, 0, 0, trio.current_time())
        if failed:
            raise trio.BrokenResourceError(f"the fast path cannot watch it: {os.strerror(failed)}")
        self._parked[fd] = parked
        return parked

    def leave(self, connection: ParkedConnection) -> None:
        """Take a connection out, whatever it does."""
        fd = connection.stream.descriptor()
        report = ffi.new("blitz_fast_report *")
        lib.blitz_fast_leave(self._native, fd, report)
        if report.told:
            self._see_to_pools(report)
        if report.slot >= 0:
            # It has an exchange, which ends as any other does: with an answer, if its deadline has passed.
            connection.take_back(self._handover(report))
        del self._parked[fd]

    # -- the event loop

    async def run(self) -> None:
        """Take part in the loop for as long as the gateway runs."""
        trio.lowlevel.add_instrument(self)
        self.runs = True
        self._context.turns.start(self._keep_awake)
        try:
            async with trio.open_nursery() as nursery:
                lost = "those on the fast path do not time out"
                nursery.start_soon(keep_going, "deadlines of the fast path", lost, self._expire)
                nursery.start_soon(keep_going, "turns", "what is more than one turn waits", self._go_round)
                while True:
                    await trio.lowlevel.wait_readable(lib.blitz_fast_fileno(self._native))
        finally:
            self.runs = False
            trio.lowlevel.remove_instrument(self)
            lib.blitz_fast_close(self._native)
            self._context.turns.stop()

    def after_io_wait(self, timeout: float) -> None:
        """Called by trio's loop between waiting and running tasks.

        trio throws an instrument out that raises: what one connection does must not do that to all.
        """
        try:
            self._turn()
        except Exception:
            self._context.counters.internal_errors += 1
            _log.exception("internal error on the fast path")
            parked = self._parked.get(self._report.fd)
            if parked is not None:
                parked.connection.nursery.cancel_scope.cancel()

    def _turn(self) -> None:
        """Do what is ready, and what the fast path reports of it."""
        self._context.refresh_date()
        fast_path, report, turns = self._native, self._report, self._context.turns
        self._face.held = turns.held
        what = lib.blitz_fast_turn(fast_path, trio.current_time(), report)
        while what:
            while (see_to := self._see_to.get(what)) is not None:
                what = see_to(report)
            if what == lib.BLITZ_FAST_NO_SLOT:
                self._add_slots()
            elif what:
                self._take(what, report)
            what = lib.blitz_fast_go_on(fast_path, report)
        if self._lines is not None and self._lines.flush():
            self._collect_lines()  # somebody may have changed the log
        if turns.waiting:
            turns.next_pass(used_up=bool(self._face.used_up))
        if self._has_more:
            self._keep_awake()

    def _keep_awake(self) -> None:
        """Let the next pass come at once."""
        if self._again is not None:
            reschedule(self._again)
            self._again = None

    @property
    def _has_more(self) -> bool:
        """The next pass is to come at once, whether or not anything happens."""
        return bool(self._face.left) or self._context.turns.waiting

    async def _go_round(self) -> None:
        """Keep the loop from sleeping while there is more to do than one pass may take."""

        def abort(_: RaiseCancelT) -> Abort:
            self._again = None
            return Abort.SUCCEEDED

        while True:
            if not self._has_more:
                self._again = current_task()
                await wait_task_rescheduled(abort)
            await trio.lowlevel.checkpoint()

    async def _expire(self) -> None:
        """Look at the deadlines of those on the fast path."""
        report = ffi.new("blitz_fast_report *")
        while True:
            if not self._face.clients and not self._drop_slots():
                self._entered = trio.Event()
                await self._entered.wait()
            await trio.sleep(TICK)
            self._drop_slots()
            expired = 0
            while what := lib.blitz_fast_expired(self._native, trio.current_time(), report):
                if what == _HAND_OVER:
                    self._take(what, report)
                    continue
                timer = self._parked[report.fd].connection.timer
                waiting = "keepalive" if report.served else "first request"
                if report.waiting:
                    waiting = "total" if report.is_total else _WAITS[report.waiting]
                timer.what = waiting
                timer.expired = True
                timer.expire()
                expired += 1
                if expired % MAX_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()

    # -- reports

    def _route(self, report: Any) -> int:
        """A short request waits for its route."""
        parked = self._parked[report.fd]
        connection, runtime = parked.connection, self._context.runtime
        request = self._slots[report.slot][1].request
        native = options = ffi.NULL
        entry = None
        try:
            if report.route != ffi.NULL:  # the plugins that run before a route is chosen have run
                entry = find_route(runtime.router, request)
            else:
                parked.peer = connection.client_of(request) if connection.peer.trusted else connection.peer
                entry = runtime.before_entry or find_route(runtime.router, request)
        except UpstreamError as error:
            return self._answer_without_route(report, parked, error)
        except ClientError:
            pass  # the general path finds it again, and says it
        peer = parked.peer
        if entry is not None and entry.short_route is not None:
            native = entry.short_route
            tells = entry.cluster is not None and entry.cluster.host
            told = span_bytes(request, request.host) if tells else b""
            options = connection.fast_path_options_for(peer, told, request.minor)
        return int(lib.blitz_fast_route_it(self._native, report.fd, native, peer.struct, options, report))

    def _answer_without_route(self, report: Any, parked: _Parked, error: UpstreamError) -> int:
        """No route matches a short request."""
        cdata = self._slots[report.slot][1]
        asked = self.in_hand(parked.connection)
        assert asked is not None
        parked.failed = error
        self._context.counters.upstream_errors += 1
        request_id = ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:].decode()
        line = RequestLine(asked[0], asked[1])
        log_refusal(self._context.access, parked.peer, line, error.status_hint, error, request_id)
        build_local(cdata, error.status_hint, None)
        return int(lib.blitz_fast_respond(self._native, report.fd, lib.BLITZ_ANSWERED_WITH_ERROR, report))

    def _take_logs(self, report: Any) -> int:
        """A plugin has left log lines, and its exchange goes on."""
        pool = self._entries[report.route.id].chain.pools[report.index]
        emit_log_of(pool.instances[report.instance], self._slots[report.slot][1])
        return int(lib.blitz_fast_accept(self._native, report.fd, report))

    def _reply(self, report: Any) -> int:
        """The route of a short request gives the response."""
        entry, cdata = self._entries[report.route.id], self._slots[report.slot][1]
        assert entry.answer is not None
        build_reply(cdata, entry.answer(cdata.request))
        return int(lib.blitz_fast_respond(self._native, report.fd, lib.BLITZ_ANSWERED_BY_NONE, report))

    def _see_to_pools(self, report: Any) -> None:
        """Instances have come back that are worn, or that somebody waits for."""
        for pool in self._entries[report.route.id].chain.pools:
            pool.see_to_returned()

    def _take(self, what: int, report: Any) -> None:
        if what == lib.BLITZ_FAST_STIRRED:
            self.resting.stirred(report.fd)
            return
        if report.unfit >= 0:
            self._close_unfit(report)
        if report.returned >= 0:
            self.resting.give_back(self._upstream(report, report.returned))
        if report.told:
            self._see_to_pools(report)
        if what == lib.BLITZ_FAST_LOGGED and not report.line.method.len:
            self._context.access_log.wake()
        elif report.line.method.len and what != _HAND_OVER:
            self._end_line(what, report)
        if what == _HAND_OVER:
            self._wake(report, self._handover(report))
        elif what == lib.BLITZ_FAST_UNSENT:
            unsent = ffi.buffer(report.unsent, report.n_unsent)[:]
            self._wake(report, Handover(unsent_answer=unsent, closes=bool(report.closes)))
        elif what == lib.BLITZ_FAST_HEAD_BYTES:
            parked = self._parked[report.fd]
            buffer, cdata = self._take_slot(report)
            buffer.start = report.size
            parked.connection.buffer = buffer
            self._context.give_exchange(cdata)
            self._wake(report, HEAD_BYTES)
        elif what == lib.BLITZ_FAST_SHAKEN:
            self._wake(report, SHAKEN)
        elif what not in _STAYS:
            self._wake(report, RELOADED if what == lib.BLITZ_FAST_RELOADED else CLOSED, report.error)

    def _wake(self, report: Any, stopped: Handover | str, error: int = 0) -> None:
        parked = self._parked.pop(report.fd)
        parked.stopped = stopped
        parked.error = error
        parked.connection.served += report.served
        reschedule(parked.task)

    def _handover(self, report: Any) -> Handover:
        parked = self._parked[report.fd]
        connection = parked.connection
        connection.buffer, cdata = self._take_slot(report)
        connection.buffer.start = report.size
        connection.busy = True
        asked = report.line
        method, target = _bytes(asked.method), _bytes(asked.target)
        connection.line = self._line(report, method, target)
        self._tell_answer(connection.line, report)
        if report.route == ffi.NULL and not report.is_local:
            return Handover(cdata, method, target, began=report.began)
        entry = self._entries[report.route.id] if report.route != ffi.NULL else None
        begun = Handover(
            cdata,
            method,
            target,
            entry,
            parked.peer,
            report.step,
            answer_size=report.answer_size,
            failed=report.failed,
            is_local=bool(report.is_local),
            error=self._failed(report),
            began=report.began,
            runtime=self._context.runtime,
        )
        if report.request_body != ffi.NULL:
            begun.body = ffi.new("blitz_body *", report.request_body[0])
            begun.body_rate = ffi.new("blitz_rate *", report.rate[0])
        if report.upstream >= 0:
            begun.upstream = self._upstream(report, report.upstream)
            begun.endpoint = begun.upstream.endpoint
        if report.answer_read:
            begun.answer = self._copy(report.answer, report.answer_got)
            if report.answer_size:
                begun.answer_body = ffi.new("blitz_body *", report.body_state[0])
        unsent = ffi.buffer(report.unsent, report.n_unsent)[:] if report.n_unsent else b""
        if report.stream:
            assert entry is not None and entry.cluster is not None
            begun.endpoint = entry.cluster.endpoints[report.endpoint]
            body = ffi.new("blitz_body *", report.body_state[0])
            is_response = report.stream == lib.BLITZ_STREAM_RESPONSE
            begun.stream = Stream(
                is_response, body, bool(report.chunked), bool(report.closes), unsent, report.failed
            )
        else:
            begun.unsent = unsent
        return begun

    def _copy(self, ptr: Any, size: int) -> Buffer:
        """What of a response is here, in a buffer of the general path's."""
        buffers = self._context.buffers
        buffer = buffers.take()
        if size > buffer.size:
            buffers.give(buffer)
            buffer = Buffer(size)
        ffi.memmove(buffer.ptr, ptr, size)
        buffer.end = size
        return buffer

    def _close_unfit(self, report: Any) -> None:
        upstream = self._upstream(report, report.unfit)
        if report.unfit_why == lib.BLITZ_UNFIT_LOOK:
            upstream.close_unfit()
            return
        if report.unfit_why == lib.BLITZ_UNFIT_UNASKED:
            upstream.endpoint.note_unasked()
        upstream.close()

    def _line(self, report: Any, method: bytes, target: bytes) -> AccessLine:
        """The access line of the exchange in a report, begun."""
        found = report.line
        age = trio.current_time() - found.began
        line = AccessLine(self._context.access_log, method, target, f"1.{found.minor}", age=age)
        line.plugins_ns, line.upstream_ns = found.plugins_ns, found.upstream_ns
        if not self._face.logged:
            return line
        line.host, line.user_agent, line.referrer = map(
            _bytes, (found.host, found.user_agent, found.referrer)
        )
        return line

    def _end_line(self, what: int, report: Any) -> None:
        """The exchange in a report has ended on the fast path, but for the rest of its answer: its line."""
        parked, found = self._parked[report.fd], report.line
        line = self._line(report, _bytes(found.method), _bytes(found.target))
        line.sent = found.sent
        entry = line.entry = self._entries[report.route.id] if report.route != ffi.NULL else None
        line.received = found.received
        self._tell_answer(line, report)
        if entry is not None and entry.cluster is not None and report.answered < 0:
            line.upstream = entry.cluster.endpoints[report.endpoint].name
            line.tries = 1
        status = found.status
        if what == lib.BLITZ_FAST_BROKEN:
            note_broken(line)
            status = 0
        line.known = (ffi.buffer(found.id)[:].decode(), parked.peer, status)
        if what == lib.BLITZ_FAST_UNSENT:
            parked.connection.line = line
        else:
            line.write(*line.known)

    def _tell_answer(self, line: AccessLine, report: Any) -> None:
        """Where a response of our own comes from."""
        if report.answered >= 0:
            line.plugin = self._entries[report.route.id].chain.pools[report.answered].name
        failed = self._failed(report)
        if failed is not None:
            line.failed(failed)

    def _failed(self, report: Any) -> BlitzError | None:
        """What a response of our own tells of."""
        told = report.answered == lib.BLITZ_ANSWERED_WITH_ERROR
        return self._parked[report.fd].failed if told else None

    def _upstream(self, report: Any, fd: int) -> UpstreamConnection:
        """The connection behind a descriptor taken from the endpoint of the report's route."""
        cluster = self._entries[report.route.id].cluster
        assert cluster is not None
        endpoint: Endpoint = cluster.endpoints[report.endpoint]
        return endpoint.taken(fd)

    # -- what the fast path is lent

    def _lend(self) -> None:
        answer, scratch = self._answer, self._scratch
        lib.blitz_fast_lend(self._native, answer.ptr, answer.size, scratch.ptr, scratch.size)

    def _add_slots(self) -> None:
        for _ in range(MORE_SLOTS):
            index = lib.blitz_fast_add_slot(self._native)
            if index < 0:
                raise InternalError("out of memory for the fast path")
            self._slots.append((self._context.buffers.take(), self._context.take_exchange()))
            self._fill_slot(index)

    def _take_slot(self, report: Any) -> tuple[Buffer, Any]:
        """Buffer and exchange of the report's slot; it gets others instead."""
        index = report.slot
        buffer, cdata = self._slots[index]
        buffer.end = report.got
        self._slots[index] = (self._context.buffers.take(), self._context.take_exchange())
        self._fill_slot(index)
        return buffer, cdata

    def _fill_slot(self, index: int) -> None:
        buffer, cdata = self._slots[index]
        lib.blitz_fast_fill_slot(self._native, index, buffer.ptr, buffer.size, cdata)

    def _drop_slots(self) -> bool:
        """Give a few back if a busy moment has left many free; True: there may be more of them."""
        face = self._face
        for _ in range(MORE_SLOTS):
            if face.free_slots <= MAX_IDLE_SLOTS or lib.blitz_fast_drop_slot(self._native) < 0:
                return False
            self._slots.pop()
        return True


def _bytes(text: Any) -> bytes:
    """What a cffi ``blitz_text`` points to."""
    octets: bytes = ffi.buffer(text.ptr, text.len)[:] if text.len else b""
    return octets


def _route_of_all(runtime: Runtime) -> Any:
    """The native route of every request, or None: Python has to look at each."""
    only = runtime.router.only
    if runtime.before_entry is not None:
        return runtime.before_entry.short_route
    if only is None or (only.cluster is not None and only.cluster.host):
        return None  # what upstreams are told about the client names the host it asked for
    return only.short_route
