"""The keys of a route's filters, as frozen values. See ``model.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from blitz.config.values import Count, Model, Seconds, Size

__all__ = ["COMPRESSED_TYPES", "Compress", "ContentCoding", "Cors", "RateLimit", "RouteFilters"]

ContentCoding = Literal["zstd", "br", "gzip"]
# What is text, or holds much of it. Images, sounds, films and archives are compressed already.
COMPRESSED_TYPES = (
    "text/*",
    "+json",
    "+xml",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-javascript",
    "application/wasm",
    "application/json-seq",
    "application/jsonl",
    "application/ndjson",
    "application/x-ndjson",
    "application/x-json-stream",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
)


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


class Compress(Model, frozen=True):
    """Compress what clients can read compressed (`Accept-Encoding`), and upstreams have not compressed."""

    encodings: Annotated[
        list[ContentCoding],
        Meta(
            min_length=1,
            description="which, the preferred one first: it is taken where the client has no preference; "
            "`zstd` and `br` need the extra `compress`",
        ),
    ]
    types: Annotated[
        list[str],
        Meta(
            min_length=1,
            description='media types: `"text/css"`, `"text/*"`, or `"+json"` for a suffix; never gRPC, '
            "which has its own",
        ),
    ] = field(default_factory=lambda: list(COMPRESSED_TYPES))
    min_size: Annotated[
        Size,
        Meta(
            description="a body whose length is known and smaller is left as it is: it fits into a packet "
            "either way"
        ),
    ] = 1024
    gzip_level: Annotated[
        int,
        Meta(
            ge=1,
            le=6,
            description="nginx has 1; 4 takes half as long again, and an eighth fewer bytes are sent; above "
            "6 a chosen body could hold up everybody",
        ),
    ] = 4
    zstd_level: Annotated[
        int, Meta(ge=1, le=4, description="3 is the library's own; above 4 each body takes 3 MiB")
    ] = 3
    br_level: Annotated[
        int,
        Meta(
            ge=1,
            le=4,
            description="3 costs less than gzip's 4 and sends about as much; above 4 one step takes long",
        ),
    ] = 3


class RouteFilters(Model, frozen=True):
    """Those keys of ``[[routes]]`` that are filters of the gateway's own."""

    auth: Annotated[
        str, Meta(description="a name from `[auth]`: only clients that it lets pass are served")
    ] = ""
    cors: Annotated[Cors | None, Meta(description="what scripts of other origins may do")] = None
    rate_limit: Annotated[RateLimit | None, Meta(description="how many requests each client may send")] = None
    compress: Annotated[
        Annotated[list[ContentCoding], Meta(min_length=1)] | Compress | None,
        Meta(
            description='compress responses: `["zstd", "br", "gzip"]`, the preferred one first, or a table '
            "with more"
        ),
    ] = None
