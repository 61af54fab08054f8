"""One worker process: a gateway and the signals it obeys.

SIGTERM, SIGINT: drain; a second one: hurry. SIGHUP: reload. When the parent is gone, it drains too.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import trio

from blitz.config import Config, Resolved
from blitz.errors import BlitzError
from blitz.gateway import Gateway, PlaceOnBoard, Shared, serve
from blitz.heartbeat import BEAT
from blitz.signals import ENDING, SIGNALS

__all__ = ["EXIT_BAD_INPUT", "EXIT_FAILED", "EXIT_OK", "Reader", "WorkerStart", "work"]

_log = logging.getLogger("blitz.workers")

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT = 0, 1, 2
M_ARENA_MAX = -8  # of glibc's malloc.h

Reader = Callable[[], Config | Resolved]


@dataclass(frozen=True)
class WorkerStart:
    """What a worker is given.

    Attributes:
        config: what to serve, or where to get it.
        served: if it has served before: name of each plugin -> sha256 of its module then.
        sockets: listening sockets, shared with the parent.
        shared: rate limits, one truth for all workers.
        read_again: gives the configuration for a reload; None: the same one, with the plugins' files anew.
        ready: called once the worker serves. changed: called when it runs on something else.
        beat: called once a second while the event loop runs.
        admin_sockets: listening sockets for operators, shared with the parent and the other workers.
        place: where this worker tells the others how it is; None: nobody asks.
        parent: descriptor that ends (becomes readable) when the parent does.
    """

    config: Resolved | Reader
    served: Mapping[str, str]
    sockets: list[socket.socket]
    shared: Shared
    read_again: Reader | None
    ready: Callable[[Gateway], None]
    changed: Callable[[Gateway], None]
    beat: Callable[[], None]
    parent: int
    admin_sockets: list[socket.socket]
    place: PlaceOnBoard | None


async def work(start: WorkerStart) -> int:
    """Serve until told to stop; the exit code: 0, or 1 when something had to be cut off."""
    _use_one_arena()
    code = EXIT_OK
    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(*ENDING, signal.SIGHUP) as signals:
            # Blocked since before the fork: one that came meanwhile is not lost, and ends nobody.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            nursery.start_soon(_drain_without_parent, start.parent)
            nursery.start_soon(_beat, start.beat)
            gateway = await _start(nursery, start, ended, signals)
            if gateway is None:
                nursery.cancel_scope.cancel()
                return code
            gateway.on_change = lambda: start.changed(gateway)
            start.ready(gateway)
            async for number in signals:
                if number in ENDING:
                    break
                nursery.start_soon(_reload, gateway)
            code = EXIT_OK if await _drain(gateway, ended, signals) else EXIT_FAILED
        nursery.cancel_scope.cancel()
    return code


def _use_one_arena() -> None:
    """Plugins and files are loaded in threads. malloc gives each an arena of its own, where the little that
    stays holds back the rest: a worker under reloads grew by 2 MiB in some minutes. Nearly all runs in one
    thread, so there is no contention that further arenas would spare.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


async def _start(
    nursery: trio.Nursery, start: WorkerStart, ended: trio.Event, signals: AsyncIterator[int]
) -> Gateway | None:
    """The gateway once it serves; None when a signal ended it before: compiling plugins may take minutes."""
    gateway: Gateway | None = None
    seen: set[int] = set()
    async with trio.open_nursery() as starting:

        async def obey() -> None:
            async for number in signals:
                seen.add(number)
                if number in ENDING:
                    starting.cancel_scope.cancel()

        starting.start_soon(obey)
        gateway = await nursery.start(_serve, start, ended)
        starting.cancel_scope.cancel()
    if gateway is not None:
        for number in seen:  # it serves all the same: what came meanwhile counts now
            signal.raise_signal(number)
    return gateway


async def _serve(start: WorkerStart, ended: trio.Event, *, task_status: trio.TaskStatus[Gateway]) -> None:
    try:
        await serve(
            start.config,
            sockets=start.sockets,
            shared=start.shared,
            again=start.read_again,
            admin_sockets=start.admin_sockets,
            place=start.place,
            served=start.served,
            task_status=task_status,
        )
    finally:
        ended.set()


async def _beat(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await trio.sleep(BEAT)


async def _drain_without_parent(parent: int) -> None:
    await trio.lowlevel.wait_readable(parent)
    _log.error("the parent process is gone: draining")
    os.kill(os.getpid(), signal.SIGTERM)


async def _drain(gateway: Gateway, ended: trio.Event, signals: AsyncIterator[int]) -> bool:
    """Drain within ``timeouts.drain`` and come to an end; another SIGTERM or SIGINT hurries. True when all
    finished."""
    clean = False
    async with trio.open_nursery() as nursery:

        async def hurry() -> None:
            async for number in signals:
                if number in ENDING:
                    nursery.cancel_scope.cancel()

        nursery.start_soon(hurry)
        clean = await gateway.drain()
        await ended.wait()  # guests clean up, logs are written, operators get their last answer
        nursery.cancel_scope.cancel()
    return clean


async def _reload(gateway: Gateway) -> None:
    with contextlib.suppress(BlitzError):  # it was logged, and the old configuration goes on
        await gateway.reload(reason="signal")
