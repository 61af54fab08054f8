"""Clusters: endpoints that are interchangeable, and which of them gets a request (``native/balance.c``).

An endpoint keeps its number for as long as it has exchanges: the fast path knows it by that. With names that
are asked for again (``resolving.py``) endpoints come, and leave when they have finished.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.routing.budget import RetryBudget

from .endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Balancing", "Cluster", "status_set"]

PLACES = 64  # for addresses of one name
LB = {
    "round_robin": lib.BLITZ_LB_ROUND_ROBIN,
    "least_conn": lib.BLITZ_LB_LEAST_CONN,
    "random_two": lib.BLITZ_LB_RANDOM_TWO,
    "hash": lib.BLITZ_LB_HASH,
}
HASH = {
    "client": lib.BLITZ_HASH_CLIENT,
    "header": lib.BLITZ_HASH_HEADER,
    "cookie": lib.BLITZ_HASH_COOKIE,
    "path": lib.BLITZ_HASH_PATH,
}


def status_set(statuses: Iterable[int]) -> bytes:
    """As C has it: a bit for each status."""
    bits = bytearray(75)
    for status in statuses:
        bits[status // 8] |= 1 << status % 8
    return bytes(bits)


@dataclass(frozen=True, slots=True)
class Balancing:
    """How a cluster chooses: see ``ResolvedUpstream``, and ``blitz_cluster`` in ``native/blitz_native.h``."""

    lb: str = "round_robin"
    hash: tuple[str, str] = ("client", "")
    sticky: str = ""
    max_fails: int = 1
    fail_duration: float = 1.0
    failures: frozenset[int] = frozenset()
    max_ejected: float = 1.0
    slow_start: float = 0.0


class Cluster:
    """
    Attributes:
        endpoints: by number; None: nobody has it.
        native: cffi ``blitz_cluster *``: the same for the fast path.
        budget: of tries again.
    """

    __slots__ = ("_kept", "_natives", "budget", "endpoints", "host", "name", "native")

    def __init__(
        self,
        name: str,
        endpoints: list[Endpoint],
        host: str = "",
        balancing: Balancing = Balancing(),
        *,
        names: int = 0,
    ) -> None:
        """*names*: of so many endpoints there may be several addresses."""
        self.name = name
        self.endpoints: list[Endpoint] = []
        self.host = host.encode()
        self.budget = RetryBudget()
        places = len(endpoints) + names * PLACES
        self._natives = ffi.new("blitz_endpoint *[]", places)
        self.native = ffi.new("blitz_cluster *", {"endpoints": self._natives})
        what, named = balancing.hash
        texts = [
            ffi.from_buffer("uint8_t[]", text)
            for text in (self.host, named.encode(), balancing.sticky.encode())
        ]
        self._kept: list[Any] = [self.native, self._natives, *texts]
        native = self.native
        native.host, native.hash_name, native.sticky = ({"ptr": text, "len": len(text)} for text in texts)
        native.lb, native.hash_on = LB[balancing.lb], HASH[what]
        native.random = random.getrandbits(64)
        native.max_fails, native.fail_duration = balancing.max_fails, balancing.fail_duration
        native.slow_start, native.max_ejected = balancing.slow_start, balancing.max_ejected
        ffi.memmove(native.bad_status, status_set(balancing.failures), 75)
        for endpoint in endpoints:
            self.add(endpoint)

    def add(self, endpoint: Endpoint) -> bool:
        """It takes part from now on. False: there is no place for one more."""
        at = next((i for i, one in enumerate(self.endpoints) if _is_done(one)), len(self.endpoints))
        if at == len(self._natives):
            return False
        endpoint.native.cluster = self.native
        endpoint.keep = self._kept  # a connection may outlive this object, and fail then
        self._natives[at] = endpoint.native
        self._kept.append(endpoint.native)
        if at < len(self.endpoints):
            self._kept.remove(self.endpoints[at].native)
            self.endpoints[at] = endpoint
        else:
            self.endpoints.append(endpoint)
            self.native.n = len(self.endpoints)
        return True

    def choose(self, exchange: Any, now: float, tried: Sequence[Endpoint]) -> Endpoint | None:
        """The best endpoint for the request of *exchange* (cffi ``blitz_exchange *``) but for those that were
        *tried*; None: all were. The request counts as sent there."""
        flags = ffi.NULL
        if tried:
            flags = ffi.new("uint8_t[]", [one in tried for one in self.endpoints])
        index = lib.blitz_cluster_choose(self.native, exchange, now, flags)
        if index < 0:
            return None
        lib.blitz_cluster_take(self.native, index, now)
        endpoint: Endpoint = self.endpoints[index]
        return endpoint

    def judge(self, exchange: Any, endpoint: Endpoint, now: float) -> None:
        """What the head of the response says about *endpoint*, and what it tells the client about it."""
        if lib.blitz_has_status(self.native.bad_status, exchange.response.status):
            lib.blitz_endpoint_failed(endpoint.native, now)
        if self.native.sticky.len:
            lib.blitz_cluster_stick(self.native, exchange, self.endpoints.index(endpoint))

    def look_after(self, now: float) -> None:
        """To be called about once a second."""
        self.budget.requests = int(self.native.requests)
        self.budget.look(now)
        for endpoint in self.endpoints:
            endpoint.expire_idle(now)
            endpoint.look()

    def retry_budget(self) -> RetryBudget:
        self.budget.requests = int(self.native.requests)
        return self.budget

    def retire(self) -> None:
        """No new exchange uses it: see ``Endpoint.retire``."""
        for endpoint in self.endpoints:
            endpoint.retire()


def _is_done(endpoint: Endpoint) -> bool:
    return endpoint.leaves and not endpoint.live and not endpoint.native.active
