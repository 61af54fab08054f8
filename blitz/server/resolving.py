"""Names of endpoints, asked for again and again: each address is an endpoint, and those that are gone leave.

A resolver that does not answer stops nothing: what was known goes on, and until there was a first answer each
new connection asks for itself (``connect.py``).
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

import trio

from .clusters import build_endpoint, is_name
from .names import LookUp

if TYPE_CHECKING:
    from blitz.config.addresses import Endpoint as Said
    from blitz.config.resolved import ResolvedUpstream

    from .cluster import Cluster
    from .endpoint import Endpoint
    from .resources import Resources
    from .runtime import Runtime
    from .tls import ClientTls

__all__ = ["Resolving"]

_log = logging.getLogger("blitz.upstream")

REST = 0.25  # seconds between two looks whether another configuration runs


class Resolving:
    """Of one gateway: of the configuration that it runs on at the time."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def run(self) -> None:
        while True:
            runtime = self._resources.runtime
            async with trio.open_nursery() as nursery:
                for upstream in runtime.resolved.upstreams.values():
                    if not upstream.resolve_interval:
                        continue
                    for said, weight in zip(upstream.endpoints, upstream.weights, strict=True):
                        if is_name(said):
                            name = _Name(runtime, upstream, said, weight)
                            nursery.start_soon(name.follow)
                await self._wait_replaced(runtime)
                nursery.cancel_scope.cancel()

    async def _wait_replaced(self, runtime: Runtime) -> None:
        while True:
            await trio.sleep(REST)
            if self._resources.runtime is not runtime:
                return


class _Name:
    """One name of one upstream."""

    def __init__(self, runtime: Runtime, upstream: ResolvedUpstream, said: Said, weight: float) -> None:
        self._upstream = upstream
        self._said = said
        self._weight = weight
        self._cluster: Cluster = runtime.clusters[upstream.name]
        self._tls: ClientTls | None = runtime.tls.clients.get(upstream.name)
        self._look_up = LookUp(said.host, said.port)
        first = next(one for one in self._cluster.endpoints if one.address.host == said.host)
        self._now: dict[str, Endpoint] = {said.host: first}  # by address
        self._trouble = ""

    async def follow(self) -> None:
        """Ask for ever."""
        while True:
            try:
                found = await self._look_up.addresses()
                self._trouble = ""
                self._take([str(address[0]) for _, address in found])
            except OSError as exc:
                if not self._trouble:
                    self._say("%s: its name is not resolved, what is known goes on: %s", exc.strerror or exc)
                self._trouble = str(exc)
            await trio.sleep(self._upstream.resolve_interval * random.uniform(0.9, 1.1))

    def _take(self, addresses: list[str]) -> None:
        """These are its addresses now."""
        wanted = list(dict.fromkeys(addresses))
        if not wanted:
            return
        for address in wanted:
            if address not in self._now:
                self._join(address)
        for address in [one for one in self._now if one not in wanted]:
            if len(self._now) > 1:
                self._now.pop(address).leave()
                self._say("%s has the address %s no more: it finishes what it has", address)

    def _join(self, address: str) -> None:
        endpoint = build_endpoint(self._upstream, self._said, self._tls, self._weight, address)
        if self._cluster.add(endpoint):
            self._now[address] = endpoint
            self._say("%s has the address %s, which takes part", address)

    def _say(self, sentence: str, value: object) -> None:
        extra = {"upstream": self._upstream.name, "endpoint": str(self._said)}
        _log.info("upstream %s: " + sentence, self._upstream.name, self._said.host, value, extra=extra)
