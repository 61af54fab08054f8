"""Run cases against a target: lanes side by side, each with its own server and upstream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

import trio

from .case import Case
from .runner import Lane, Result, run_lane
from .targets import Target, running
from .upstream import Upstream

__all__ = ["play"]


def play(target: Target, cases: Sequence[Case], *, lanes: int = 3) -> list[Result]:
    """Return one result per case, in the order of *cases*. Starts and stops the servers it needs."""
    return trio.run(_play, target, cases, lanes)


async def _play(target: Target, cases: Sequence[Case], lanes: int) -> list[Result]:
    results: dict[str, Result] = {}

    def report(result: Result) -> None:
        results[result.case.id] = result

    async with trio.open_nursery() as upstreams, AsyncExitStack() as stack:
        servers = stack.enter_context(ExitStack())
        async with trio.open_nursery() as nursery:
            for profile in sorted({case.profile for case in cases}):
                mine = [case for case in cases if case.profile == profile]
                shared = iter(mine)
                wanted = min(len(mine), lanes * 2 if profile == "timed" else lanes)
                for _ in range(wanted):
                    lane = await _lane(target, profile, upstreams, servers)
                    nursery.start_soon(run_lane, lane, shared, report)
        upstreams.cancel_scope.cancel()
    return [results[case.id] for case in cases]


async def _lane(target: Target, profile: str, upstreams: trio.Nursery, servers: ExitStack) -> Lane:
    upstream = Upstream()
    await upstreams.start(upstream.serve)
    # Starting a process and polling its port blocks; lanes that run meanwhile must not notice.
    server = running(target, upstream.port, profile)
    address = await trio.to_thread.run_sync(servers.enter_context, server)

    async def restart() -> str:
        return await trio.to_thread.run_sync(server.restart)

    return Lane(address, upstream, restart, probes=2 if target.workers == 1 else 4)
