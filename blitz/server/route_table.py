"""The router that configured routes mean, whatever it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from blitz._native import ffi
from blitz.config.resolved import Resolved, ResolvedMatch, ResolvedRoute
from blitz.routing.match import Router, Rule

from .acme_challenges import CHALLENGE_PATH
from .asked import rules_of

__all__ = ["answers_challenges", "route_table"]


class Led(Protocol):
    """What a router leads to."""

    @property
    def rules(self) -> Any:
        """cffi ``blitz_route_rules *``."""


T = TypeVar("T", bound=Led)


def route_table(resolved: Resolved, entries: Sequence[T], challenges: T | None) -> Router[T]:
    """The router of *resolved*.

    Args:
        entries: one for each route, in order.
        challenges: where a certificate authority asks, if ``answers_challenges``.
    """
    rules: list[Rule[T]] = []
    for route, entry in zip(resolved.routes, entries, strict=True):
        # What stands in front of a path is the plugins, the filters and where the route leads: one to another
        # upstream, or with an answer of its own, hides what the upstream of its neighbour has there.
        rules.extend(rules_of(route.match, entry, _protection(route)))
    if challenges is not None:
        rules += [
            Rule(name.encode(), CHALLENGE_PATH.encode(), challenges, CHALLENGE_PATH)
            for name in resolved.tls.acme.domains
        ]
    router = Router(rules)
    if resolved.before_routing and any(entry.rules != ffi.NULL for entry in entries):
        router.only = None  # what the route says comes behind the plugins that run before it is chosen
    return router


def answers_challenges(resolved: Resolved) -> bool:
    """A certificate authority asks for something at the names that certificates are ordered for."""
    return resolved.tls.acme.challenge == "http-01" and bool(resolved.tls.acme.domains)


def _protection(route: ResolvedRoute) -> bytes:
    """Of a route: all that it says, but for which requests it takes, how long they may take, and how its
    responses look."""
    said = msgspec.structs.replace(
        route,
        name="",
        match=ResolvedMatch(),
        first_byte=None,
        total=None,
        response_edits=(),
        retry=None,
        mirror=None,
    )
    return msgspec.json.encode(said)
