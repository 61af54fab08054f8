"""What a gateway says about itself, as values: of one process, and of all workers together.

Each process describes itself (``Worker``); the parent keeps the list of processes (``Parent``); ``merge.py``
makes one truth of them. JSON by msgspec, and the same objects for whoever embeds a gateway.
"""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import msgspec

from blitz.measures.counters import Counters
from blitz.server.context import ServerContext
from blitz.server.endpoint import Endpoint
from blitz.server.runtime import Runtime
from blitz.wasm.engine import EngineStatistics
from blitz.wasm.pool import PoolStatistics

from .wishes import Wishes

__all__ = [
    "DRAINING",
    "Child",
    "EndpointStatus",
    "Lost",
    "LostWorker",
    "Parent",
    "PluginStatus",
    "Reload",
    "Statistics",
    "Status",
    "Worker",
    "WorkerStatus",
    "look",
    "version",
]

DRAINING: Literal["draining"] = "draining"
State = Literal["starting", "serving", "draining"]


class Reload(msgspec.Struct, frozen=True):
    """How an attempt to reload ended.

    Attributes:
        time: seconds since the epoch. reason: who wanted it: ``call``, ``signal``, ``admin``, ``files``,
            ``rollback``; ``upgrade``: SIGUSR2, of all workers.
        error: why the old configuration goes on, one line; "" when the new one runs.
        loaded, kept: names of the plugins that were loaded anew, and of those that nothing changed about.
        restart: keys that have changed and stay as they were until a restart.
    """

    time: float
    reason: str
    error: str
    loaded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class PluginStatus(msgspec.Struct, frozen=True):
    """One plugin in all processes. ``live``, ``idle`` and ``quarantined`` (in how many processes) are now;
    the rest counts since its present version was loaded."""

    live: int = 0
    idle: int = 0
    made: int = 0
    calls: int = 0
    faults: int = 0
    skipped: int = 0
    quarantines: int = 0
    quarantined: int = 0


class EndpointStatus(msgspec.Struct, frozen=True):
    """One endpoint of an upstream.

    Attributes:
        live, idle: connections now; live ones include those that are idle.
        failures: connections that could not be made, since the configuration was loaded.
        failing: processes in which the last try failed a moment ago.
        unasked: connections closed because the upstream said on them what nobody had asked for, as failures.
        active: exchanges that are with it now.
        down: processes whose health checks have found it down.
        ejections: how often it was left out because requests had failed.
        leaving: processes in which its name has other addresses now, and it finishes what it has.
        drained: processes in which it gets no new request because an operator says so.
    """

    upstream: str
    address: str
    live: int = 0
    idle: int = 0
    failures: int = 0
    failing: int = 0
    unasked: int = 0
    active: int = 0
    down: int = 0
    ejections: int = 0
    leaving: int = 0
    drained: int = 0


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What one process says about itself.

    Attributes:
        trouble: why it is not ready although it serves; "" when it is.
        blocked: why connections that are given to it wait; "" when they do not.
        generation: of its configuration: 1, and one more for each reload that took effect.
        started, told: seconds since the epoch; told is when this was said.
        access_lost: lines of the access log that standard output did not take.
        wishes: number of the wishes that it has made true; reloads: how many of those that were asked for it
            has made, or what it was started on is as new.
    """

    pid: int
    state: State
    trouble: str = ""
    blocked: str = ""
    generation: int = 0
    started: float
    told: float
    connections: int = 0
    in_flight: int = 0
    plugins: dict[str, PluginStatus] = {}
    upstreams: tuple[EndpointStatus, ...] = ()
    access_lost: int = 0
    last_reload: Reload | None = None
    wishes: int = 0
    reloads: int = 0


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as its parent knows it. slot: of the scoreboard; -1: none was free. restarts: of its place.
    silent_since: the epoch; 0.0 unless it is stopped or its event loop spins."""

    pid: int
    place: int
    process_generation: int
    slot: int
    restarts: int
    started: float
    told_to_end: bool
    silent_since: float = 0.0


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A place without a worker. reason: of the last end. failures: in a row. retry: when, since the epoch."""

    place: int
    reason: str
    failures: int
    retry: float


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent says. last_upgrade: by SIGUSR2. wishes: what operators want of all workers."""

    pid: int
    started: float
    process_generation: int
    stopping: bool
    restarts: int
    children: tuple[Child, ...]
    lost: tuple[Lost, ...] = ()
    last_upgrade: Reload | None = None
    wishes: Wishes = Wishes()


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker in ``Status``.

    Attributes:
        place: its number; a worker that died is replaced by one in the same place.
        process_generation: 1, and one more for each replacement of all workers (SIGUSR2).
        restarts: how often a worker in this place died.
        uptime: seconds. age: seconds since it said what stands here.
    """

    place: int
    pid: int
    state: State
    trouble: str
    generation: int
    process_generation: int
    restarts: int
    uptime: float
    age: float
    connections: int
    in_flight: int
    last_reload: Reload | None


class LostWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that is missing in ``Status``.

    Attributes:
        place: its number. reason: why the last one ended, or did not start.
        failures: how many ended without one that served for a while between them.
        retry_in: seconds until the next one starts.
    """

    place: int
    reason: str
    failures: int
    retry_in: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """All of a gateway.

    Attributes:
        ready: requests are welcome; trouble says why not.
        generation: of the configuration; the newest, while workers differ.
        pid: of the parent, or of the only process.
        uptime: seconds since the service started.
        restarts: workers that died. lost: those that are missing now.
        connections, in_flight: now. counters: since the service started.
        access_lost: lines of the access log that standard output did not take, of the present workers.
        last_reload: the last one, or the last upgrade if nothing was reloaded since; one that failed in any
            worker goes before those that did not.
    """

    version: str
    ready: bool
    trouble: str
    generation: int
    process_generation: int
    pid: int
    uptime: float
    restarts: int
    workers: tuple[WorkerStatus, ...]
    lost: tuple[LostWorker, ...]
    connections: int
    in_flight: int
    counters: Counters
    plugins: dict[str, PluginStatus]
    upstreams: tuple[EndpointStatus, ...]
    access_lost: int
    last_reload: Reload | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one process: counts since the gateway started; ``connections`` and ``in_flight`` are now.

    Attributes:
        guests: instances, calls and memory of all plugins together.
        access_lost: lines of the access log that standard output did not take.
        last_reload: None before the first.
    """

    connections: int
    in_flight: int
    generation: int
    counters: Counters
    plugins: dict[str, PoolStatistics]
    guests: EngineStatistics
    access_lost: int
    last_reload: Reload | None


@functools.cache
def version() -> str:
    try:
        return metadata.version("blitz-gateway")
    except metadata.PackageNotFoundError:
        return "unknown"


# -- one process


def look(
    context: ServerContext,
    *,
    started: float,
    generation: int,
    last_reload: Reload | None,
    now: float,
    done: tuple[int, int] = (0, 0),
) -> Worker:
    """What this process has to say; *now* is trio's time, *started* that of the day. *done*: ``wishes`` and
    ``reloads``."""
    runtime = context.runtime
    pools = {pool.name: pool.statistics(now) for pool in runtime.pools}
    return Worker(
        pid=os.getpid(),
        state=DRAINING if context.ending else "serving",
        trouble=_trouble(runtime, now),
        blocked=context.shortages.why,
        generation=generation,
        started=started,
        told=time.time(),
        connections=len(context.connections),
        in_flight=context.in_flight,
        plugins={name: _plugin(statistics) for name, statistics in pools.items()},
        upstreams=tuple(
            _endpoint(cluster.name, endpoint, now)
            for cluster in runtime.clusters.values()
            for endpoint in cluster.endpoints
        ),
        access_lost=context.access_log.dropped,
        last_reload=last_reload,
        wishes=done[0],
        reloads=done[1],
    )


def _trouble(runtime: Runtime, now: float) -> str:
    """Why no request at all can be served: each route needs a plugin that does not run."""
    shut = {pool.name for pool in runtime.pools if not pool.open_on_failure and pool.quarantined(now)}
    if shut and all(shut.intersection(route.plugins) for route in runtime.resolved.routes):
        return f"no route can be served: in quarantine: {', '.join(sorted(shut))}"
    return ""


def _plugin(pool: PoolStatistics) -> PluginStatus:
    return PluginStatus(**{name: int(getattr(pool, name)) for name in PluginStatus.__struct_fields__})


def _endpoint(upstream: str, endpoint: Endpoint, now: float) -> EndpointStatus:
    return EndpointStatus(
        upstream=upstream,
        address=str(endpoint.address),
        live=endpoint.live,
        idle=endpoint.idle,
        failures=endpoint.health.failures,
        failing=int(endpoint.is_failing(now)),
        unasked=endpoint.unasked,
        active=int(endpoint.native.active),
        down=int(endpoint.check is not None and not endpoint.check.up),
        ejections=int(endpoint.native.ejections),
        leaving=int(endpoint.leaves),
        drained=int(endpoint.drained),
    )


# -- all of them
