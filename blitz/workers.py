"""The parent process: it owns the listening sockets and the workers, and serves nothing itself.

Theory of operation. Every worker is forked before any engine, thread or event loop exists in its process (an
engine does not survive a fork). The sockets are the parent's: made before the first worker, one queue
per worker (SO_REUSEPORT), so that the kernel spreads connections evenly; a worker that dies or is
replaced leaves its queue to its successor, and no connection is refused meanwhile. Rate limits live in
memory shared by all (``Shared``).

Signals arrive one at a time through ``sigtimedwait``: no handler runs in the middle of anything.

    SIGTERM, SIGINT   workers drain, then the parent ends; a second one hurries them
    SIGHUP            workers reload their configuration
    SIGUSR2           new workers start beside the old ones; once all of them serve, the old ones drain
    SIGCHLD           a worker that died is replaced, after a pause that doubles while it keeps dying
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio

from blitz import systemd
from blitz.config import Config, Resolved, resolve
from blitz.errors import BlitzError, ConfigError, only_error
from blitz.gateway import (
    BoardOfParent,
    Child,
    Gateway,
    PlaceOnBoard,
    Shared,
    bind_admin,
    bind_all,
    spoken_on,
)
from blitz.worker import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK, Reader, WorkerStart, work

__all__ = ["run"]

_log = logging.getLogger("blitz.workers")

SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD))
RESTART_FIRST_PAUSE = 0.1  # seconds before a dead worker is replaced; doubles while it keeps dying ...
RESTART_MAX_PAUSE = 10.0
RESTART_STABLE = 10.0  # ... and starts anew for one that lived this long
START_TIMEOUT = 60.0  # seconds a generation may take until it serves: compiling plugins takes seconds
POLL = 0.05  # seconds between looks at the readiness pipe while workers start
IDLE_POLL = 1.0

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
    shared = Shared()
    try:
        return _Parent(resolved, shared, read_again, on_ready).run()
    finally:
        shared.close()


class _Report(msgspec.Struct):
    """What a worker tells its parent: that it serves, or why it cannot. Below PIPE_BUF: one write."""

    pid: int
    error: str = ""


def _raise_file_limit() -> None:
    """As many descriptors as the system lets this user have: the soft limit of 1024 is for select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass(slots=True)
class _Child:
    """Attributes: started: monotonic, born: seconds since the epoch. slot: of the board."""

    place: int
    generation: int
    started: float
    born: float
    slot: int
    restarts: int
    ready: bool = False
    told_to_end: bool = False
    error: str = ""


class _Parent:
    def __init__(
        self, resolved: Resolved, shared: Shared, read_again: Reader | None, on_ready: OnReady | None
    ) -> None:
        self.resolved = resolved
        self.shared = shared
        self.read_again = read_again
        self.on_ready = on_ready
        self.children: dict[int, _Child] = {}
        self.due: dict[int, float] = {}  # place -> when its next worker starts
        self.pauses: dict[int, float] = {}
        self.generation = 1
        self.generation_deadline = 0.0
        self.replacing = False
        self.stopping = False
        self.code = EXIT_OK
        self.restarts = 0
        self.restarts_of: dict[int, int] = {}
        self.error = ""
        self.ready_in, self.ready_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.alive_in, self.alive_out = os.pipe2(os.O_CLOEXEC)
        self.groups: list[list[socket.socket]] = []
        self.admin_sockets: list[socket.socket] = []
        self.board: BoardOfParent | None = None  # only where there is an admin listener to read it

    def run(self) -> int:
        old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.groups = _socket_groups(self.resolved)
            self.admin_sockets = bind_admin(self.resolved)
            if self.admin_sockets:
                self.board = BoardOfParent(self.resolved.workers)
            self._start(0)  # alone: what is wrong with a configuration is said once
            self._supervise()
        finally:
            self._close_sockets()
            if self.board is not None:
                self.board.close()
            for fd in (self.ready_in, self.ready_out, self.alive_in, self.alive_out):
                os.close(fd)
            signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        if self.error:
            raise ConfigError(self.error)
        return self.code

    # -- the loop

    def _supervise(self) -> None:
        watchdog = systemd.watchdog_interval()
        next_beat = time.monotonic()
        while self.children or self.due:
            info = signal.sigtimedwait(SIGNALS, self._patience(watchdog))
            self._note_ready()
            self._reap()
            if info is not None:
                self._obey(signal.Signals(info.si_signo))
            now = time.monotonic()
            for place in [place for place, when in self.due.items() if when <= now]:
                del self.due[place]
                self._start(place)
            if self.replacing and now > self.generation_deadline:
                self._give_up_replacing("did not serve in time")
            if watchdog and now >= next_beat:
                systemd.notify("WATCHDOG=1")
                next_beat = now + watchdog

    def _patience(self, watchdog: float) -> float:
        starting = self.due or any(not child.ready for child in self.children.values())
        patience = POLL if starting else IDLE_POLL
        return min(patience, watchdog) if watchdog else patience

    def _obey(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if not self.stopping:
                systemd.notify("STOPPING=1")
            self._stop()
        elif number == signal.SIGHUP and not self.stopping:
            systemd.notify_reloading()
            self._read_for_successors()
            self._tell(signal.SIGHUP, self.children)
            systemd.notify("READY=1")
        elif number == signal.SIGUSR2 and not self.stopping:
            self._replace_all()

    def _stop(self) -> None:
        self.stopping = True
        self._tell_board()
        self.due.clear()
        self._close_sockets()
        self._tell(signal.SIGTERM, self.children)

    def _tell(self, number: signal.Signals, children: dict[int, _Child]) -> None:
        for child in children.values():
            child.told_to_end = child.told_to_end or number == signal.SIGTERM
        self._tell_board()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _tell_board(self) -> None:
        """Write down who there is, for whoever asks a worker."""
        if self.board is None:
            return
        children = tuple(
            Child(
                pid=pid,
                place=child.place,
                process_generation=child.generation,
                slot=child.slot,
                restarts=child.restarts,
                started=child.born,
                told_to_end=child.told_to_end,
            )
            for pid, child in sorted(self.children.items(), key=lambda item: item[1].place)
        )
        self.board.tell(
            children,
            process_generation=self.generation,
            stopping=self.stopping,
            restarts=self.restarts,
        )

    # -- workers that begin

    def _start(self, place: int) -> None:
        where = self.board.take() if self.board is not None else None
        pid = os.fork()
        if pid:
            slot = where.slot if where is not None else -1
            self.children[pid] = _Child(
                place, self.generation, time.monotonic(), time.time(), slot, self.restarts_of.get(place, 0)
            )
            self._tell_board()
            return
        code = EXIT_FAILED
        try:
            code = self._be_a_worker(place, where)
        except BlitzError as exc:
            self._report(_Report(os.getpid(), str(exc)))
            code = EXIT_BAD_INPUT
        except BaseException:
            _log.exception("worker %d failed", place)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _be_a_worker(self, place: int, where: PlaceOnBoard | None) -> int:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGUSR2 else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.close(self.ready_in)
        os.close(self.alive_out)
        greeter = self.on_ready if place == 0 and self.generation == 1 and not self.restarts else None

        def ready(gateway: Gateway) -> None:
            if greeter is not None:
                greeter(gateway)
            self._report(_Report(os.getpid()))

        start = WorkerStart(
            self.resolved,
            self.groups[place],
            self.shared,
            self.read_again,
            ready,
            self.alive_in,
            self.admin_sockets,
            where,
        )
        return _flat(trio.run, work, start)

    def _report(self, report: _Report) -> None:
        os.write(self.ready_out, msgspec.json.encode(report) + b"\n")

    def _note_ready(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self.ready_in, 65536).splitlines():
                report = msgspec.json.decode(line, type=_Report)
                child = self.children.get(report.pid)
                if child is None:
                    continue
                child.error = report.error
                if not report.error:
                    child.ready = True
                    self._one_more(child)

    def _one_more(self, child: _Child) -> None:
        current = [other for other in self.children.values() if other.generation == self.generation]
        if child.generation != self.generation or self.stopping:
            return
        places = {other.place for other in current} | set(self.due)
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
            _log.info("generation %d serves; the one before drains", self.generation)
            old = {pid: child for pid, child in self.children.items() if child.generation < self.generation}
            self._tell(signal.SIGTERM, old)

    def _read_for_successors(self) -> None:
        """What a worker that dies from now on is replaced with. The workers say what is wrong with it."""
        if self.read_again is not None:
            with contextlib.suppress(BlitzError):
                self._take(self.read_again())

    def _take(self, config: Config | Resolved) -> None:
        fresh = config if isinstance(config, Resolved) else resolve(config)
        # Addresses and the number of workers are the sockets', and those stay.
        self.resolved = msgspec.structs.replace(
            fresh, listen=self.resolved.listen, workers=self.resolved.workers
        )

    # -- a new generation (SIGUSR2)

    def _replace_all(self) -> None:
        if self.replacing:
            _log.warning("SIGUSR2: a replacement is under way already")
            return
        if self.read_again is not None:
            try:
                self._take(self.read_again())
            except BlitzError as exc:
                _log.error("SIGUSR2 refused, the old workers go on: %s", exc)
                return
        self.generation += 1
        self.replacing = True
        self.generation_deadline = time.monotonic() + START_TIMEOUT
        self._start(0)

    def _give_up_replacing(self, why: str) -> None:
        _log.error("generation %d %s; the old workers go on", self.generation, why)
        self.replacing = False
        new = {pid: child for pid, child in self.children.items() if child.generation == self.generation}
        self._tell(signal.SIGTERM, new)
        for child in self.children.values():
            if child.generation < self.generation:
                child.generation = self.generation
        self._tell_board()

    # -- workers that end

    def _reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self.children.pop(pid, None)
            if child is None:
                continue  # as process 1 of a container we get everybody's orphans
            if self.board is not None:
                self.board.give_back(child.slot, pid)
            self._ended(child, os.waitstatus_to_exitcode(status))
            self._tell_board()

    def _ended(self, child: _Child, code: int) -> None:
        if child.told_to_end:
            # One that was told before it served had nothing to finish, however it ended.
            if self.stopping and child.ready and code != EXIT_OK:
                self.code = EXIT_FAILED
            return
        if self.replacing and child.generation == self.generation:
            self._give_up_replacing(f"failed to start: {child.error or f'exit {code}'}")
            return
        if self.stopping:
            return
        if not child.ready and not any(other.ready for other in self.children.values()):
            # The first worker cannot start: nor could any other.
            self.code = EXIT_FAILED
            self.error = child.error
            self._stop()
            return
        self._restart_later(child, code)

    def _restart_later(self, child: _Child, code: int) -> None:
        lived = time.monotonic() - child.started
        pause = 0.0
        if lived < RESTART_STABLE:
            pause = min(max(self.pauses.get(child.place, 0.0) * 2, RESTART_FIRST_PAUSE), RESTART_MAX_PAUSE)
        self.pauses[child.place] = pause
        self.restarts += 1
        self.restarts_of[child.place] = self.restarts_of.get(child.place, 0) + 1
        _log.error(
            "worker %d ended with %d after %.1f s; replacing it in %.1f s (restart %d)",
            child.place,
            code,
            lived,
            pause,
            self.restarts,
        )
        self.due[child.place] = time.monotonic() + pause

    def _close_sockets(self) -> None:
        for group in [*self.groups, self.admin_sockets]:
            for listener in group:
                listener.close()


def _socket_groups(resolved: Resolved) -> list[list[socket.socket]]:
    """A group of listening sockets for each worker, all on the same addresses.

    Sockets that systemd passed are shared by all: there is one queue, and each worker takes from it.
    """
    inherited = systemd.inherited_sockets()
    if inherited:
        return [inherited] * resolved.workers
    share = resolved.workers > 1
    groups = [bind_all(resolved, share=share)]
    same = msgspec.structs.replace(resolved, listen=tuple(spoken_on(sock, ()) for sock in groups[0]))
    groups += [bind_all(same, share=share) for _ in range(1, resolved.workers)]
    return groups


def _flat(run_trio: Callable[..., int], *args: object) -> int:
    """Run, and let a single BlitzError out of the groups that nurseries put around it."""
    try:
        return run_trio(*args)
    except BaseExceptionGroup as group:
        error = only_error(group)
        if error is None:
            raise
        raise error from None
