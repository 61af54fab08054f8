"""What runs: a configuration with every question answered. A pure value; the gateway is built from it.

Made by :func:`blitz.config.resolve`. Nothing in it needs a file or the environment any more, except
that ``ResolvedPlugin.file`` names the module to load.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from blitz.config.addresses import Address, Endpoint
from blitz.config.filter_keys import Compress, Cors, RateLimit
from blitz.config.model import (
    Answer,
    Auth,
    Http,
    Limits,
    Log,
    Timeouts,
    Tls,
    UpstreamTls,
)
from blitz.config.retry_keys import Mirror
from blitz.config.static_keys import Static
from blitz.config.upstream_keys import Health, Outlier, Sticky
from blitz.config.values import Body, Failure, Instances, PluginType, TrustedField

__all__ = [
    "Resolved",
    "ResolvedAdmin",
    "ResolvedEdit",
    "ResolvedMatch",
    "ResolvedPlugin",
    "ResolvedRedirect",
    "ResolvedRetry",
    "ResolvedRoute",
    "ResolvedUpstream",
    "ResolvedValue",
    "Served",
]


class ResolvedPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin with its final limits, grants and configuration.

    Attributes:
        file: path of the ``.wasm``.
        manifest: path of its manifest, or "".
        type, order: why it stands where it stands in ``Resolved.plugins``; type None: nobody says.
        memory, max_body: bytes. timeout, wait_timeout: seconds.
        upstreams: names of those that it may send requests to.
        config: what ``get_config`` gives: JSON, or the operator's own text; b"" when there is none.
        config_values: dotted key -> text for ``get_property("config.<key>")``: lists of values are
            joined by newlines, elements of other lists have their position as a key, booleans are
            true and false.
        env: granted names that are set, with their values.
        grants, asks: capabilities; asks is None without a manifest: then what it imports it asks for.
        reroute: it may lead requests to another route.
        namespace: of its shared state; "" for its own.
        sha256: lower-case hex digest that module and manifest must have together (``pin.py``), or "".
        manifest_sha256: of the manifest as it was read; "" without one.
    """

    name: str
    file: str
    manifest: str = ""
    version: str = ""
    description: str = ""
    type: PluginType | None = None
    order: int | None = None
    memory: int
    timeout: float
    wait_timeout: float = 5.0
    upstreams: tuple[str, ...] = ()
    max_body: int
    response_body: Body
    instances: Instances | Literal[""]
    max_requests: int
    max_instances: int
    warm: int = 1
    failure: Failure
    rollback: bool = False
    config: bytes = b""
    config_values: dict[str, str] = {}
    env: dict[str, str] = {}
    grants: tuple[str, ...] = ()
    asks: tuple[str, ...] | None = None
    reroute: bool = False
    namespace: str = ""
    sha256: str = ""
    manifest_sha256: str = ""
    bound_sha256: str = ""
    origins: dict[str, str] = {}

    def __repr__(self) -> str:  # config and env may hold secrets
        return f"ResolvedPlugin(name={self.name!r}, file={self.file!r})"


class ResolvedUpstream(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster. idle_timeout and max_age in seconds, max_age 0: no limit; host "" sends the client's Host;
    proxy_protocol: each connection begins with a PROXY protocol header and serves one exchange; reuse: who
    may use a connection again.

    Attributes:
        weights: of endpoints. hash: client, header, cookie or path, and a name.
        well, failures: the statuses that ``health.status`` and ``outlier.status`` mean.
        max_ejected: a share. max_pending 0: any number.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    weights: tuple[float, ...] = ()
    lb: Literal["round_robin", "least_conn", "random_two", "hash"] = "round_robin"
    hash: tuple[str, str] = ("client", "")
    sticky: Sticky | None = None
    health: Health | None = None
    well: frozenset[int] = frozenset()
    outlier: Outlier = Outlier()
    failures: frozenset[int] = frozenset()
    max_ejected: float = 1.0
    resolve_interval: float = 0.0
    max_pending: int = 0
    max_connections: int
    max_idle: int
    idle_timeout: float
    max_age: float
    host: str = ""
    tls: UpstreamTls = UpstreamTls()
    reuse: bool | Literal["client"] = True
    proxy_protocol: bool = False


class ResolvedRetry(msgspec.Struct, frozen=True, kw_only=True):
    """on: of connect, reset and timeout. budget: a share. per_try: seconds, 0: no bound of its own."""

    attempts: int
    on: frozenset[str]
    statuses: frozenset[int]
    per_try: float
    budget: float


class ResolvedValue(msgspec.Struct, frozen=True):
    """What a field or a part of the query must be: *text*, what *regex* is found in, or *present* or not."""

    name: str
    text: str | None = None
    regex: str = ""
    present: bool = True


class ResolvedMatch(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests a route takes: all of it must be so.

    Attributes:
        hosts: lower-case, "*.name" for what ends in ".name"; "" for any. At least one.
        path: no trailing slash unless it is "/"; with *exact* the whole path, else a prefix.
        regex: of the path, besides; "" for none.
        preflights: a CORS preflight has the method that it asks leave for.
        fields: names in lower case.
    """

    hosts: tuple[str, ...] = ("",)
    path: str = "/"
    exact: bool = False
    regex: str = ""
    methods: tuple[str, ...] = ()
    preflights: bool = False
    fields: tuple[ResolvedValue, ...] = ()
    query: tuple[ResolvedValue, ...] = ()
    listen: str = ""
    priority: int = 0


class ResolvedEdit(msgspec.Struct, frozen=True):
    """One edit of a field. op: "remove", "set" or "add". value: parts, see ``value_text.parse_text``."""

    op: str
    name: str
    value: tuple[tuple[str, str], ...] = ()


class ResolvedRedirect(msgspec.Struct, frozen=True, kw_only=True):
    """Where to: "" or 0 or () for what stays. path: parts."""

    status: int
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: tuple[tuple[str, str], ...] = ()


class ResolvedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One route. plugins are names in the order in which they run, those of
    ``Resolved.before_routing`` first. Upstream is a name, or upstreams has names with weights, or answer
    or static is there; none of them: it only redirects.

    Attributes:
        body: of the answer. ip_allow, ip_deny: networks in canonical form.
        new_path: parts of the path that upstreams get; None: the one that came.
        pattern, template: what in the path is replaced, and the parts of what by: texts, and numbers of
            groups; "": nothing.
        first_byte, total: seconds, 0 for no limit; None: as for all. max_body: bytes, the same.
        auth: a name of ``Resolved.auth``, or "".
    """

    name: str
    upstream: str
    upstreams: tuple[tuple[str, float], ...] = ()
    retry: ResolvedRetry | None = None
    mirror: Mirror | None = None
    answer: Answer | None = None
    body: bytes = b""
    ip_allow: tuple[str, ...] = ()
    ip_deny: tuple[str, ...] = ()
    redirect: ResolvedRedirect | None = None
    static: Static | None = None
    new_path: tuple[tuple[str, str], ...] | None = None
    pattern: str = ""
    template: tuple[str | int, ...] = ()
    request_edits: tuple[ResolvedEdit, ...] = ()
    response_edits: tuple[ResolvedEdit, ...] = ()
    first_byte: float | None = None
    total: float | None = None
    max_body: int | None = None
    match: ResolvedMatch = ResolvedMatch()
    plugins: tuple[str, ...] = ()
    auth: str = ""
    cors: Cors | None = None
    rate_limit: RateLimit | None = None
    compress: Compress | None = None


DEFAULT_ADMIN = Address("127.0.0.1", 9900)  # the same for every service, so that commands find it


class ResolvedAdmin(msgspec.Struct, frozen=True, kw_only=True):
    """Where operators look: at an address, or a Unix socket; neither: nowhere. token "": all may.

    Attributes:
        path: of the socket, or "".
        is_open: nothing is said about it: commands that serve choose an address, see ``Resolved.with_admin``.
        by_default: they have.
    """

    listen: Address | None = None
    path: str = ""
    token: str = ""
    is_open: bool = False
    by_default: bool = False

    def __repr__(self) -> str:  # the token is a secret
        return f"ResolvedAdmin({self.where})"

    @property
    def where(self) -> str:
        """As files write it; "off": nowhere."""
        return f"unix:{self.path}" if self.path else str(self.listen or "off")


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a gateway needs.

    Attributes:
        workers: a number of processes; "auto" has been answered.
        trusted_proxies: networks in canonical form.
        trusted_field: the field that they write the client's address into.
        plugin_dir, cache_dir: "" when not set. watch: reload when a file changes that this came from.
        sources: the configuration's files, and those of its secrets. source_directories: where more of them
            may come, by a pattern in ``include``.
        before_routing: names of the plugins that run before a route is chosen, in chain order.
        plugins: in chain order. Only those that some route runs need loading, but all are listed: an
            unused plugin that cannot load is a mistake too.
        auth: those that routes name, and what they name. auth_upstreams: name of an auth that asks a service
        ->
            name of the upstream.
        warnings: one sentence each, for the log.
    """

    listen: tuple[Address, ...]
    workers: int
    timeouts: Timeouts
    limits: Limits
    http: Http
    log: Log
    admin: ResolvedAdmin = ResolvedAdmin()
    upstreams: dict[str, ResolvedUpstream]
    plugins: tuple[ResolvedPlugin, ...]
    before_routing: tuple[str, ...] = ()
    routes: tuple[ResolvedRoute, ...]
    auth: dict[str, Auth] = {}
    auth_upstreams: dict[str, str] = {}
    tls: Tls = Tls()
    trusted_proxies: tuple[str, ...] = ()
    trusted_field: TrustedField = "x-forwarded-for"
    plugin_dir: str = ""
    cache_dir: str = ""
    watch: bool = False
    sources: tuple[str, ...] = ()
    source_directories: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def with_admin(self) -> Resolved:
        """With an admin listener where nothing is said about it: for commands that serve."""
        if not self.admin.is_open:
            return self
        admin = ResolvedAdmin(listen=DEFAULT_ADMIN, token=self.admin.token, by_default=True)
        return msgspec.structs.replace(self, admin=admin)


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that has served. digests: name of each plugin -> sha256 of its module then."""

    resolved: Resolved
    digests: dict[str, str] = {}
