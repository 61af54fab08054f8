"""The parent process: it owns the listening sockets and the workers, and serves nothing itself.

Theory of operation. Every worker is forked before any engine, thread or event loop exists in its process (an
engine does not survive a fork). The sockets are the parent's: made before the first worker, one queue
per worker (SO_REUSEPORT), so that the kernel spreads connections evenly. A worker that dies or is
replaced leaves its queue to its successor, and until that serves another worker takes from it
(``takers.py``): no connection is refused meanwhile, or waits. Rate limits live in memory shared by all
(``Shared``).

The parent reads no file once it has workers: a file can keep its reader for ever. Workers tell it what they
run on (``reports.py``), and a worker that died is replaced by one that runs on what served last, with the
modules as they were then, as far as the compile cache still has them. Once a worker has served, the parent
never gives up: it tries again, and says so (``restarts.py``).

Signals are blocked and taken one at a time (``SignalQueue``): no handler runs in the middle of anything.

    SIGTERM, SIGINT   workers drain, then the parent ends; a second one hurries them
    SIGHUP            workers reload their configuration; those that wait for their next start begin at once;
                      then there are as many workers as the new configuration says
    SIGUSR2           new workers start beside the old ones; once all of them serve, the old ones drain
    SIGTERM to one    the worker asks its parent, which starts a successor and lets it go once that serves
    SIGCHLD           a worker that died is replaced, after a pause that doubles while it keeps dying

A worker that hangs is killed, and has died then (``heartbeat.py``).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Mapping

import msgspec

from blitz.config import Resolved, Served, needs_restart
from blitz.errors import ConfigError, ConfigProblem
from blitz.gateway import (
    Change,
    PlaceOnScoreboard,
    Reload,
    ScoreboardOfParent,
    Shared,
    bind_admin,
)
from blitz.log_level import set_level
from blitz.log_tap import follow_log
from blitz.process import systemd
from blitz.process.child import ChildProcess
from blitz.process.crew import Crew
from blitz.process.heartbeat import MIN_PATIENCE, Pulse
from blitz.process.launch import Inherited, Newcomer, OnReady, launch
from blitz.process.orders import Orders
from blitz.process.queues import Queues
from blitz.process.reports import Reports
from blitz.process.restarts import STABLE, Restarts
from blitz.process.signals import ENDING, SIGNALS, SignalQueue
from blitz.process.takers import Takers
from blitz.process.telling import children_of, lost_of
from blitz.process.worker import EXIT_FAILED, EXIT_OK, Reader
from blitz.text import one_line

__all__ = ["START_TIMEOUT", "Parent"]

_log = logging.getLogger("blitz.workers")

START_TIMEOUT = 60.0  # seconds a generation may take until it serves: compiling plugins takes seconds
POLL = 0.05  # seconds between looks at the reports while workers start
IDLE_POLL = 1.0
ROOM = 32  # workers that the board has room for at least: a reload may ask for more, and it costs nothing


class Parent:
    """See the head of this file.

    Args:
        shared: counters and rate limits of all workers; stays the caller's.
        read_again, on_ready: see ``blitz.process.workers.run``.
    """

    def __init__(
        self, resolved: Resolved, shared: Shared, read_again: Reader | None, on_ready: OnReady | None
    ) -> None:
        self.resolved = resolved
        self.shared = shared
        self.read_again = read_again
        self.on_ready = on_ready
        self.crew = Crew()
        self.restarts = Restarts()
        self.good: Served | None = None  # what served last; None before anything did
        self.coming: Served | None = None  # of the generation that is to replace the present one
        self.started = False  # the first worker of all
        self.anew = False  # workers that start read the files: nobody serves, and somebody asked for it
        self.generation = 1
        self.generation_deadline = 0.0
        self.replacing = False
        self.replace_later = False  # SIGUSR2 came before anybody served
        self.stopping = False
        self.code = EXIT_OK
        self.error = ""
        self.reports = Reports()
        self.signals = SignalQueue()
        self.signals.wake_for(self.reports.fileno())
        self.pulse = Pulse(START_TIMEOUT, time.monotonic())
        self.alive_in, self.alive_out = os.pipe2(os.O_CLOEXEC)
        self.queues: Queues | None = None
        self.takers: Takers | None = None
        self.last_upgrade: Reload | None = None
        self.waiting: tuple[str, ...] = ()  # keys that wait for a restart, of the coming generation
        self.drained = [0, 0]  # exchanges that were in flight when workers were told to end, and cut off
        self.admin_sockets: list[socket.socket] = []
        self.scoreboard: ScoreboardOfParent | None = None  # only where there is an admin listener to read it

    def run(self) -> int:
        """Serve until a signal ends it; the exit code: 0, or 1 when something was cut off or failed.

        Raises:
            ConfigError: the configuration cannot run; nothing was served.
        """
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who starts us may ignore it, and children with it
        try:
            # A name in `listen` may take long to resolve: until here a signal that ends us ends us at once.
            self.queues = Queues(self.resolved)
            self.takers = Takers(self.queues)
            self.admin_sockets = bind_admin(self.resolved)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # for good: the process ends with this
            self.inherited = self._inherited()
            if self.admin_sockets:
                self.scoreboard = ScoreboardOfParent(max(self.resolved.workers, ROOM))
                follow_log(self.scoreboard.told.lines.show)
            self._start(0)  # alone: what is wrong with a configuration is said once
            self._supervise()
        finally:
            self._close_sockets()
            follow_log(None)
            if self.scoreboard is not None:
                self.scoreboard.close()
            self.reports.close()
            self.pulse.heartbeat.close()
            self.signals.close()
            for fd in (self.alive_in, self.alive_out):
                os.close(fd)
        if self.error:
            raise ConfigError([ConfigProblem.read(self.error)])
        return self.code

    def _inherited(self) -> Inherited:
        assert self.queues is not None
        return Inherited(
            shared=self.shared,
            read_again=self.read_again,
            on_ready=self.on_ready,
            reports=self.reports,
            heartbeat=self.pulse.heartbeat,
            signals=self.signals,
            queues=self.queues,
            alive_in=self.alive_in,
            alive_out=self.alive_out,
            admin_sockets=self.admin_sockets,
        )

    # -- the loop

    def _supervise(self) -> None:
        watchdog = systemd.watchdog_interval()
        next_beat = time.monotonic()
        while self.crew.children or self.restarts.waiting:
            number = self.signals.wait(self._patience(watchdog))
            systemd.notify_again()
            self._note_reports()
            self._reap()
            if number is not None:
                self._obey(number)
            now = time.monotonic()
            self._start_due(now)
            self._let_leave(now)
            if not self.stopping:
                self._share_queues()
            if self.replacing and now > self.generation_deadline:
                self._give_up_replacing("did not serve in time")
            if self.pulse.look(self.crew.children, self._patience_with_workers(watchdog), now):
                self._tell_board()
            if watchdog and now >= next_beat and not self.crew.silent():
                systemd.notify("WATCHDOG=1")
                next_beat = now + watchdog
        self._note_reports()
        if self.stopping and self.good is not None:
            in_flight, cut = self.drained
            _log.info("drained: exchanges that were in flight: %d, cut off: %d", in_flight, cut)

    def _share_queues(self) -> None:
        assert self.takers is not None
        self.takers.look(self.resolved.workers, self.crew.children)

    def _patience_with_workers(self, watchdog: float) -> float:
        """Seconds for which a worker may say nothing; systemd must not lose its patience with all before."""
        patience = (self.good.resolved if self.good is not None else self.resolved).timeouts.worker
        if not patience:
            return math.inf
        return max(min(patience, watchdog or math.inf), MIN_PATIENCE)

    def _patience(self, watchdog: float) -> float:
        starting = self.restarts.waiting or self.crew.changing()
        patience = POLL if starting else IDLE_POLL
        return min(patience, watchdog) if watchdog else patience

    def _obey(self, number: signal.Signals) -> None:
        if number in ENDING:
            if not self.stopping:
                systemd.notify("STOPPING=1")
            self._stop()
        elif number == signal.SIGHUP and not self.stopping:
            systemd.notify_reloading()
            self._reload()
            systemd.notify("READY=1")
        elif number == signal.SIGUSR2 and not self.stopping:
            if self.good is None:
                self.replace_later = True  # nobody serves yet whom others could replace
            else:
                self._replace_all()

    def _reload(self) -> None:
        self.anew = self.read_again is not None and not self.crew.serving()
        self.restarts.hurry(anew=True)
        if self.anew:  # those that start now read the files as it is
            self._tell(signal.SIGHUP, self.crew.children)
            self._start_due(time.monotonic())
        else:
            self._start_due(time.monotonic())
            self._tell(signal.SIGHUP, self.crew.children)

    def _stop(self) -> None:
        assert self.queues is not None
        if self.stopping:
            for child in self.crew.children.values():
                child.orders.say("hurry")
            self.pulse.kill_late(self.crew.children)
        else:
            serving = self.crew.serving()
            if serving:
                _log.info("draining: workers that serve: %d", serving)
            self._share_queues()  # what waits where nobody serves is served too
        self.stopping = True
        self.restarts.give_up()
        self._tell_board()
        self._close_sockets()
        self._end(self.crew.children, alone=self.queues.own, delay=True)

    def _end(self, children: dict[int, ChildProcess], *, alone: bool, delay: bool = False) -> None:
        """Let them drain. alone, delay: see ``Order``. The signal ends those that do not serve yet."""
        self.crew.order_end(children, alone=alone, delay=delay)
        self._tell(signal.SIGTERM, children)

    def _tell(self, number: signal.Signals, children: dict[int, ChildProcess]) -> None:
        self._tell_board()
        self.crew.send(number, children)

    def _tell_board(self) -> None:
        """Write down who there is, for whoever asks a worker."""
        if self.scoreboard is None:
            return
        self.scoreboard.tell(
            children_of(self.crew.children),
            process_generation=self.generation,
            stopping=self.stopping,
            restarts=self.restarts.total,
            lost=lost_of(self.restarts),
            last_upgrade=self.last_upgrade,
        )

    # -- workers that begin

    def _start_due(self, now: float) -> None:
        for place in self.restarts.take_due(now):
            self._start(place)

    def _what_to_run(self) -> tuple[Resolved | Reader, Mapping[str, str], Served | None]:
        """Configuration, digests of what served, and both together if they did."""
        served = self.coming if self.replacing else self.good
        if served is not None and not self.anew:
            return served.resolved, served.digests, served
        read_again = self.read_again
        if read_again is None or not self.started:
            return self.resolved, {}, None
        return read_again, {}, None

    def _start(self, place: int) -> None:
        config, digests, given = self._what_to_run()
        first, self.started = not self.started, True
        where = self.scoreboard.take() if self.scoreboard is not None else None
        orders = Orders()
        try:
            siblings = [child.orders for child in self.crew.children.values()]
            newcomer = Newcomer(place, where, config, digests, self.resolved, first, orders, siblings)
            pid = launch(newcomer, self.inherited)
        except OSError as exc:
            self._cannot_fork(place, where, orders, exc)
            return
        orders.only_say()
        slot = where.slot if where is not None else -1
        restarts = self.restarts.of.get(place, 0)
        self.crew.children[pid] = ChildProcess(
            place, self.generation, time.monotonic(), time.time(), slot, restarts, given, orders
        )
        self._tell_board()

    def _cannot_fork(self, place: int, where: PlaceOnScoreboard | None, orders: Orders, exc: OSError) -> None:
        """The system has no process for a worker now: as if it had died before it served."""
        if self.scoreboard is not None and where is not None:
            self.scoreboard.give_back(where.slot)
        child = ChildProcess(place, self.generation, time.monotonic(), time.time(), -1, 0, None, orders)
        child.error = f"the system has no process for it: {(exc.strerror or str(exc)).lower()}"
        self._ended(child, EXIT_FAILED)

    def _note_reports(self) -> None:
        now = time.monotonic()
        for report in self.reports.read():
            child = self.crew.children.get(report.pid)
            if report.change is not None:
                self._wish(report.change)
                continue
            if report.drained is not None:
                self.drained = [sum(pair) for pair in zip(self.drained, report.drained, strict=True)]
                continue
            if child is None:
                continue
            if report.leaving:
                self._asked_to_leave(child, now)
                continue
            if report.served is None:
                child.error = report.error
                continue
            first = not child.ready
            child.ready_at = child.ready_at or now
            self._take(report.pid, child, report.served, first)
            if first:
                self._serves(child)
                self._one_more(child)
                if self.replace_later and not self.stopping:
                    self.replace_later = False
                    self._replace_all()
        for child in self.crew.children.values():
            if child.ready and now - child.ready_at >= STABLE:
                self.restarts.settle(child.place)

    def _wish(self, change: Change) -> None:
        """An operator has asked a worker for it: have all of them do it."""
        if self.scoreboard is None or self.stopping:
            return
        self.scoreboard.wishes = self.scoreboard.wishes.after(change)
        self._tell_board()
        if change.what == "reload":
            self._obey(signal.SIGHUP)
            return
        if change.what == "level":
            set_level(self.scoreboard.wishes.level or self.resolved.log.level)
        for child in self.crew.children.values():
            child.orders.say("look")

    def _serves(self, child: ChildProcess) -> None:
        self.anew = False
        self.restarts.hurry()  # what kept this one from serving kept the others too
        failures = self.restarts.serves(child.place)
        if failures > 1:
            _log.info("worker %d serves again, after %d failures in a row", child.place, failures)

    def _take(self, pid: int, child: ChildProcess, served: Served, first: bool) -> None:
        """Remember what *child* runs on, for those that start from now on."""
        waiting = tuple(needs_restart(self.resolved, served.resolved, logs=True))
        served = Served(resolved=self._fit(served.resolved), digests=served.digests)
        if self.replacing and child.generation == self.generation:
            self.coming, self.waiting = served, waiting
        elif first and child.given is not None and child.given != self.good:
            # It started on what the others have left behind meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
        else:
            self.good = served
            if child.generation == self.generation:
                self._resize(served.resolved.workers)

    def _fit(self, fresh: Resolved) -> Resolved:
        """*fresh* on the addresses that there are sockets for."""
        return msgspec.structs.replace(fresh, listen=self.resolved.listen)

    def _one_more(self, child: ChildProcess) -> None:
        if child.generation != self.generation or self.stopping:
            return
        self._fill_places()
        if self.crew.taken_places(self.generation, ready=True) >= set(range(self._workers())):
            self._all_ready()

    def _workers(self) -> int:
        """How many there are to be, of the generation that starts."""
        coming = self.coming if self.replacing else None
        return (coming.resolved if coming is not None else self.resolved).workers

    def _fill_places(self) -> None:
        """Start a worker in each place that has none and waits for none."""
        assert self.queues is not None
        try:
            self.queues.grow(self._workers())
        except ConfigError as error:
            self._cannot_grow(error)
            return
        places = self.crew.taken_places(self.generation)
        for place in range(self._workers()):
            if place not in places and place not in self.restarts.waiting:
                self._start(place)

    def _cannot_grow(self, error: ConfigError) -> None:
        if self.replacing:
            self._give_up_replacing(f"cannot have {self._workers()} workers: {error.message}")
            return
        self.resolved = msgspec.structs.replace(self.resolved, workers=len(self.crew.of(self.generation)))
        _log.error("workers stays %d: %s", self.resolved.workers, error.message)

    def _resize(self, workers: int) -> None:
        """Have so many, with the code and the sockets that there are."""
        before = self.resolved.workers
        if workers == before or self.stopping:
            return
        _log.info("workers: %d instead of %d", workers, before)
        self.resolved = msgspec.structs.replace(self.resolved, workers=workers)
        if workers > before:
            if not self.replacing:
                self._fill_places()
        else:
            self._drop_places(workers)

    def _drop_places(self, workers: int) -> None:
        assert self.queues is not None
        assert self.takers is not None
        self.restarts.forget_from(workers)
        self.takers.shrink(workers, self.crew.children)
        self._end(self.crew.staying(lambda child: child.place >= workers), alone=self.queues.own)
        self.queues.shrink(workers)

    def _all_ready(self) -> None:
        systemd.notify(f"READY=1\nSTATUS=generation {self.generation}, {self._workers()} workers")
        if self.replacing:
            workers, self.replacing = self._workers(), False
            self.good, self.coming = self.coming, None
            _log.info("generation %d serves; the one before drains", self.generation)
            self.last_upgrade = Reload(time.time(), "upgrade", "", restart=self.waiting)
            for key in self.waiting:
                _log.warning("SIGUSR2: %s has changed and stays as it was until a restart", key)
            self._resize(workers)
            self._end(self.crew.staying(lambda child: child.generation < self.generation), alone=False)

    # -- one worker that somebody else told to end

    def _asked_to_leave(self, child: ChildProcess, now: float) -> None:
        if self.stopping or child.told_to_end or child.leaving_since:
            return
        child.leaving_since = now
        others = [other for other in self.crew.of(self.generation) if other is not child]
        has_successor = any(other.place == child.place and not other.told_to_end for other in others)
        if child.generation == self.generation and not has_successor:
            _log.info("worker %d was told to end; it drains once its successor serves", child.place)
            self._start(child.place)

    def _let_leave(self, now: float) -> None:
        """Let those go whose successors serve, or whose time is over."""
        going = self.crew.may_leave(now)
        if going:
            self._end(going, alone=False)

    # -- a new generation (SIGUSR2)

    def _replace_all(self) -> None:
        if self.replacing:
            _log.warning("SIGUSR2: a replacement is under way already")
            return
        self.generation += 1
        self.replacing, self.coming = True, None
        self.generation_deadline = time.monotonic() + START_TIMEOUT
        self._start(0)

    def _give_up_replacing(self, why: str) -> None:
        _log.error("generation %d %s; the old workers go on", self.generation, why)
        self.last_upgrade = Reload(time.time(), "upgrade", one_line(f"generation {self.generation} {why}"))
        self.replacing, self.coming = False, None
        self._drop_places(self.resolved.workers)
        self._end(self.crew.staying(lambda child: child.generation == self.generation), alone=False)
        for child in self.crew.children.values():
            if child.generation < self.generation:
                child.generation = self.generation
        self._tell_board()

    # -- workers that end

    def _reap(self) -> None:
        for _, child, code in self.crew.reap():
            if self.scoreboard is not None:
                self.scoreboard.give_back(child.slot)
            self._ended(child, code)
            self._tell_board()

    def _ended(self, child: ChildProcess, code: int) -> None:
        if child.told_to_end:
            # One that was told before it served had nothing to finish, however it ended.
            if self.stopping and child.ready and code != EXIT_OK:
                self.code = EXIT_FAILED
            return
        if self.replacing and child.generation == self.generation:
            self._give_up_replacing(f"failed to start: {child.end(code)}")
            return
        if self.stopping:
            return
        if self.good is None:
            # The first worker cannot start: nor could any other.
            self.code = EXIT_FAILED
            self.error = child.error
            if not child.error:
                _log.error("the first worker %s", child.end(code))
            self._stop()
            return
        if child.leaving_since and any(other.place == child.place for other in self.crew.of(self.generation)):
            return  # its successor is under way
        self._replace_later(child, code)

    def _replace_later(self, child: ChildProcess, code: int) -> None:
        now = time.monotonic()
        self.anew = False
        reason = child.end(code)
        served = now - child.ready_at if child.ready else 0.0
        loss, worth_saying = self.restarts.died(child.place, reason, served, now)
        if worth_saying:
            _log.error(
                "worker %d %s after %.1f s; %s; replacing it in %.1f s (failure %d in a row)",
                child.place,
                reason,
                now - child.started,
                self.crew.who_is_left(self.resolved.workers),
                max((loss.due or now) - now, 0.0),
                loss.failures,
            )

    def _close_sockets(self) -> None:
        if self.queues is not None:
            self.queues.close()
        for listener in self.admin_sockets:
            listener.close()
