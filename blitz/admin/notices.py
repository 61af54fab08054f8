"""What happens in a service, told by whoever sees it and read by whoever follows: events, faults, log lines.

Each process writes its own ring (``ledger.py``). Events and faults are kept for those who come later; lines
are written only while somebody follows them.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from .ledger import Ledger, Reader, Writer

if TYPE_CHECKING:
    from blitz.server.faults import Fault

    from .status import EndpointStatus, Worker

__all__ = ["MAX_FAULTS", "Event", "Notices", "Told", "changes", "recent_faults", "state_of", "worker_event"]

EVENTS_SIZE, FAULTS_SIZE, LINES_SIZE = 32 * 1024, 128 * 1024, 256 * 1024  # of one process; taken as used
MAX_FAULTS = 200  # that one answer tells
MAX_TEXT = 4000  # characters of a sentence
_encoder = msgspec.json.Encoder()

What = Literal["reload", "endpoint", "quarantine", "worker"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that has changed.

    Attributes:
        time: seconds since the epoch. pid: of the process that tells it.
        event: what it is about. state: what became of it: ``success`` or ``refused`` of a reload; ``up``,
            ``down``, ``failing``, ``drained`` of an endpoint; ``begins``, ``ends`` of a quarantine;
            ``started``, ``ended`` of a worker.
        plugin, upstream, endpoint, place, generation: which one; left out where that says nothing.
        why: one sentence, or "".
    """

    time: float
    pid: int
    event: What
    state: str
    plugin: str = ""
    upstream: str = ""
    endpoint: str = ""
    place: int | None = None
    generation: int | None = None
    why: str = ""


class Notices:
    """The rings of a service, one per process each; made before the fork."""

    def __init__(self, slots: int = 1) -> None:
        self.events = Ledger(slots, EVENTS_SIZE)
        self.faults = Ledger(slots, FAULTS_SIZE)
        self.lines = Ledger(slots, LINES_SIZE)
        self.access = Ledger(slots, LINES_SIZE)


class Told:
    """What one process tells; *slot* -1: nobody."""

    def __init__(self, notices: Notices, slot: int) -> None:
        self._events = Writer(notices.events, slot)
        self._faults = Writer(notices.faults, slot)
        self.lines = Writer(notices.lines, slot)
        self.access = Writer(notices.access, slot)

    def event(self, event: Event) -> None:
        self._events.write(_encoder.encode(event))

    def fault(self, fault: Fault) -> None:
        told = dataclasses.asdict(fault) | {"message": fault.message[:MAX_TEXT]}
        self._faults.write(_encoder.encode(told))


def recent_faults(notices: Notices) -> list[msgspec.Raw]:
    """The last faults in all processes, oldest first, each as JSON."""
    records, _ = Reader(notices.faults, from_now=False).read()
    timed = sorted((msgspec.json.decode(record, type=_Timed).time, record) for record in records)
    return [msgspec.Raw(record) for _, record in timed[-MAX_FAULTS:]]


class _Timed(msgspec.Struct):
    time: float


def changes(before: Worker, now: Worker) -> list[Event]:
    """What has become different in one process from one look to the next."""
    found = [*_reloads(before, now), *_quarantines(before, now)]
    known = {(one.upstream, one.address): state_of(one) for one in before.upstreams}
    for one in now.upstreams:
        was = known.get((one.upstream, one.address), "up")
        if (state := state_of(one)) != was:
            event = Event(time=now.told, pid=now.pid, event="endpoint", state=state)
            found.append(msgspec.structs.replace(event, upstream=one.upstream, endpoint=one.address))
    return found


def state_of(endpoint: EndpointStatus) -> str:
    """As one process sees it."""
    if endpoint.drained:
        return "drained"
    if endpoint.down:
        return "down"
    return "failing" if endpoint.failing else "up"


def _reloads(before: Worker, now: Worker) -> list[Event]:
    reload = now.last_reload
    if reload is None or reload == before.last_reload:
        return []
    state = "refused" if reload.error else "success"
    event = Event(time=reload.time, pid=now.pid, event="reload", state=state, generation=now.generation)
    return [msgspec.structs.replace(event, why=reload.error[:MAX_TEXT])]


def _quarantines(before: Worker, now: Worker) -> list[Event]:
    found = []
    for name, plugin in now.plugins.items():
        was = before.plugins.get(name)
        began = was.quarantined if was is not None else 0
        if plugin.quarantined == began:
            continue
        state = "begins" if plugin.quarantined else "ends"
        found.append(Event(time=now.told, pid=now.pid, event="quarantine", state=state, plugin=name))
    return found


def worker_event(pid: int, place: int, state: str) -> Event:
    """The parent tells of a worker."""
    return Event(time=time.time(), pid=pid, event="worker", state=state, place=place)
