"""Processes: a parent that owns nothing but children, and the signals operators send.

One worker runs in the parent's own process. Several are forked before any engine, thread or event loop
exists (an engine does not survive a fork); each binds with SO_REUSEPORT, so the kernel spreads
connections evenly. State that must be one truth, the rate limits, is shared memory made before the fork.

SIGTERM, SIGINT: drain; a second one: stop now. SIGHUP: reload. SIGCHLD: restart what died, with back-off.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import trio

from blitz.config import Address, Config, Resolved, resolve
from blitz.errors import BlitzError
from blitz.gateway import Gateway, Shared, bind_all, serve

__all__ = ["run"]

_log = logging.getLogger("blitz.workers")

RESTART_FIRST_PAUSE = 0.1  # seconds before a crashed worker is replaced; doubles with each quick crash
RESTART_MAX_PAUSE = 10.0
RESTART_STABLE = 10.0  # a worker that lived this long did not crash at once
EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT = 0, 1, 2

Reader = Callable[[], Config | Resolved]


def run(
    config: Config | Resolved,
    *,
    read_again: Reader | None = None,
    on_ready: Callable[[Gateway], None] | None = None,
) -> int:
    """Serve *config* until a signal ends it; blocks. Installs signal handlers: command line only.

    Args:
        read_again: gives the configuration for a reload (SIGHUP); None: a reload is refused.
        on_ready: called in each worker once it listens.
    Returns:
        The exit code: 0 after a clean drain, 1 when something had to be cut off or failed.
    Raises:
        ConfigError, PluginLoadError: nothing was started.
    """
    resolved = config if isinstance(config, Resolved) else resolve(config)
    shared = Shared()
    try:
        if resolved.workers == 1:
            return trio.run(_work, resolved, None, shared, read_again, on_ready)
        return _Parent(resolved, shared, read_again, on_ready).run()
    finally:
        shared.close()


async def _work(
    resolved: Resolved,
    sockets: list[socket.socket] | None,
    shared: Shared,
    read_again: Reader | None,
    on_ready: Callable[[Gateway], None] | None,
) -> int:
    """One worker: a gateway and the signals it obeys."""
    clean = True
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:

            async def start(task_status: trio.TaskStatus[Gateway]) -> None:
                await serve(resolved, sockets=sockets, shared=shared, task_status=task_status)

            gateway: Gateway = await nursery.start(start)
            if on_ready is not None:
                on_ready(gateway)
            async for number in signals:
                if number == signal.SIGHUP:
                    nursery.start_soon(_reload, gateway, read_again)
                    continue
                clean = await _drain(gateway, signals)
                break
        nursery.cancel_scope.cancel()
    return EXIT_OK if clean else EXIT_FAILED


async def _drain(gateway: Gateway, signals: Any) -> bool:
    """Drain; another SIGTERM or SIGINT ends the grace."""
    clean = False
    async with trio.open_nursery() as nursery:

        async def hurry() -> None:
            async for number in signals:
                if number != signal.SIGHUP:
                    nursery.cancel_scope.cancel()

        nursery.start_soon(hurry)
        clean = await gateway.drain()
        nursery.cancel_scope.cancel()
    return clean


async def _reload(gateway: Gateway, read_again: Reader | None) -> None:
    if read_again is None:
        _log.warning("SIGHUP: there is no configuration file to read again")
        return
    try:
        await gateway.reload(read_again())
    except BlitzError as exc:
        _log.error("reload refused, the old configuration goes on: %s", exc)


class _Parent:
    """Starts workers, passes signals on, replaces what dies."""

    def __init__(
        self,
        resolved: Resolved,
        shared: Shared,
        read_again: Reader | None,
        on_ready: Callable[[Gateway], None] | None,
    ) -> None:
        self.resolved = resolved
        self.shared = shared
        self.read_again = read_again
        self.on_ready = on_ready
        self.children: dict[int, tuple[int, float]] = {}  # pid -> (place, started)
        self.pauses: dict[int, float] = {}
        self.sockets: list[list[socket.socket]] = []
        self.stopping = False
        self.failed = False
        self.restarts = 0

    def run(self) -> int:
        # Every worker's queue exists before the first worker does: nothing is refused while they start,
        # and a worker that is replaced leaves its queue to the next one.
        self.sockets = _bind_groups(self.resolved)
        with self._signals():
            for place in range(self.resolved.workers):
                self._start(place)
            self._supervise()
        self._close_sockets()
        return EXIT_FAILED if self.failed else EXIT_OK

    def _close_sockets(self) -> None:
        for group in self.sockets:
            for listener in group:
                listener.close()

    def _start(self, place: int) -> None:
        pid = os.fork()
        if pid:
            self.children[pid] = (place, time.monotonic())
            return
        code = EXIT_FAILED
        try:
            code = self._child(place)
        except BlitzError as exc:
            print(exc, file=sys.stderr)
            code = EXIT_BAD_INPUT
        except BaseException:
            logging.getLogger("blitz.workers").exception("worker %d failed", place)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _child(self, place: int) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for other, group in enumerate(self.sockets):
            if other != place:
                for listener in group:
                    listener.close()
        on_ready = self.on_ready if place == 0 else None
        return trio.run(_work, self.resolved, self.sockets[place], self.shared, self.read_again, on_ready)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        old = {
            number: signal.signal(number, self._pass_on)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: object) -> None:
        if number != signal.SIGHUP:
            self.stopping = True
            self._close_sockets()
        for pid in list(self.children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _supervise(self) -> None:
        while self.children:
            try:
                pid, status = os.wait()
            except InterruptedError:
                continue
            place, started = self.children.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if self.stopping:
                self.failed = self.failed or code != EXIT_OK
                continue
            if code == EXIT_BAD_INPUT:
                # It said why; the others would fail the same way.
                self.failed = True
                self._pass_on(signal.SIGTERM, None)
                continue
            self._replace(place, started, code)

    def _replace(self, place: int, started: float, code: int) -> None:
        lived = time.monotonic() - started
        pause = (
            0.0
            if lived > RESTART_STABLE
            else min(max(self.pauses.get(place, 0.0) * 2, RESTART_FIRST_PAUSE), RESTART_MAX_PAUSE)
        )
        self.pauses[place] = pause
        self.restarts += 1
        _log.error("worker %d ended with %d after %.1f s; replacing it in %.1f s", place, code, lived, pause)
        time.sleep(pause)
        if not self.stopping:
            self._start(place)


def _bind_groups(resolved: Resolved) -> list[list[socket.socket]]:
    """One group of listening sockets per worker, all on the same addresses."""
    groups = [bind_all(resolved, share=True)]
    bound = [listener.getsockname()[:2] for listener in groups[0]]
    same = msgspec.structs.replace(resolved, listen=tuple(Address(host, port) for host, port in bound))
    groups += [bind_all(same, share=True) for _ in range(1, resolved.workers)]
    return groups
