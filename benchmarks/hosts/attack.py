"""Do to a gateway what tests/faults does to one, while somebody else measures.

Per line ``FAULT PORT`` the fault begins, and a line goes out once it has been going for a moment; ``stop 0``
ends it and is answered with the number of outcomes that it saw. A fault is one of tests/faults, or
``client-mutants`` or ``upstream-down``. It yields the processor to whoever is measured.
"""

from __future__ import annotations

import itertools
import os
import sys

import trio

from tests.faults.faults import FAULTS, Address, Attack, Fault, Seen, again_and_again, asks
from tests.faults.mutants import mutants

_LEAD = 0.4  # seconds that a fault goes on before it is said to
_POLITE = 15


def _enduring(attack: Attack) -> Attack:
    """The same, whatever the server answers: a peer may pass on what no client can read."""

    async def endure(address: Address, seen: Seen) -> None:
        try:
            await attack(address, seen)
        except (EOFError, IndexError, ValueError):
            seen["unreadable"] += 1

    return endure


def _mutated() -> Fault:
    requests = itertools.cycle(list(mutants(5000, seed=20)))

    async def attack(address: Address, seen: Seen) -> None:
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(next(requests))
            await stream.send_eof()
            async for _ in stream:
                pass
        seen["ended"] += 1

    return Fault("client-mutants", attack, 16, frozenset())


async def _serve() -> None:
    more = [_mutated(), Fault("upstream-down", asks("down"), 8, frozenset())]
    faults = {fault.name: fault for fault in [*FAULTS, *more]}
    lines = trio.wrap_file(sys.stdin)
    print("ready", flush=True)
    while line := await lines.readline():
        name, port = line.split()
        seen = Seen()
        async with trio.open_nursery() as nursery:
            for _ in range(faults[name].many):
                nursery.start_soon(
                    again_and_again, _enduring(faults[name].attack), ("127.0.0.1", int(port)), seen
                )
            await trio.sleep(_LEAD)
            print(0, flush=True)
            await lines.readline()
            nursery.cancel_scope.cancel()
        print(sum(seen.values()), flush=True)


os.nice(_POLITE)
trio.run(_serve)
