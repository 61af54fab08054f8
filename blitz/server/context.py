"""All of one gateway that serves: what exchanges use (``resources.py``), its connections, its fast path."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from blitz.measures.counters import Counters, values_of

from .fast_path import FastPath
from .h1_upstream import H1Upstreams
from .keys import KeyKeeper
from .mirror import Mirrors
from .resources import Resources
from .story import is_wanted

if TYPE_CHECKING:
    from blitz.measures import Measures

    from .open_connection import OpenConnection
    from .room import Reserve
    from .runtime import Runtime
    from .shortages import Shortages

__all__ = ["ServerContext"]


class ServerContext(Resources):
    """One per gateway; belongs to one trio run.

    Attributes:
        connections: that are open, the oldest first (``make_room`` asks).
        accepted: how many of them listeners accepted; per_address: those of each client.
        copies: ``mirrors``, with its task.
        keeper: fetches keys of token issuers.
        ending: a drain has begun, and may still take connections.

    Args:
        reserve: descriptors put by for a listener that always has to answer; connections of such a context
            give way to new ones (``room.py``).
        shortages: of the process, if there is more than one context.
        measures: where it counts; None: nobody else reads that.
    """

    def __init__(
        self,
        runtime: Runtime,
        reserve: Reserve | None = None,
        shortages: Shortages | None = None,
        measures: Measures | None = None,
    ) -> None:
        super().__init__(runtime, shortages, measures)
        self.reserve = reserve
        self.connections: dict[OpenConnection, None] = {}
        self.accepted = 0
        self.per_address: Counter[str] = Counter()
        self.ending = False
        self._empty: trio.Event | None = None
        self.fast_path = FastPath(self)
        self.upstreams = H1Upstreams(self, self.fast_path.resting)
        self.mirrors = self.copies = Mirrors(self)
        self.keys = self.keeper = KeyKeeper(self)
        self.run_on(runtime)

    def run_on(self, runtime: Runtime) -> None:
        """New exchanges start on *runtime*."""
        self.runtime = runtime
        kind = runtime.resolved.log.access
        self.access_log.set_kind(kind)
        self.access = None if kind == "off" else self.access_log
        self.stories = is_wanted()
        for pool in runtime.pools:
            self.measures.watch_hooks(pool.name, pool.native.measured)
            pool.plugin.count_in(self.measures.plugin(pool.name), self.measures)
        self.fast_path.run_on(runtime)

    def note_level(self) -> None:
        """The level of the log has changed: exchanges from now on are told, or not."""
        if self.stories != is_wanted():
            self.stories = is_wanted()
            self.fast_path.run_on(self.runtime)  # connections that wait look again

    @property
    def in_flight(self) -> int:
        """Exchanges that run now."""
        return self.fast_path.in_flight + sum(connection.busy for connection in self.connections)

    def count(self) -> Counters:
        """The counters as they are now."""
        return values_of(self.counters)

    def closed(self, connection: OpenConnection) -> None:
        """*connection* has ended."""
        self.connections.pop(connection, None)
        for cluster in self.runtime.clusters_by_client:
            for endpoint in cluster.endpoints:
                endpoint.client_gone(connection)
        if not self.connections and self._empty is not None:
            self._empty.set()

    async def wait_no_connections(self) -> None:
        """Wait until the last connection has ended."""
        if self.connections:
            self._empty = trio.Event()
            await self._empty.wait()
