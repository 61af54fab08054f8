"""What all workers say of themselves, as one status: ``status.py`` has the values."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from blitz.measures.counters import Counters

from .status import (
    DRAINING,
    Child,
    EndpointStatus,
    LostWorker,
    Parent,
    PluginStatus,
    Reload,
    Status,
    Worker,
    WorkerStatus,
    version,
)

__all__ = ["merge", "why_not_ready"]


def merge(
    parent: Parent,
    told: Sequence[Worker | None],
    counters: Counters = Counters(),  # noqa: B008
) -> Status:
    """One truth. *told* is what each of ``parent.children`` said, None where it said nothing yet; *counters*
    are those of all of them, and of those that have ended."""
    now = time.time()
    pairs = list(zip(parent.children, told, strict=True))
    said = [worker for worker in told if worker is not None]
    trouble = why_not_ready(parent, pairs)
    return Status(
        version=version(),
        ready=not trouble,
        trouble=trouble,
        generation=max((worker.generation for worker in said), default=0),
        process_generation=parent.process_generation,
        pid=parent.pid,
        uptime=round(now - parent.started, 3),
        restarts=parent.restarts,
        workers=tuple(_worker_status(child, worker, now) for child, worker in pairs),
        lost=tuple(
            LostWorker(
                place=lost.place,
                reason=lost.reason,
                failures=lost.failures,
                retry_in=round(max(lost.retry - now, 0.0), 3),
            )
            for lost in parent.lost
        ),
        connections=sum(worker.connections for worker in said),
        in_flight=sum(worker.in_flight for worker in said),
        counters=counters,
        plugins=_plugins(said),
        upstreams=_upstreams(said),
        access_lost=sum(worker.access_lost for worker in said),
        last_reload=_last_reload(parent.last_upgrade, [worker.last_reload for worker in said]),
    )


def why_not_ready(parent: Parent, pairs: Iterable[tuple[Child, Worker | None]]) -> str:
    """Why a request should go elsewhere; "" when one worker at least takes it, and none keeps it waiting."""
    if parent.stopping:
        return DRAINING
    expected = [(child, worker) for child, worker in pairs if not child.told_to_end]
    # The system spreads new connections over all: those that are given to such a worker wait.
    now = time.time()
    if waits := [why for child, worker in expected if (why := _why_it_waits(child, worker, now))]:
        return "; ".join(waits)
    troubles = set()
    for _, worker in expected:
        trouble = "starting" if worker is None else worker.trouble or worker.state
        if trouble == "serving":
            return ""
        troubles.add(trouble)
    troubles |= {f"worker {lost.place} {lost.reason}" for lost in parent.lost}
    return "; ".join(sorted(troubles)) or "there is no worker"


def _why_it_waits(child: Child, worker: Worker | None, now: float) -> str:
    """Why whoever is given to *child* waits; "" when nobody does."""
    if silence := _silence(child, now):
        return silence
    return f"worker {child.place}: {worker.blocked}" if worker is not None and worker.blocked else ""


def _silence(child: Child, now: float) -> str:
    """In words, how long *child* has said nothing; "" when it speaks."""
    if not child.silent_since:
        return ""
    return f"worker {child.place} has said nothing for {max(now - child.silent_since, 0.0):.0f} s"


def _worker_status(child: Child, worker: Worker | None, now: float) -> WorkerStatus:
    if worker is None:
        worker = Worker(pid=child.pid, state="starting", started=child.started, told=now)
    return WorkerStatus(
        place=child.place,
        pid=child.pid,
        state=DRAINING if child.told_to_end else worker.state,
        trouble=_silence(child, now) or worker.blocked or worker.trouble,
        generation=worker.generation,
        process_generation=child.process_generation,
        restarts=child.restarts,
        uptime=round(now - child.started, 3),
        age=round(now - worker.told, 3),
        connections=worker.connections,
        in_flight=worker.in_flight,
        last_reload=worker.last_reload,
    )


_S = TypeVar("_S", PluginStatus, EndpointStatus)


def _sum(one: _S, other: _S) -> _S:
    """Numbers added, names kept."""
    added: dict[str, Any] = {}
    for name in one.__struct_fields__:
        value = getattr(one, name)
        added[name] = value if isinstance(value, str) else value + getattr(other, name)
    return type(one)(**added)


def _plugins(workers: Sequence[Worker]) -> dict[str, PluginStatus]:
    total: dict[str, PluginStatus] = {}
    for worker in workers:
        for name, plugin in worker.plugins.items():
            total[name] = _sum(plugin, total[name]) if name in total else plugin
    return total


def _upstreams(workers: Sequence[Worker]) -> tuple[EndpointStatus, ...]:
    total: dict[tuple[str, str], EndpointStatus] = {}
    for worker in workers:
        for endpoint in worker.upstreams:
            key = (endpoint.upstream, endpoint.address)
            total[key] = _sum(endpoint, total[key]) if key in total else endpoint
    return tuple(total.values())


def _last_reload(upgrade: Reload | None, reloads: Sequence[Reload | None]) -> Reload | None:
    known = [reload for reload in reloads if reload is not None]
    if upgrade is not None and all(upgrade.time >= reload.time for reload in known):
        return upgrade
    return max(known, key=lambda reload: (bool(reload.error), reload.time), default=None)
