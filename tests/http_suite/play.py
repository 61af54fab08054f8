"""Run cases against targets: rigs side by side, each with its own server and upstream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import trio

from .case import Case
from .runner import Result, Rig, run_rig
from .targets import Target, running
from .upstream import Upstream

__all__ = ["play", "play_all"]


def play(target: Target, cases: Sequence[Case], *, rigs: int = 3) -> list[Result]:
    """Return one result per case, in the order of *cases*. Starts and stops the servers it needs."""
    return play_all({target.name: (target, cases)}, rigs=rigs)[target.name]


def play_all(
    wanted: Mapping[str, tuple[Target, Sequence[Case]]], *, rigs: int = 2
) -> dict[str, list[Result]]:
    """The same for several targets at a time, *rigs* for each."""
    return trio.run(_play_all, wanted, rigs)


async def _play_all(
    wanted: Mapping[str, tuple[Target, Sequence[Case]]], rigs: int
) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {}

    async def one(name: str, target: Target, cases: Sequence[Case]) -> None:
        results[name] = await _play(target, cases, rigs)

    async with trio.open_nursery() as nursery:
        for name, (target, cases) in wanted.items():
            nursery.start_soon(one, name, target, cases)
    for name, (target, _) in wanted.items():
        if not target.peer:
            results[name] = await _play_wrong_ones_alone(target, results[name])
    return results


async def _play_wrong_ones_alone(target: Target, results: list[Result]) -> list[Result]:
    """Cases look at moments, and all of them at once keep the machine busy: what went wrong in the crowd is
    played again by itself, and that result counts. Not so where no moment is an excuse: bytes that must
    never be on a wire were there once."""
    wrong = [result.case for result in results if result.wrong and not result.unsafe]
    if not wrong:
        return results
    again = {result.case.id: result for result in await _play(target, wrong, 1)}
    return [again.get(result.case.id, result) for result in results]


async def _play(target: Target, cases: Sequence[Case], rigs: int) -> list[Result]:
    results: dict[str, Result] = {}

    def report(result: Result) -> None:
        results[result.case.id] = result

    async with trio.open_nursery() as upstreams:
        with ExitStack() as servers:
            async with trio.open_nursery() as nursery:
                # What waits for timeouts comes first: it takes long and costs little.
                for profile in sorted({case.profile for case in cases}, reverse=True):
                    mine = [case for case in cases if case.profile == profile]
                    shared = iter(mine)
                    for _ in range(min(len(mine), rigs * 4 if profile == "timed" else rigs)):
                        rig = await _rig(target, profile, upstreams, servers)
                        nursery.start_soon(run_rig, rig, shared, report)
        upstreams.cancel_scope.cancel()
    return [results[case.id] for case in cases]


async def _rig(target: Target, profile: str, upstreams: trio.Nursery, servers: ExitStack) -> Rig:
    upstream = Upstream()
    await upstreams.start(upstream.serve)
    # Starting a process and polling its port blocks; rigs that run meanwhile must not notice.
    server = running(target, upstream.port, profile)
    address = await trio.to_thread.run_sync(servers.enter_context, server)

    async def restart() -> str:
        return await trio.to_thread.run_sync(server.restart)

    return Rig(address, upstream, restart, probes=2 if target.workers == 1 else 4, tls=target.tls)
