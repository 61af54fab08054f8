"""Who gets the last places and descriptors.

Clients leave some descriptors to what serves them: a connection to an upstream, a file, a pipe. Without one
an exchange that has begun fails, while a client that is not accepted yet only waits.

Room for one more on a listener that always has to answer: the admin listener's, for probes.

Its places are few, and whoever reaches it can take all of them and say nothing. So when they are taken, the
connection that has waited for longest gives way: a probe asks as soon as it is there, and is gone again. And
a process may have no descriptor left because of what other listeners do: some are put by for this one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blitz.config import Resolved

    from .open_connection import OpenConnection

__all__ = ["Reserve", "is_crowded", "last_of_clients", "make_room", "too_few_descriptors"]

SPARE_DESCRIPTORS = 64  # that clients leave ...
SPARE_PART = 8  # ... or this part of all
# Beyond connections: the event loop, listeners, log, plugins' files at a reload, pipes for large bodies.
OTHER_DESCRIPTORS = 128


class Reserve:
    """Descriptors that are held only so that somebody can have them."""

    __slots__ = ("_held", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[int] = []
        self.refill()

    def lend(self) -> bool:
        """One descriptor is free now, for whoever asks the kernel next; False: there is none to lend."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def refill(self) -> None:
        """Take back what was lent, as far as there is something to take."""
        with contextlib.suppress(OSError):
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        self._size = 0
        while self.lend():
            pass


def make_room(connections: Iterable[OpenConnection]) -> bool:
    """Close the one of *connections* that has waited for longest, one without a request before one whose
    client does not read the response. False: there is none."""
    # Every wait of a kind lasts as long as any other, so the deadline tells which began first. Deadlines are
    # counted in ticks: of those that are alike min takes the first, which is the oldest connection.
    open_ones = [one for one in connections if one.stream.fileno() >= 0]
    if not open_ones:
        return False
    victim = min(open_ones, key=lambda one: (one.busy, one.timer.deadline))
    victim.stream.close()
    return True


def last_of_clients() -> int:
    """The first number that a client's descriptor must not have. The kernel gives the lowest that is free:
    one that is as high says that nearly all are in use."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return sys.maxsize
    return most - min(SPARE_DESCRIPTORS, most // SPARE_PART)


def is_crowded() -> bool:
    """The next descriptor is one that clients leave to others."""
    try:
        free = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(free)
    return free >= last_of_clients()


def too_few_descriptors(resolved: Resolved, *, raised: bool = False) -> str:
    """One sentence if the clients and upstream connections that there may be need more than there are.

    Args:
        raised: take the limit for what this process could raise it to.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[raised]
    clients = resolved.limits.max_connections
    if most == resource.RLIM_INFINITY or not clients:
        return ""
    upstreams = sum(one.max_connections * len(one.endpoints) for one in resolved.upstreams.values())
    needed = clients + min(clients, upstreams) + OTHER_DESCRIPTORS
    if needed <= most:
        return ""
    return (
        f"limits.max_connections is {clients}, which with what goes to upstreams takes up to {needed} "
        f"descriptors, and this process may have {most}: raise RLIMIT_NOFILE (LimitNOFILE=, ulimit -n) or "
        "lower limits.max_connections"
    )
