"""The fast path: most exchanges, without a line of Python.

An exchange is short when its head came in one read, no plugin wants the body of the answer, all say
"continue" (or one answers), and the answer's head came in one read too.
``native/fast_path.c`` runs them: every turn of the event loop it does for all its connections what is ready.
A connection that was accepted has no task meanwhile (``accepted.py``); a task sleeps in ``serve_short``.

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
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from blitz._native import ffi, lib
from blitz.measures.figures import EXCHANGES
from blitz.wasm.logs import finished_lines

from .client_watch import ClientWatch
from .deadline import DRAIN_IDLE, MAX_AT_ONCE, TICK, sleep_until
from .fast_report import FastReports
from .fast_steps import FastSteps
from .fast_tables import FastTables
from .handover import CLOSED, HEAD_BYTES, RELOADED, SHAKEN, Handover
from .helper import keep_going
from .parked import Parked
from .resting import Resting

if TYPE_CHECKING:
    from blitz.wasm.log_lines import FinishedLines

    from .open_connection import OpenConnection
    from .parked import Keeper, ParkedConnection
    from .resources import Resources
    from .runtime import Runtime

__all__ = ["FastPath", "serve_short", "shake_hands"]

_log = logging.getLogger("blitz.server")

_HAND_OVER = lib.BLITZ_FAST_HAND_OVER
_STAYS = (lib.BLITZ_FAST_RETURNED, lib.BLITZ_FAST_LOGGED)
# By BLITZ_WAIT_*: what the general path calls that wait (``Timer.what``).
_WAITS = ("", "first byte", "answer body", "send", "request body", "send to upstream")


async def serve_short(fast_path: FastPath, connection: ParkedConnection) -> Handover | str:
    """Serve short exchanges until something else comes: a Handover, CLOSED, RELOADED or HEAD_BYTES.

    The connection has no buffer and nothing unread. Raises trio.BrokenResourceError.
    """
    parked = fast_path.enter(connection, None)

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
    parked = fast_path.enter_shaking(connection, tls, None)

    def abort(_: RaiseCancelT) -> Abort:
        fast_path.leave(connection)
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)
    if parked.error:
        raise trio.BrokenResourceError(f"socket connection broken: {os.strerror(parked.error)}")
    return bool(parked.stopped == SHAKEN)


class FastPath(trio.abc.Instrument):
    """One per gateway. Start ``run`` once in its nursery; nothing may enter before that.

    Attributes:
        resting: the upstream connections that nobody uses now.
        clients: those whose exchanges run on the general path.
        runs: somebody runs it; else no connection may enter.
    """

    def __init__(self, context: Resources) -> None:
        self._context = context
        self._tables = FastTables(context)
        self._reports = FastReports(self._tables)
        self._steps = FastSteps(self._tables).by_report
        self._native, self._face = self._tables.native, self._tables.face
        self._face.counted = context.measures.cells(EXCHANGES)
        self._report = ffi.new("blitz_fast_report *")
        self.resting = Resting(self._native)
        self.clients = ClientWatch(self._native, lambda: self.runs)
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
        return len(self._tables.slots), int(self._face.slots - self._face.free_slots)

    @property
    def parts(self) -> int:
        """Buffers of bodies that it holds: where a receiver does not take what came, and a few spare ones."""
        return int(self._face.parts)

    def holds(self, connection: OpenConnection) -> bool:
        """It is on the fast path now."""
        return connection.stream.descriptor() in self._tables.parked

    def in_hand(self, connection: OpenConnection) -> tuple[bytes, bytes, str, float] | None:
        """See ``FastTables.in_hand``."""
        return self._tables.in_hand(connection)

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
        face.chosen_by = runtime.chosen_by
        face.logged = runtime.resolved.log.access != "off"
        face.access_log = self._context.access_log.native
        # What was sent to an upstream under an earlier configuration ends under that.
        tables = self._tables
        tables.entries = {key: entry for key, entry in tables.entries.items() if entry.short_route.in_flight}
        tables.entries |= {entry.short_route.id: entry for entry in runtime.short_entries}
        for entry in runtime.short_entries:
            entry.short_route.measures = self._context.measures.route(entry.name.decode())
        self.resting.forget_old()
        self._collect_lines()
        face.route = _route_of_all(runtime) or ffi.NULL

    def _collect_lines(self) -> None:
        """Have lines of plugins finished without Python, if the log takes them so."""
        self._lines = finished_lines()
        self._face.lines = self._lines.native if self._lines is not None else ffi.NULL

    def begin_drain(self) -> None:
        """From now on nobody enters, and a response is the last one of its connection."""
        face = self._face
        face.draining = 1
        face.keepalive = face.first_request = DRAIN_IDLE  # of those whose response has begun

    async def drain(self) -> None:
        """Whoever waits for a request does so in the general path from now on.

        Thousands may wait: they go a few at a time, and to the last of them even when this is cancelled.
        """
        report = ffi.new("blitz_fast_report *")
        woken = 0
        while lib.blitz_fast_next_idle(self._native, report):
            self._wake(report, RELOADED)
            woken += 1
            if woken % MAX_AT_ONCE == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()

    # -- coming and going

    def enter(self, connection: ParkedConnection, keeper: Keeper | None) -> Parked:
        """The fast path serves it from now on, and tells *keeper* when it stops; None: the present task
        sleeps, and is woken. Raises trio.BrokenResourceError."""
        peer = connection.peer
        fd, tls = connection.stream.descriptor(), connection.stream.lend()
        # An idle connection needs no options: they are made with its first request, or anew after a reload.
        # Whoever has shaken hands is about to send one.
        likely = connection.served or tls != ffi.NULL
        options = connection.fast_path_options_for(peer) if likely else ffi.NULL
        parked = Parked(connection, peer, keeper, None if keeper else current_task())
        served, now = connection.served > 0, trio.current_time()
        failed = lib.blitz_fast_enter(self._native, fd, tls, peer.struct, options, peer.trusted, served, now)
        if failed:
            raise trio.BrokenResourceError(f"the fast path cannot watch it: {os.strerror(failed)}")
        connection.disarm()
        self.clients.forget(connection)
        self._tables.parked[fd] = parked
        self._entered.set()
        return parked

    def enter_shaking(self, connection: ParkedConnection, tls: Any, keeper: Keeper | None) -> Parked:
        """The same for a connection whose TLS handshake has to be done; its timer goes on."""
        peer = connection.peer
        parked = Parked(connection, peer, keeper, None if keeper else current_task())
        fd = connection.stream.descriptor()
        failed = lib.blitz_fast_enter(self._native, fd, tls, ffi.NULL, ffi.NULL, 0, 0, trio.current_time())
        if failed:
            raise trio.BrokenResourceError(f"the fast path cannot watch it: {os.strerror(failed)}")
        self._tables.parked[fd] = parked
        return parked

    def leave(self, connection: ParkedConnection) -> None:
        """Take a connection out, whatever it does."""
        fd = connection.stream.descriptor()
        if fd not in self._tables.parked:
            return
        report = ffi.new("blitz_fast_report *")
        lib.blitz_fast_leave(self._native, fd, report)
        if report.told:
            self._reports.see_to_pools(report)
        if report.slot >= 0:
            # It has an exchange, which ends as any other does: with an answer, if its deadline has passed.
            connection.take_back(self._reports.handover(report))
        del self._tables.parked[fd]

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
            for parked in list(self._tables.parked.values()):
                if parked.keeper is not None:
                    parked.keeper.abandon()
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
            parked = self._tables.parked.get(self._report.fd)
            if parked is not None:
                parked.connection.cancel()

    def _turn(self) -> None:
        """Do what is ready, and what the fast path reports of it."""
        self._context.refresh_date()
        fast_path, report, turns = self._native, self._report, self._context.turns
        self._face.held = turns.held
        now = self._context.wheel.now = trio.current_time()
        what = lib.blitz_fast_turn(fast_path, now, report)
        while what:
            while (see_to := self._steps.get(what)) is not None:
                what = see_to(report)
            if what == lib.BLITZ_FAST_NO_SLOT:
                self._tables.slots.add()
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
            if not self._face.clients and not self._tables.slots.drop():
                self._entered = trio.Event()
                await self._entered.wait()
            await sleep_until(trio.current_time() + TICK)
            self._tables.slots.drop()
            expired = 0
            while what := lib.blitz_fast_expired(self._native, trio.current_time(), report):
                if what == _HAND_OVER:
                    self._take(what, report)
                    continue
                timer = self._tables.parked[report.fd].connection.timer
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

    def _take(self, what: int, report: Any) -> None:
        if what == lib.BLITZ_FAST_STIRRED:
            self.resting.stirred(report.fd)
            return
        if what == lib.BLITZ_FAST_GONE:
            self.clients.gone(report.fd)
            return
        if report.unfit >= 0:
            self._reports.close_unfit(report)
        if report.returned >= 0:
            self.resting.give_back(self._tables.upstream(report, report.returned))
        if report.told:
            self._reports.see_to_pools(report)
        if what == lib.BLITZ_FAST_LOGGED and not report.line.method.len:
            self._context.access_log.wake()
        elif report.line.method.len and what != _HAND_OVER:
            self._reports.end_line(what, report)
        if what == _HAND_OVER:
            self._wake(report, self._reports.handover(report))
        elif what == lib.BLITZ_FAST_UNSENT:
            unsent = ffi.buffer(report.unsent, report.n_unsent)[:]
            self._wake(report, Handover(unsent_answer=unsent, closes=bool(report.closes)))
        elif what == lib.BLITZ_FAST_HEAD_BYTES:
            parked = self._tables.parked[report.fd]
            buffer, cdata = self._tables.slots.take(report)
            buffer.start = report.size
            parked.connection.buffer = buffer
            self._context.give_exchange(cdata)
            self._wake(report, HEAD_BYTES)
        elif what == lib.BLITZ_FAST_SHAKEN:
            self._wake(report, SHAKEN)
        elif what not in _STAYS:
            self._wake(report, RELOADED if what == lib.BLITZ_FAST_RELOADED else CLOSED, report.error)

    def _wake(self, report: Any, stopped: Handover | str, error: int = 0) -> None:
        parked = self._tables.parked.pop(report.fd)
        parked.connection.served += report.served
        if parked.keeper is not None:
            parked.keeper.go_on(stopped, error)
            return
        parked.stopped = stopped
        parked.error = error
        assert parked.task is not None
        reschedule(parked.task)


def _route_of_all(runtime: Runtime) -> Any:
    """The native route of every request, or None: Python has to look at each."""
    only = runtime.router.only
    if runtime.before_entry is not None:
        return runtime.before_entry.short_route
    if only is None or only.tells_host or only.own is not None:
        return None  # upstreams are told which host was asked for; or the client has to be known
    return only.short_route
