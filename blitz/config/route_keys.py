"""What `[[routes]]` says: which requests a route takes, and what serves them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from blitz.config.filter_keys import RouteFilters
from blitz.config.values import Model

__all__ = ["Answer", "Route"]


class Answer(Model, frozen=True):
    """What a route without an upstream answers."""

    status: Annotated[int, Meta(ge=200, le=599, description="the status")] = 200
    body: Annotated[str, Meta(description="sent as UTF-8 text")] = ""


class Route(RouteFilters, frozen=True):
    """Which chain and upstream serve a request. The most specific route wins: exact host over
    wildcard over none, then the longest path prefix."""

    upstream: Annotated[
        str, Meta(description='a name from `[upstreams]`, or an address such as `"http://127.0.0.1:9000"`')
    ] = ""
    answer: Annotated[
        Answer | None,
        Meta(description='instead of an upstream: a fixed answer, such as `{ status = 200, body = "ok" }`'),
    ] = None
    name: Annotated[
        str, Meta(description="for logs and `get_property`; empty: `route-` and its position, from 0")
    ] = ""
    host: Annotated[str, Meta(description='`"api.example.org"`, `"*.example.org"`; empty: any')] = ""
    path_prefix: Annotated[
        str,
        Meta(
            description="matched on segment borders, against everything that the path may mean to servers; "
            "what is forwarded is what came. A request that may mean routes with different plugins, upstream "
            "or answer is refused"
        ),
    ] = "/"
    plugins: Annotated[
        list[str] | None,
        Meta(description="names; left out: every plugin; `[]`: none. The order is the chain's own"),
    ] = None
