"""One worker process: a gateway and the signals it obeys.

SIGHUP: reload. SIGTERM, SIGINT: drain, as ``obey.py`` says. When the parent is gone, it drains too.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import trio

from blitz.config import Config, Resolved
from blitz.gateway import Gateway, PlaceOnScoreboard, Shared, keep_going, serve
from blitz.process.heartbeat import BEAT
from blitz.process.obey import Obedience
from blitz.process.orders import Orders
from blitz.process.signals import ENDING, SIGNALS

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
        ready: called once the worker serves. changed: called then too, and when it runs on something else;
            called again if it raises.
        beat: called once a second while the event loop runs.
        admin_sockets: listening sockets for operators, shared with the parent and the other workers.
        place: where this worker tells the others how it is; None: nobody asks.
        set_up_as: what the service was started with. name: for its log lines. orders: of the parent.
        leaving: called when somebody else tells it to end. drained: called with what was in flight then, and
            what was cut off.
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
    name: str
    set_up_as: Resolved
    orders: Orders
    leaving: Callable[[], None]
    drained: Callable[[int, int], None]
    place: PlaceOnScoreboard | None


async def work(start: WorkerStart) -> int:
    """Serve until told to stop; the exit code: 0, or 1 when something had to be cut off."""
    _use_one_arena()
    code = EXIT_OK
    ended = trio.Event()
    for number in ENDING:
        # What the receiver leaves behind: the parent's signal may come after its order was obeyed.
        signal.signal(number, lambda *_: None)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(*ENDING, signal.SIGHUP) as signals:
            # Blocked since before the fork: one that came meanwhile is not lost, and ends nobody.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            lost = "workers do not notice if it goes"
            look = partial(_drain_without_parent, start.parent)
            nursery.start_soon(keep_going, "looking after the parent process", lost, look)
            lost = "the parent process takes this worker for one that hangs"
            nursery.start_soon(keep_going, "heartbeat", lost, partial(_beat, start.beat))
            gateway = await _start(nursery, start, ended, signals)
            if gateway is None:
                nursery.cancel_scope.cancel()
                return code
            gateway.name = start.name
            start.ready(gateway)
            reports = _Announcer(partial(start.changed, gateway))
            gateway.report_changes(reports.note, start.set_up_as)
            lost = "the parent process does not know what this worker runs on"
            nursery.start_soon(keep_going, "reports to the parent process", lost, reports.run)
            code = EXIT_OK if await _obey(gateway, start, signals, ended) else EXIT_FAILED
        nursery.cancel_scope.cancel()
    return code


class _Announcer:
    """Tells somebody who may not listen now what a gateway runs on: at first, and after each change."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._told, self._changes = 0, 1
        self._changed = trio.Event()

    def note(self) -> None:
        """It runs on something else."""
        self._changes += 1
        self._changed.set()

    async def run(self) -> None:
        """Tell it, for ever; what is not taken is told anew by the next run."""
        while True:
            changes = self._changes
            if self._told != changes:
                self._tell()
                self._told = changes
            self._changed = trio.Event()
            await self._changed.wait()


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


async def _obey(gateway: Gateway, start: WorkerStart, signals: AsyncIterator[int], ended: trio.Event) -> bool:
    """Serve until told to end, and drain; True when nothing was cut off."""
    async with trio.open_nursery() as nursery:
        obey = Obedience(gateway, start.orders, nursery, start.sockets, start.leaving)
        hear = partial(obey.hear, signals)
        nursery.start_soon(keep_going, "listening for signals", "they do nothing", hear)
        nursery.start_soon(keep_going, "listening to the parent process", "its orders wait", obey.read_orders)
        await obey.told.wait()
        clean = await obey.drain(ended)
        start.drained(*gateway.drain_statistics())
        nursery.cancel_scope.cancel()
    return clean
