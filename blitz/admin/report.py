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
from .notices import Notices, Told, changes, worker_event
from .scoreboard import Scoreboard
from .status import Child, Lost, Parent, Reload, Status, Worker, version
from .wishes import Change, Wishes

__all__ = ["PlaceOnScoreboard", "Reporter", "ScoreboardOfParent"]

PARENT_SLOT = 0
_encoder = msgspec.json.Encoder()
_parents = msgspec.json.Decoder(Parent)
_workers = msgspec.json.Decoder(Worker)


def _nobody(change: Change) -> None:
    raise OSError("there is no parent process")


@dataclass(frozen=True, slots=True)
class PlaceOnScoreboard:
    """Where a worker writes; slot -1: nowhere, it only reads. measures, notices: what it counts and tells has
    the same slot. ask: hands a wish to the parent; may raise OSError."""

    scoreboard: Scoreboard
    slot: int
    measures: SharedMeasures
    notices: Notices
    ask: Callable[[Change], None] = _nobody


class Reporter:
    """Of one process; a service without other processes has no place on a scoreboard.

    Attributes:
        look: says what this process does now; replaced once it serves.
        measures: what it counts. tell_measures: has those figures told that are looked at now and then.
        notices: what all processes tell; told: this one's part.
        ask: hands a wish to the parent; None: there is none.
        began_after: how many reloads were asked for before it began to read its configuration.
    """

    def __init__(self, place: PlaceOnScoreboard | None = None) -> None:
        self._place = place
        self._started = time.time()
        version()  # read from a file, once, while there is a descriptor for it
        self.look: Callable[[], Worker] = self._starting
        has_slot = place is not None and place.slot >= 0
        self.measures = Measures(place.measures, place.slot) if place is not None and has_slot else Measures()
        self.tell_measures: Callable[[], None] = _nothing
        self.notices = place.notices if place is not None else Notices()
        self.told = Told(self.notices, place.slot if place is not None else 0)
        self.ask = place.ask if place is not None else None
        self._seen: Worker | None = None
        self.began_after = self.wishes().reloads

    def _starting(self) -> Worker:
        return Worker(pid=os.getpid(), state="starting", started=self._started, told=time.time())

    def publish(self) -> None:
        """Let the other processes know, if there are any."""
        self.tell_measures()
        now = self.look()
        if self._seen is not None:
            for event in changes(self._seen, now):
                self.told.event(event)
        self._seen = now
        self._write(now)

    def wishes(self) -> Wishes:
        """What operators want, as the parent has it; nothing without one."""
        parent = _read_parent(self._place.scoreboard) if self._place is not None else None
        return parent.wishes if parent is not None else Wishes()

    def serving(self) -> list[Worker]:
        """What those workers say that serve and go on, this one included."""
        _, pairs = self._read()
        return [
            worker
            for child, worker in pairs
            if worker is not None
            and worker.state == "serving"
            and not child.told_to_end
            and not child.silent_since
        ]

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
        self.notices = Notices(slots)
        self.told = Told(self.notices, PARENT_SLOT)
        self.wishes = Wishes()
        self._children: dict[int, int] = {}  # pid -> place
        self._measures = SharedMeasures(slots)
        self._own = Measures(self._measures, PARENT_SLOT)
        self._free = list(range(slots - 1, PARENT_SLOT, -1))
        self._started = time.time()

    def take(self) -> PlaceOnScoreboard:
        """A place for a worker that is about to start."""
        slot = self._free.pop() if self._free else -1
        return PlaceOnScoreboard(self.scoreboard, slot, self._measures, self.notices)

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
        self._tell_changes(children)
        parent = Parent(
            pid=os.getpid(),
            started=self._started,
            process_generation=process_generation,
            stopping=stopping,
            restarts=restarts,
            children=children,
            lost=lost,
            last_upgrade=last_upgrade,
            wishes=self.wishes,
        )
        self.scoreboard.write(PARENT_SLOT, _encoder.encode(parent))

    def _tell_changes(self, children: tuple[Child, ...]) -> None:
        now = {child.pid: child.place for child in children}
        for pid in self._children.keys() - now.keys():
            self.told.event(worker_event(pid, self._children[pid], "ended"))
        for pid in now.keys() - self._children.keys():
            self.told.event(worker_event(pid, now[pid], "started"))
        self._children = now

    def close(self) -> None:
        self.scoreboard.close()
