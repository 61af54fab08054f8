"""What a route says about its upstreams beyond one name: shares, tries, copies. Part of `route_keys.py`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from blitz.config.values import Model, Seconds

__all__ = ["Mirror", "Retry", "Share"]


class Share(Model, frozen=True):
    """An upstream that gets a share of a route's requests: instead of `upstream`, for a canary."""

    name: Annotated[str, Meta(description="a name from `[upstreams]`, or an address")]
    weight: Annotated[
        float, Meta(ge=0, le=1_000_000, description="its share, beside the weights of the others")
    ] = 1.0


class Retry(Model, frozen=True):
    """When a request that failed is tried once more, at another endpoint if there is one. Only while the
    client has got nothing of an answer, and if nothing was sent, or all of it is here and doing it twice is
    as doing it once (GET, HEAD, OPTIONS, TRACE, PUT, DELETE). A body is here if it came whole with its head,
    in 16 KiB, or a plugin collected it."""

    attempts: Annotated[
        int, Meta(ge=1, le=10, description="times that it is sent at most, the first one included")
    ] = 3
    on: Annotated[
        list[str],
        Meta(
            description='what is tried again: `"connect"` (no connection), `"reset"` (it ended before an '
            'answer), `"timeout"` (`per_try` is over), and statuses such as `"503"` or `"5xx"`'
        ),
    ] = field(default_factory=lambda: ["connect", "reset"])
    per_try: Annotated[
        Seconds, Meta(description="from one try's beginning to the head of its answer; `0`: `timeouts` alone")
    ] = 0.0
    budget: Annotated[
        str,
        Meta(
            description="tries again of an upstream and worker, as a share of its requests of the last ten "
            "seconds, and ten more: an upstream that is down is not asked many times as much; Finagle's value"
        ),
    ] = "20%"


class Mirror(Model, frozen=True):
    """Some requests are also sent to another upstream, whose answers nobody sees. They never slow or fail a
    request: a copy that finds 64 others under way, or whose body is not whole in 16 KiB, is not made."""

    upstream: Annotated[str, Meta(description="a name from `[upstreams]`, or an address")]
    percent: Annotated[float, Meta(gt=0, le=100, description="of the route's requests")] = 100.0
