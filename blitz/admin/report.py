"""What a process reports about itself, and the reports of all processes of the service together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from blitz.measures import Measures, SharedMeasures
from blitz.measures.counters import values_of_all
from blitz.measures.exposition import exposition
from blitz.measures.figures import RESTARTS, SERIES_REFUSED

from .merge import merge, why_not_ready
from .scoreboard import Scoreboard
from .status import Child, Lost, Parent, Reload, Status, Worker, version

__all__ = ["PlaceOnScoreboard", "Reporter", "ScoreboardOfParent"]

PARENT_SLOT = 0
_encoder = msgspec.json.Encoder()
_parents = msgspec.json.Decoder(Parent)
_workers = msgspec.json.Decoder(Worker)


@dataclass(frozen=True, slots=True)
class PlaceOnScoreboard:
    """Where a worker writes; slot -1: nowhere, it only reads. measures: what it counts has the same slot."""

    scoreboard: Scoreboard
    slot: int
    measures: SharedMeasures


class Reporter:
    """Of one process; a service without other processes has no place on a scoreboard.

    Attributes:
        look: says what this process does now; replaced once it serves.
        measures: what it counts. tell_measures: has those figures told that are looked at now and then.
    """

    def __init__(self, place: PlaceOnScoreboard | None = None) -> None:
        self._place = place
        self._started = time.time()
        version()  # read from a file, once, while there is a descriptor for it
        self.look: Callable[[], Worker] = self._starting
        has_slot = place is not None and place.slot >= 0
        self.measures = Measures(place.measures, place.slot) if place is not None and has_slot else Measures()
        self.tell_measures: Callable[[], None] = _nothing

    def _starting(self) -> Worker:
        return Worker(pid=os.getpid(), state="starting", started=self._started, told=time.time())

    def publish(self) -> None:
        """Let the other processes know, if there are any."""
        self.tell_measures()
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
        return merge(parent, [worker for _, worker in pairs], values_of_all(self._all_measures().merged()))

    def metrics(self, *, openmetrics: bool) -> bytes:
        """All figures of all workers, as text."""
        self.tell_measures()
        merged = self._all_measures().merged()
        if merged.refused:
            self.measures.follow_one(SERIES_REFUSED, merged.refused)
            merged = self._all_measures().merged()
        return exposition(merged, openmetrics=openmetrics)

    def _all_measures(self) -> SharedMeasures:
        return self._place.measures if self._place is not None else self.measures.shared

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
    )


def _nothing() -> None:
    pass


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
        self._measures = SharedMeasures(slots)
        self._own = Measures(self._measures, PARENT_SLOT)
        self._free = list(range(slots - 1, PARENT_SLOT, -1))
        self._started = time.time()

    def take(self) -> PlaceOnScoreboard:
        """A place for a worker that is about to start."""
        return PlaceOnScoreboard(self.scoreboard, self._free.pop() if self._free else -1, self._measures)

    def give_back(self, slot: int) -> None:
        """The worker in *slot* has ended; what it counted stays, and the next one in it counts on."""
        if slot < 0:
            return
        self._measures.forget_gauges(slot)
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
        self._own.follow([(self, RESTARTS, restarts, ())])
        parent = Parent(
            pid=os.getpid(),
            started=self._started,
            process_generation=process_generation,
            stopping=stopping,
            restarts=restarts,
            children=children,
            lost=lost,
            last_upgrade=last_upgrade,
        )
        self.scoreboard.write(PARENT_SLOT, _encoder.encode(parent))

    def close(self) -> None:
        self.scoreboard.close()
