"""What `[[routes]]` says: which requests a route takes, and what serves them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from blitz.config.filter_keys import RouteFilters
from blitz.config.retry_keys import Mirror, Retry, Share
from blitz.config.static_keys import Static
from blitz.config.values import FilePath, Model, Seconds, Size

__all__ = ["Answer", "HeaderEdits", "Redirect", "Rewrite", "Route", "RouteTimeouts", "Wanted"]


class Answer(Model, frozen=True):
    """What a route without an upstream answers."""

    status: Annotated[int, Meta(ge=200, le=599, description="the status")] = 200
    body: Annotated[
        str, Meta(description="sent as UTF-8 text; none with status 204, 205 or 304, which have no body")
    ] = ""
    headers: Annotated[
        dict[str, str], Meta(description="fields; `content-type` replaces `text/plain; charset=utf-8`")
    ] = field(default_factory=dict)
    file: Annotated[
        FilePath, Meta(description="instead of `body`: its bytes, read with the configuration; at most 1 MiB")
    ] = ""


class Redirect(Model, frozen=True):
    """Send clients elsewhere. What is left out stays as it is, the query too; the port is that of the scheme
    where scheme or host changes. A request that would be led to where it is goes on to the route's upstream
    or answer, or is refused (508) if there is none."""

    scheme: Annotated[Literal["", "http", "https"], Meta(description="empty: as the client used it")] = ""
    host: Annotated[str, Meta(description="without a port; empty: the one that was asked for")] = ""
    port: Annotated[int, Meta(ge=0, le=65535, description="`0`: the scheme's own")] = 0
    path: Annotated[
        str,
        Meta(
            description='such as `"/new${path.rest}"`; it begins with one slash, whatever the parts bring; '
            "the query is added unless the text has one; empty: the path stays"
        ),
    ] = ""
    status: Annotated[
        int,
        Meta(description="308 is for good and keeps the method; 301 and 302 make a POST a GET in browsers"),
    ] = 308


class Rewrite(Model, frozen=True):
    """What path the upstream gets, or `static` looks for; the query stays. Plugins and the route's
    choice see the one that came. A path that is not spelt as the prefix, or would climb above it, is refused
    (400)."""

    strip_prefix: Annotated[bool, Meta(description="leave `path_prefix` out: `/api/x` becomes `/x`")] = False
    replace_prefix: Annotated[
        str, Meta(description='write this instead of `path_prefix`: with `"/v2"` `/api/x` becomes `/v2/x`')
    ] = ""
    path: Annotated[str, Meta(description='the whole path, such as `"/hooks${path.rest}"`')] = ""
    regex: Annotated[
        str,
        Meta(
            description="the first match in the path is replaced by `to`, and a path without one stays; RE2 "
            "syntax (linear time); `^...$` for the whole of it; needs the extra `re2`"
        ),
    ] = ""
    to: Annotated[
        str,
        Meta(
            description="what stands there then; `$1` or `\\1` is what the first group has found, `$0` the "
            "match, `$$` a dollar sign"
        ),
    ] = ""


class HeaderEdits(Model, frozen=True):
    """Fields of the message that goes on. Removed first, then set, then added. Values may name facts of the
    request, see below; one that comes out empty is not sent, and what was there under its name is gone."""

    set: Annotated[dict[str, str], Meta(description="replaces all fields of the name")] = field(
        default_factory=dict
    )
    add: Annotated[dict[str, str], Meta(description="one more field of the name")] = field(
        default_factory=dict
    )
    remove: Annotated[list[str], Meta(description="names of fields")] = field(default_factory=list)


class RouteTimeouts(Model, frozen=True):
    """Instead of those in `[timeouts]`."""

    first_byte: Annotated[
        Seconds | None, Meta(description="request sent to first byte of the answer; `0`: no limit")
    ] = None
    total: Annotated[Seconds | None, Meta(description="a whole exchange; `0`: no limit")] = None


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


class Route(RouteFilters, frozen=True):
    """Which chain and upstream serve a request. Of the routes that match, the most specific wins: exact host
    over wildcard over none; then exact path over pattern over the longer prefix; then one that names a
    listener, methods, more header fields, more of the query; then the larger `priority`; then the first."""

    upstream: Annotated[
        str, Meta(description='a name from `[upstreams]`, or an address such as `"http://127.0.0.1:9000"`')
    ] = ""
    upstreams: list[Share] = field(default_factory=list)
    retry: Retry | None = None
    mirror: Mirror | None = None
    answer: Annotated[
        Answer | None,
        Meta(description='instead of an upstream: a fixed answer, such as `{ status = 200, body = "ok" }`'),
    ] = None
    static: Annotated[
        Static | None,
        Meta(description='instead of an upstream: files of a directory, such as `{ root = "www" }`'),
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
    ip_allow: Annotated[
        list[str],
        Meta(
            description='addresses and networks, such as `"10.0.0.0/8"`: other clients get 403, so do those '
            "without an address; empty: any"
        ),
    ] = field(default_factory=list)
    ip_deny: Annotated[list[str], Meta(description="these get 403, `ip_allow` or not")] = field(
        default_factory=list
    )
    redirect: Annotated[
        Redirect | None,
        Meta(description='such as `{ scheme = "https" }`; before the request hooks of plugins'),
    ] = None
    rewrite: Annotated[
        Rewrite | None, Meta(description="what path the upstream gets; behind the plugins' request hooks")
    ] = None
    request_headers: Annotated[
        HeaderEdits | None, Meta(description="what the upstream gets; behind the plugins' request hooks")
    ] = None
    response_headers: Annotated[
        HeaderEdits | None,
        Meta(description="what the client gets, in each response of the route, errors too; behind all hooks"),
    ] = None
    timeouts: Annotated[RouteTimeouts | None, Meta(description="instead of `[timeouts]`")] = None
    max_body_size: Annotated[
        Size | None, Meta(description="a whole request body, instead of `limits.max_body_size`; `0`: any")
    ] = None
    plugins: Annotated[
        list[str] | None,
        Meta(description="names; left out: every plugin; `[]`: none. The order is the chain's own"),
    ] = None
