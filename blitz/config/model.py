"""What a Blitz configuration says, as frozen values. No files, no environment: see ``load.py``.

Durations are float seconds and sizes int bytes here; ``units.py`` reads them from ``"5s"`` and
``"16MiB"``. Every default stands in this file with its reason.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["Config", "Http", "Limits", "Log", "Plugin", "Route", "Timeouts", "Upstream"]

KIB = 1024
MIB = 1024 * KIB

PLUGIN_TYPES = (
    # The default order of a chain: the seed document's list.
    "request_preprocessing",
    "authentication",
    "request_transformation",
    "response_transformation",
    "observability",
)
PluginType = Literal[
    "request_preprocessing", "authentication", "request_transformation", "response_transformation", "observability"
]


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Timeouts(_Model, frozen=True):
    """Seconds; 0 switches one off."""

    head: float = 10.0  # the whole request head, from its first byte: longer is a slow-loris
    body_idle: float = 30.0  # between two parts of a request body
    keepalive: float = 75.0  # an idle client connection; nginx's value
    connect: float = 5.0  # TCP connect to an upstream: three SYN retries
    first_byte: float = 60.0  # request sent to first byte of the answer; nginx's proxy_read_timeout
    response_idle: float = 60.0  # between two parts of an answer's body
    total: float = 0.0  # a whole exchange; off, because streams have no natural end
    send_idle: float = 30.0  # a peer that accepts no byte of what we send
    drain: float = 30.0  # what is in flight after SIGTERM


class Limits(_Model, frozen=True):
    """Sizes in bytes, counts in ones; 0 switches one off where a bound is not vital."""

    max_head_size: int = 64 * KIB  # request or response head; Envoy's 60 KiB rounded up
    max_line_size: int = 16 * KIB  # request line
    max_field_size: int = 32 * KIB  # one field line
    max_fields: int = 100  # Envoy's and Apache's default
    max_chunk_line_size: int = 4 * KIB  # one chunk-size line with extensions
    max_trailer_size: int = 16 * KIB
    max_interim_responses: int = 10  # 1xx answers before the final one
    max_body_size: int = 0  # whole request body; off: streams are the point
    max_connections: int = 10_000  # client connections of one worker
    max_connections_per_address: int = 0  # off: a NAT or a balancer looks like one client


class Http(_Model, frozen=True):
    parser: Literal["auto", "h11"] = "auto"  # auto: the C scanner, h11 for what it declines


class Log(_Model, frozen=True):
    level: str = "info"  # QUIC_LOG
    plugins: str = "info"  # PLUGIN_LOG
    access: Literal["off", "json", "common"] = "off"  # one line per exchange on standard output


class Upstream(_Model, frozen=True):
    """A cluster: a named group of endpoints that are interchangeable."""

    endpoints: list[str]  # "http://host:port"
    max_connections: int = 1024  # per endpoint and worker; waiting beyond it is bounded by timeouts.connect
    max_idle: int = 64  # idle connections kept per endpoint and worker
    idle_timeout: float = 55.0  # shorter than the 60 s that many servers keep an idle connection
    host: str = ""  # Host to send; "": the client's


class Plugin(_Model, frozen=True):
    name: str
    file: str
    type: PluginType = "request_preprocessing"
    order: int | None = None  # explicit order wins over type
    memory: int = 16 * MIB  # linear memory per instance
    timeout: float = 1.0  # one call of one hook
    max_body: int = MIB  # what is collected for get_body and process_response
    response_body: Literal["full", "none"] = "full"
    instances: Literal["pooled", "per-request", "single"] = "pooled"
    max_requests: int = 10_000  # calls before a pooled instance is replaced: bounds slow leaks in guests
    max_instances: int = 256  # per worker; a further exchange waits for one
    failure: Literal["closed", "open"] = "closed"
    config: dict[str, Any] | str = ""  # get_config: JSON for a table; get_property("config.<key>") for one value
    env: list[str] = []  # names of environment variables the guest may read
    sha256: str = ""  # pin: refuse any other file


class Route(_Model, frozen=True):
    """Which chain and upstream serve a request. The most specific route wins: exact host over
    wildcard over none, then the longest path prefix."""

    upstream: str
    name: str = ""  # for logs and get_property; "": its position
    host: str = ""  # "api.example.org" or "*.example.org"
    path_prefix: str = "/"  # matched on segment borders
    plugins: list[str] | None = None  # None: every plugin; order is the chain's own


class Config(_Model, frozen=True):
    listen: list[str] = ["127.0.0.1:8080"]
    workers: int | Literal["auto"] = 1
    plugin_dir: str = ""  # PLUGIN_DIR: every *.wasm in it is a plugin
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    http: Http = Http()
    log: Log = Log()
    upstreams: dict[str, Upstream] = {}
    plugins: list[Plugin] = []
    routes: list[Route] = []
