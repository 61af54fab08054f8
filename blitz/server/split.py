"""Routes whose requests several upstreams share, or another one gets a copy of: whose turn it is.

The rule is ``native/balance.c``: the fast path asks there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from blitz._native import ffi, lib

if TYPE_CHECKING:
    from blitz.config.resolved import ResolvedRoute

    from .cluster import Cluster
    from .endpoint import Endpoint

__all__ = ["Copies", "Mirror", "Split", "mirror_of"]


class Split:
    """By weight, exactly: in any row of requests each upstream has its share but for one.

    Attributes:
        whole: the route's own entry; whoever makes it sets it.
    """

    __slots__ = ("_accounts", "_native", "_routes", "_weights", "whole")

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = ffi.new("double[]", list(weights))
        self._accounts = ffi.new("double[]", len(weights))
        self._native = ffi.new(
            "blitz_split *", {"n": len(weights), "weights": self._weights, "accounts": self._accounts}
        )
        self._routes: Any = None
        self.whole: Any = None

    def take(self) -> int:
        """The number of the upstream that gets the next request."""
        index = int(lib.blitz_split_choose(self._native))
        lib.blitz_split_take(self._native, index)
        return index

    def tell(self, route: Any, branches: Sequence[Any]) -> None:
        """*route* (cffi ``blitz_fast_route *``) is shared, and each has one of *branches*, as long as this
        object lives."""
        self._routes = ffi.new("blitz_fast_route *[]", list(branches))
        for one in (route, *branches):
            one.split = self._native
        route.branches = self._routes
        for index, branch in enumerate(branches):
            branch.branch = index


@dataclass(frozen=True, slots=True)
class Mirror:
    """What a route says. native: cffi ``blitz_mirror *``, which requests are copied."""

    cluster: Cluster
    native: Any

    def take(self) -> bool:
        """A request has come: is it copied?"""
        return bool(lib.blitz_mirror_take(self.native))


class Copies(Protocol):
    """Where copies are sent: ``mirror.py``."""

    def has_room(self, *, whole: bool) -> bool: ...

    def send(self, cluster: Cluster, endpoint: Endpoint, method: bytes, written: bytes) -> None: ...


def mirror_of(route: ResolvedRoute, clusters: Mapping[str, Cluster]) -> Mirror | None:
    """What *route* copies to another upstream."""
    said = route.mirror
    if said is None:
        return None
    return Mirror(clusters[said.upstream], ffi.new("blitz_mirror *", {"percent": said.percent}))
