"""Figures that are looked at now and then: what there is now, and counts that others keep.

Once a second, and when somebody asks this process for ``/metrics``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import trio

from blitz.measures import figures
from blitz.measures.figures import Figure
from blitz.server.context import ServerContext
from blitz.server.endpoint import Endpoint
from blitz.server.runtime import Runtime
from blitz.wasm.pool import PluginPool

from .status import Reload, version

__all__ = ["tell_measures"]

Told = tuple[Figure, float, tuple[str, ...]]
Followed = tuple[object, Figure, int, tuple[str, ...]]


def tell_measures(
    context: ServerContext,
    pools: list[PluginPool],
    runtimes: list[Runtime],
    generation: int,
    last_reload: Reload | None,
) -> None:
    """Tell the figures of one process.

    Args:
        pools: of plugins, those of earlier configurations among them.
        runtimes: that exchanges run on, the present one last.
    """
    now = trio.current_time()
    context.measures.tell(_now(context, generation, last_reload, now))
    context.measures.follow(_counted(context, pools, runtimes))


def _now(context: ServerContext, generation: int, last_reload: Reload | None, now: float) -> Iterator[Told]:
    runtime = context.runtime
    yield figures.WORKERS, 1, ()
    yield figures.BUILD_INFO, 1, (version(),)
    yield figures.GENERATION, generation, ()
    yield figures.CONNECTIONS, len(context.connections), ()
    yield figures.IN_FLIGHT, context.in_flight, ()
    if last_reload is not None:
        yield figures.RELOAD_TIME, last_reload.time, ()
        yield figures.RELOAD_SUCCESS, not last_reload.error, ()
    if runtime.tls.server is not None:
        for file, expiry in runtime.tls.server.ends():
            yield figures.CERTIFICATE_EXPIRY, expiry, (file,)
    for pool in runtime.pools:
        labels = (pool.name,)
        yield figures.PLUGIN_IDLE, pool.idle, labels
        yield figures.PLUGIN_BUSY, pool.live - pool.idle, labels
        yield figures.PLUGIN_QUARANTINED, pool.quarantined(now), labels
        yield figures.PLUGIN_MEMORY, pool.memory_high_water(), labels
    for upstream, endpoint in _endpoints([runtime]):
        of = (upstream, str(endpoint.address))
        yield figures.UPSTREAM_UP, not endpoint.is_failing(now), of
        yield figures.UPSTREAM_IN_FLIGHT, endpoint.live - endpoint.idle, of
        yield figures.UPSTREAM_IDLE, endpoint.idle, of


def _counted(context: ServerContext, pools: list[PluginPool], runtimes: list[Runtime]) -> Iterator[Followed]:
    yield context, figures.LOG_DROPPED, context.access_log.dropped, ("access",)
    for pool in pools:
        labels = (pool.name,)
        yield pool, figures.PLUGIN_CREATED, pool.made, labels
        yield pool, figures.PLUGIN_DISCARDED, pool.made - pool.live, labels
        yield pool, figures.PLUGIN_SKIPPED, pool.skipped, labels
        yield pool, figures.PLUGIN_QUARANTINES, pool.quarantines, labels
    for upstream, endpoint in _endpoints(runtimes):
        of = (upstream, str(endpoint.address))
        yield endpoint.health, figures.UPSTREAM_FAILURES, endpoint.health.failures, of
        yield endpoint, figures.UPSTREAM_UNASKED, endpoint.unasked, of


def _endpoints(runtimes: Iterable[Runtime]) -> Iterator[tuple[str, Endpoint]]:
    for runtime in runtimes:
        for cluster in runtime.clusters.values():
            for endpoint in cluster.endpoints:
                yield cluster.name, endpoint
