"""The keys of a route's filters, as frozen values. See ``model.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from blitz.config.values import Count, Model, Seconds

__all__ = ["Cors", "RateLimit", "RouteFilters"]


class Cors(Model, frozen=True):
    """What scripts of other origins may do (the Fetch standard's CORS). Preflights are answered before
    `auth`."""

    origins: Annotated[
        list[str],
        Meta(
            min_length=1,
            description='such as `"https://app.example"`, `"https://*.app.example"` for the names below it, '
            "or "
            '`"*"` for all; compared whole, in lower case; `null` is not offered: any page can have it',
        ),
    ]
    methods: Annotated[
        list[str],
        Meta(description="that scripts may use; those that HTML forms cannot send must be named"),
    ] = field(default_factory=lambda: ["GET", "HEAD", "POST"])
    headers: Annotated[
        list[str], Meta(description='fields that scripts may send, such as `"content-type"`')
    ] = field(default_factory=list)
    expose: Annotated[list[str], Meta(description="fields of answers that scripts may read")] = field(
        default_factory=list
    )
    credentials: Annotated[
        bool, Meta(description='with cookies and passwords of the client; not with `"*"` as an origin')
    ] = False
    max_age: Annotated[
        Seconds, Meta(le=86400, description="how long browsers may remember a preflight; Chrome's most")
    ] = 7200.0


class RateLimit(Model, frozen=True):
    """How many requests each key may send; over it the answer is 429. One truth for all workers."""

    rate: Annotated[
        str,
        Meta(description='`"100/m"`, `"100 req/min"` or `"20/10s"`: per s, m, h or d, spread evenly (GCRA)'),
    ]
    key: Annotated[
        str,
        Meta(
            description='whose requests are counted together: `"client"` (its address; of IPv6 its /64), '
            '`"identity"` (from `auth`) or `"header:NAME"`; where that is not there, the client\'s address'
        ),
    ] = "client"
    burst: Annotated[
        Count, Meta(le=1_000_000, description="requests at once; `0`: as many as `rate` has")
    ] = 0
    store: Annotated[
        Literal["local"], Meta(description="where counts are kept: in memory that all workers share")
    ] = "local"


class RouteFilters(Model, frozen=True):
    """Those keys of ``[[routes]]`` that are filters of the gateway's own."""

    auth: Annotated[
        str, Meta(description="a name from `[auth]`: only clients that it lets pass are served")
    ] = ""
    cors: Annotated[Cors | None, Meta(description="what scripts of other origins may do")] = None
    rate_limit: Annotated[RateLimit | None, Meta(description="how many requests each client may send")] = None
