"""What `[[routes]]` says: which requests a route takes, and what serves them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from blitz.config.values import Model

__all__ = ["Answer", "Route", "Wanted"]


class Answer(Model, frozen=True):
    """What a route without an upstream answers."""

    status: Annotated[int, Meta(ge=200, le=599, description="the status")] = 200
    body: Annotated[str, Meta(description="sent as UTF-8 text")] = ""


class Wanted(Model, frozen=True):
    """What a header field or a part of the query must be, where that is more than a value."""

    regex: Annotated[
        str,
        Meta(
            description="found in the value, RE2 syntax; `^...$` for the whole of it; needs the extra `re2`"
        ),
    ] = ""
    present: Annotated[
        bool | None, Meta(description="`true`: any value; `false`: none, it must not be there")
    ] = None


class Route(Model, frozen=True):
    """Which chain and upstream serve a request. Of the routes that match, the most specific wins: exact host
    over wildcard over none; then exact path over pattern over the longer prefix; then one that names a
    listener, methods, more header fields, more of the query; then the larger `priority`; then the first."""

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
    hosts: Annotated[list[str], Meta(description="the same for several, instead of `host`; empty: any")] = (
        field(default_factory=list)
    )
    path: Annotated[
        str,
        Meta(
            description='the whole path, such as `"/status"`, instead of a prefix; servers differ about a '
            "slash at the end, so `/status/` is refused where it would lead elsewhere"
        ),
    ] = ""
    path_prefix: Annotated[
        str,
        Meta(
            description="matched on segment borders, against everything that the path may mean to servers; "
            "what is forwarded is what came. A request that may mean routes with different plugins, upstream "
            "or answer is refused"
        ),
    ] = "/"
    path_regex: Annotated[
        str,
        Meta(
            description="found in the path as it came and in the decoded one, RE2 syntax (linear time); "
            "`^...$` for the whole of it; needs the extra `re2`"
        ),
    ] = ""
    methods: Annotated[
        list[str],
        Meta(
            description='`["GET", "POST"]`; GET takes HEAD along; empty: any. Where only the method keeps a '
            "request from every route, the answer is 405 with Allow"
        ),
    ] = field(default_factory=list)
    headers: Annotated[
        dict[str, str | Wanted],
        Meta(
            description='fields that the request must have: a value, `{ regex = "..." }` or '
            "`{ present = true }`; all of them"
        ),
    ] = field(default_factory=dict)
    query: Annotated[
        dict[str, str | Wanted], Meta(description="the same for parts of the query, decoded")
    ] = field(default_factory=dict)
    listen: Annotated[
        str, Meta(description="only connections of the listener of that `name`; empty: any")
    ] = ""
    priority: Annotated[
        int, Meta(description="the larger wins where nothing above decides, such as between two patterns")
    ] = 0
    plugins: Annotated[
        list[str] | None,
        Meta(description="names; left out: every plugin; `[]`: none. The order is the chain's own"),
    ] = None
