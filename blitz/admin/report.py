"""What a process reports about itself, and the reports of all processes of the service together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from blitz.server.context import Counters

from .scoreboard import Scoreboard
from .status import Child, Lost, Parent, Reload, Status, Worker, add_counters, merge, version, why_not_ready

__all__ = ["PlaceOnScoreboard", "Reporter", "ScoreboardOfParent"]

PARENT_SLOT = 0
_encoder = msgspec.json.Encoder()
_parents = msgspec.json.Decoder(Parent)
_workers = msgspec.json.Decoder(Worker)


@dataclass(frozen=True, slots=True)
class PlaceOnScoreboard:
    """Where a worker writes; slot -1: nowhere, it only reads."""

    scoreboard: Scoreboard
    slot: int


class Reporter:
    """Of one process; a service without other processes has no place on a scoreboard.

    Attributes:
        look: says what this process does now; replaced once it serves.
    """

    def __init__(self, place: PlaceOnScoreboard | None = None) -> None:
        self._place = place
        self._started = time.time()
        version()  # read from a file, once, while there is a descriptor for it
        self.look: Callable[[], Worker] = self._starting

    def _starting(self) -> Worker:
        return Worker(pid=os.getpid(), state="starting", started=self._started, told=time.time())

    def publish(self) -> None:
        """Let the other processes know, if there are any."""
        if self._place is not None:
            self._write(self.look())

    def _write(self, worker: Worker) -> None:
        place = self._place
        if place is None or place.slot < 0 or place.scoreboard.write(place.slot, _encoder.encode(worker)):
            return
        short = msgspec.structs.replace(worker, plugins={}, upstreams=())
        place.scoreboard.write(place.slot, _encoder.encode(short))

    def why_not_ready(self) -> str:
        """Why a request should go elsewhere; "" when this process or another one takes it."""
        return why_not_ready(*self._read())

    def status(self) -> Status:
        parent, pairs = self._read()
        return merge(parent, [worker for _, worker in pairs])

    def _read(self) -> tuple[Parent, list[tuple[Child, Worker | None]]]:
        own = self.look()
        self._write(own)
        parent = _read_parent(self._place.scoreboard) if self._place is not None else None
        if parent is None or self._place is None:
            parent = _alone(own)
            return parent, [(parent.children[0], own)]
        scoreboard = self._place.scoreboard
        return parent, [
            (child, own if child.pid == own.pid else _read_worker(scoreboard, child.slot, child.pid))
            for child in parent.children
        ]


def _alone(own: Worker) -> Parent:
    child = Child(
        pid=own.pid,
        place=0,
        process_generation=1,
        slot=-1,
        restarts=0,
        started=own.started,
        told_to_end=False,
    )
    return Parent(
        pid=own.pid,
        started=own.started,
        process_generation=1,
        stopping=False,
        restarts=0,
        children=(child,),
        ended=Counters(),
    )


def _read_parent(scoreboard: Scoreboard) -> Parent | None:
    notice = scoreboard.read(PARENT_SLOT)
    return _parents.decode(notice) if notice else None


def _read_worker(scoreboard: Scoreboard, slot: int, pid: int) -> Worker | None:
    notice = scoreboard.read(slot) if slot >= 0 else b""
    worker = _workers.decode(notice) if notice else None
    return worker if worker is not None and worker.pid == pid else None


class ScoreboardOfParent:
    """The parent's side: hands out slots, and says which processes there are.

    Args:
        workers: how many serve at a time; more slots are there for those that are being replaced.
    """

    def __init__(self, workers: int) -> None:
        slots = 1 + 4 * workers + 16
        self.scoreboard = Scoreboard(slots)
        self._free = list(range(slots - 1, PARENT_SLOT, -1))
        self._ended = Counters()
        self._started = time.time()

    def take(self) -> PlaceOnScoreboard:
        """A place for a worker that is about to start."""
        return PlaceOnScoreboard(self.scoreboard, self._free.pop() if self._free else -1)

    def give_back(self, slot: int, pid: int) -> None:
        """The worker *pid* has ended; what it counted stays in the sum."""
        if slot < 0:
            return
        worker = _read_worker(self.scoreboard, slot, pid)
        if worker is not None:
            self._ended = add_counters([self._ended, worker.counters])
        self.scoreboard.clear(slot)
        self._free.append(slot)

    def tell(
        self,
        children: tuple[Child, ...],
        *,
        process_generation: int,
        stopping: bool,
        restarts: int,
        lost: tuple[Lost, ...] = (),
        last_upgrade: Reload | None = None,
    ) -> None:
        """Write down what the parent knows."""
        parent = Parent(
            pid=os.getpid(),
            started=self._started,
            process_generation=process_generation,
            stopping=stopping,
            restarts=restarts,
            children=children,
            ended=self._ended,
            lost=lost,
            last_upgrade=last_upgrade,
        )
        self.scoreboard.write(PARENT_SLOT, _encoder.encode(parent))

    def close(self) -> None:
        self.scoreboard.close()
