"""What the parent writes on the scoreboard: which processes there are, and which are missing."""

from __future__ import annotations

import time
from collections.abc import Mapping

from blitz.gateway import Child, Lost
from blitz.process.child import ChildProcess
from blitz.process.restarts import Restarts

__all__ = ["children_of", "lost_of"]

MAX_REASON = 1000  # letters of why a worker died, for who asks


def children_of(children: Mapping[int, ChildProcess]) -> tuple[Child, ...]:
    """*children* by process id, in the order of their places."""
    return tuple(
        Child(
            pid=pid,
            place=child.place,
            process_generation=child.generation,
            slot=child.slot,
            restarts=child.restarts,
            started=child.born,
            told_to_end=child.told_to_end,
            silent_since=child.silent_since,
        )
        for pid, child in sorted(children.items(), key=lambda item: item[1].place)
    )


def lost_of(restarts: Restarts) -> tuple[Lost, ...]:
    """The places without a process, in their order."""
    now = time.monotonic()
    return tuple(
        Lost(
            place=place,
            reason=loss.reason[:MAX_REASON],
            failures=loss.failures,
            retry=time.time() + max((loss.due or now) - now, 0.0),
        )
        for place, loss in sorted(restarts.waiting.items())
    )
