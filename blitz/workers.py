"""The parent process: it owns the listening sockets and the workers, and serves nothing itself.

Theory of operation. Every worker is forked before any engine, thread or event loop exists in its process (an
engine does not survive a fork). The sockets are the parent's: made before the first worker, one queue
per worker (SO_REUSEPORT), so that the kernel spreads connections evenly; a worker that dies or is
replaced leaves its queue to its successor, and no connection is refused meanwhile. Rate limits live in
memory shared by all (``Shared``).

The parent reads no file once it has workers: a file can keep its reader for ever. Workers tell it what they
run on (``reports.py``), and a worker that died is replaced by one that runs on what served last, with the
modules as they were then, as far as the compile cache still has them. Once a worker has served, the parent
never gives up: it tries again, and says so (``restarts.py``).

Signals are blocked and taken one at a time (``SignalQueue``): no handler runs in the middle of anything.

    SIGTERM, SIGINT   workers drain, then the parent ends; a second one hurries them
    SIGHUP            workers reload their configuration; those that wait for their next start begin at once
    SIGUSR2           new workers start beside the old ones; once all of them serve, the old ones drain
    SIGCHLD           a worker that died is replaced, after a pause that doubles while it keeps dying

A worker that hangs is killed, and has died then (``heartbeat.py``).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping

import msgspec
import trio

from blitz import systemd
from blitz.child import ChildProcess
from blitz.config import Config, Resolved, Served, resolve
from blitz.errors import BlitzError, ConfigError, ListenerDied, only_error
from blitz.gateway import (
    BoardOfParent,
    Child,
    Gateway,
    Lost,
    PlaceOnBoard,
    Shared,
    bind_admin,
    too_few_descriptors,
)
from blitz.heartbeat import MIN_PATIENCE, Pulse
from blitz.queues import Queues
from blitz.reports import Reports
from blitz.restarts import STABLE, Restarts
from blitz.signals import ENDING, SIGNALS, SignalQueue, ignore_in_worker
from blitz.worker import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK, Reader, WorkerStart, work

__all__ = ["run"]

_log = logging.getLogger("blitz.workers")

START_TIMEOUT = 60.0  # seconds a generation may take until it serves: compiling plugins takes seconds
POLL = 0.05  # seconds between looks at the reports while workers start
IDLE_POLL = 1.0
MAX_REASON = 1000  # letters of why a worker died, for who asks

OnReady = Callable[[Gateway], None]


def run(
    config: Config | Resolved, *, read_again: Reader | None = None, on_ready: OnReady | None = None
) -> int:
    """Serve *config* until a signal ends it; blocks. Takes over signals: for the command line only.

    Args:
        read_again: gives the configuration for SIGHUP and SIGUSR2; None: the same, with plugins' files anew.
        on_ready: called in the first worker once it serves.
    Returns:
        The exit code: 0 after a clean drain, 1 when something was cut off or failed.
    Raises:
        ConfigError: the configuration cannot run; nothing was served.
    """
    resolved = config if isinstance(config, Resolved) else resolve(config)
    _raise_file_limit()
    if few := too_few_descriptors(resolved):
        _log.warning("%s", few)
    shared = Shared()
    try:
        return _Parent(resolved, shared, read_again, on_ready).run()
    finally:
        shared.close()


def _raise_file_limit() -> None:
    """As many descriptors as the system lets this user have: the soft limit of 1024 is for select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Parent:
    def __init__(
        self, resolved: Resolved, shared: Shared, read_again: Reader | None, on_ready: OnReady | None
    ) -> None:
        self.resolved = resolved
        self.shared = shared
        self.read_again = read_again
        self.on_ready = on_ready
        self.children: dict[int, ChildProcess] = {}
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
        self.pulse = Pulse(START_TIMEOUT, time.monotonic())
        self.alive_in, self.alive_out = os.pipe2(os.O_CLOEXEC)
        self.queues: Queues | None = None
        self.admin_sockets: list[socket.socket] = []
        self.board: BoardOfParent | None = None  # only where there is an admin listener to read it

    def run(self) -> int:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who starts us may ignore it, and children with it
        try:
            # A name in `listen` may take long to resolve: until here a signal that ends us ends us at once.
            self.queues = Queues(self.resolved)
            self.admin_sockets = bind_admin(self.resolved)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # for good: the process ends with this
            if self.admin_sockets:
                self.board = BoardOfParent(self.resolved.workers)
            self._start(0)  # alone: what is wrong with a configuration is said once
            self._supervise()
        finally:
            self._close_sockets()
            if self.board is not None:
                self.board.close()
            self.reports.close()
            self.pulse.heartbeat.close()
            self.signals.close()
            for fd in (self.alive_in, self.alive_out):
                os.close(fd)
        if self.error:
            raise ConfigError(self.error)
        return self.code

    # -- the loop

    def _supervise(self) -> None:
        watchdog = systemd.watchdog_interval()
        next_beat = time.monotonic()
        while self.children or self.restarts.waiting:
            number = self.signals.wait(self._patience(watchdog))
            self._note_reports()
            self._reap()
            if number is not None:
                self._obey(number)
            now = time.monotonic()
            self._start_due(now)
            if self.replacing and now > self.generation_deadline:
                self._give_up_replacing("did not serve in time")
            if self.pulse.look(self.children, self._patience_with_workers(watchdog), now):
                self._tell_board()
            if watchdog and now >= next_beat and not any(one.silent_since for one in self.children.values()):
                systemd.notify("WATCHDOG=1")
                next_beat = now + watchdog

    def _patience_with_workers(self, watchdog: float) -> float:
        """Seconds for which a worker may say nothing; systemd must not lose its patience with all before."""
        patience = (self.good.resolved if self.good is not None else self.resolved).timeouts.worker
        if not patience:
            return math.inf
        return max(min(patience, watchdog or math.inf), MIN_PATIENCE)

    def _patience(self, watchdog: float) -> float:
        starting = self.restarts.waiting or any(not child.ready for child in self.children.values())
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
        self.anew = self.read_again is not None and not any(child.ready for child in self.children.values())
        self.restarts.hurry(anew=True)
        if self.anew:  # those that start now read the files as it is
            self._tell(signal.SIGHUP, self.children)
            self._start_due(time.monotonic())
        else:
            self._start_due(time.monotonic())
            self._tell(signal.SIGHUP, self.children)

    def _stop(self) -> None:
        if self.stopping:
            self.pulse.kill_late(self.children)
        self.stopping = True
        self.restarts.give_up()
        self._tell_board()
        self._close_sockets()
        self._tell(signal.SIGTERM, self.children)

    def _tell(self, number: signal.Signals, children: dict[int, ChildProcess]) -> None:
        for child in children.values():
            child.told_to_end = child.told_to_end or number == signal.SIGTERM
        self._tell_board()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                if number == signal.SIGTERM:
                    os.kill(pid, signal.SIGCONT)  # a stopped one would not hear it

    def _tell_board(self) -> None:
        """Write down who there is, for whoever asks a worker."""
        if self.board is None:
            return
        now = time.monotonic()
        lost = tuple(
            Lost(
                place=place,
                reason=loss.reason[:MAX_REASON],
                failures=loss.failures,
                retry=time.time() + max((loss.due or now) - now, 0.0),
            )
            for place, loss in sorted(self.restarts.waiting.items())
        )
        children = tuple(
            Child(
                pid=pid,
                place=child.place,
                process_generation=child.generation,
                slot=child.slot,
                restarts=child.restarts,
                started=child.born,
                told_to_end=child.told_to_end,
                silent_since=child.silent_since,
            )
            for pid, child in sorted(self.children.items(), key=lambda item: item[1].place)
        )
        self.board.tell(
            children,
            process_generation=self.generation,
            stopping=self.stopping,
            restarts=self.restarts.total,
            lost=lost,
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
        return lambda: self._fit(read_again()), {}, None

    def _start(self, place: int) -> None:
        config, digests, given = self._what_to_run()
        first, self.started = not self.started, True
        where = self.board.take() if self.board is not None else None
        pid = os.fork()
        if pid:
            slot = where.slot if where is not None else -1
            restarts = self.restarts.of.get(place, 0)
            self.children[pid] = ChildProcess(
                place, self.generation, time.monotonic(), time.time(), slot, restarts, given
            )
            self._tell_board()
            return
        code = EXIT_FAILED
        try:
            code = self._be_a_worker(place, where, config, digests, first=first)
        except BlitzError as exc:
            self.reports.send(exc.message)
            code = EXIT_FAILED if isinstance(exc, ListenerDied) else EXIT_BAD_INPUT
        except BaseException:
            _log.exception("worker %d failed", place)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _be_a_worker(
        self,
        place: int,
        where: PlaceOnBoard | None,
        config: Resolved | Reader,
        served: Mapping[str, str],
        *,
        first: bool,
    ) -> int:
        ignore_in_worker()
        os.close(self.alive_out)
        self.reports.only_send()
        self.pulse.heartbeat.only_beat()
        self.signals.close()
        assert self.queues is not None

        def ready(gateway: Gateway) -> None:
            if first and self.on_ready is not None:
                self.on_ready(gateway)
            changed(gateway)

        def changed(gateway: Gateway) -> None:
            self.reports.send(served=gateway.served())

        start = WorkerStart(
            config=config,
            served=served,
            sockets=self.queues.of(place),
            shared=self.shared,
            read_again=self.read_again,
            ready=ready,
            changed=changed,
            beat=self.pulse.heartbeat.beat,
            parent=self.alive_in,
            admin_sockets=self.admin_sockets,
            place=where,
        )
        return _flat(trio.run, work, start)

    def _note_reports(self) -> None:
        now = time.monotonic()
        for report in self.reports.read():
            child = self.children.get(report.pid)
            if child is None:
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
        for child in self.children.values():
            if child.ready and now - child.ready_at >= STABLE:
                self.restarts.settle(child.place)

    def _serves(self, child: ChildProcess) -> None:
        self.anew = False
        self.restarts.hurry()  # what kept this one from serving kept the others too
        failures = self.restarts.serves(child.place)
        if failures > 1:
            _log.info("worker %d serves again, after %d failures in a row", child.place, failures)

    def _take(self, pid: int, child: ChildProcess, served: Served, first: bool) -> None:
        """Remember what *child* runs on, for those that start from now on."""
        served = Served(resolved=self._fit(served.resolved), digests=served.digests)
        if self.replacing and child.generation == self.generation:
            self.coming = served
        elif first and child.given is not None and child.given != self.good:
            # It started on what the others have left behind meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
        else:
            self.good = served

    def _fit(self, config: Config | Resolved) -> Resolved:
        fresh = config if isinstance(config, Resolved) else resolve(config)
        # Addresses and the number of workers are the sockets', and those stay.
        return msgspec.structs.replace(fresh, listen=self.resolved.listen, workers=self.resolved.workers)

    def _one_more(self, child: ChildProcess) -> None:
        current = [other for other in self.children.values() if other.generation == self.generation]
        if child.generation != self.generation or self.stopping:
            return
        places = {other.place for other in current} | set(self.restarts.waiting)
        for place in range(self.resolved.workers):
            if place not in places:
                self._start(place)
        current = [other for other in self.children.values() if other.generation == self.generation]
        if len(current) == self.resolved.workers and all(other.ready for other in current):
            self._all_ready()

    def _all_ready(self) -> None:
        systemd.notify(f"READY=1\nSTATUS=generation {self.generation}, {self.resolved.workers} workers")
        if self.replacing:
            self.replacing = False
            self.good, self.coming = self.coming, None
            _log.info("generation %d serves; the one before drains", self.generation)
            old = {pid: child for pid, child in self.children.items() if child.generation < self.generation}
            self._tell(signal.SIGTERM, old)

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
        self.replacing, self.coming = False, None
        new = {pid: child for pid, child in self.children.items() if child.generation == self.generation}
        self._tell(signal.SIGTERM, new)
        for child in self.children.values():
            if child.generation < self.generation:
                child.generation = self.generation
        self._tell_board()

    # -- workers that end

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return  # there is none
            if not pid:
                return
            child = self.children.pop(pid, None)
            if child is None:
                continue  # as process 1 of a container we get everybody's orphans
            if self.board is not None:
                self.board.give_back(child.slot, pid)
            self._ended(child, os.waitstatus_to_exitcode(status))
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
                self._who_is_left(),
                max((loss.due or now) - now, 0.0),
                loss.failures,
            )

        if not child.ready:
            self._leave_queue(child.place)

    def _leave_queue(self, place: int) -> None:
        """Connections are not to wait for a worker that does not come while others serve."""
        there = [other for other in self.children.values() if not other.told_to_end]
        if any(other.ready for other in there) and not any(other.place == place for other in there):
            assert self.queues is not None
            self.queues.leave(place)

    def _who_is_left(self) -> str:
        left = sum(child.ready and not child.told_to_end for child in self.children.values())
        if not left:
            return "none is left, and nobody is served until then"
        return f"{left} of {self.resolved.workers} serve{'s' if left == 1 else ''}"

    def _close_sockets(self) -> None:
        if self.queues is not None:
            self.queues.close()
        for listener in self.admin_sockets:
            listener.close()


def _flat(run_trio: Callable[..., int], *args: object) -> int:
    """Run, and let a single BlitzError out of the groups that nurseries put around it."""
    try:
        return run_trio(*args)
    except BaseExceptionGroup as group:
        error = only_error(group)
        if error is None:
            raise
        raise error from None
