"""What runs: a configuration with every question answered. A pure value; the gateway is built from it.

Made by :func:`blitz.config.resolve`. Nothing in it needs a file or the environment any more, except
that ``ResolvedPlugin.file`` names the module to load.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from blitz.config.addresses import Address, Endpoint
from blitz.config.model import (
    Answer,
    Http,
    Limits,
    Log,
    Timeouts,
    Tls,
    UpstreamTls,
)
from blitz.config.values import Body, Failure, Instances, PluginType, TrustedField

__all__ = ["Resolved", "ResolvedAdmin", "ResolvedPlugin", "ResolvedRoute", "ResolvedUpstream", "Served"]


class ResolvedPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin with its final limits, grants and configuration.

    Attributes:
        file: path of the ``.wasm``.
        manifest: path of its manifest, or "".
        type, order: why it stands where it stands in ``Resolved.plugins``; type None: nobody says.
        memory, max_body: bytes. timeout: seconds.
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
    max_body: int
    response_body: Body
    instances: Instances
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
    may use a connection again."""

    name: str
    endpoints: tuple[Endpoint, ...]
    max_connections: int
    max_idle: int
    idle_timeout: float
    max_age: float
    host: str = ""
    tls: UpstreamTls = UpstreamTls()
    reuse: bool | Literal["client"] = True
    proxy_protocol: bool = False


class ResolvedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One route. host is lower-case, "" for any, "*.name" for what ends in ".name"; path_prefix has no
    trailing slash unless it is "/"; plugins are names in the order in which they run, those of
    ``Resolved.before_routing`` first. Either upstream is a name or answer is there."""

    name: str
    upstream: str
    answer: Answer | None = None
    host: str = ""
    path_prefix: str = "/"
    plugins: tuple[str, ...] = ()


class ResolvedAdmin(msgspec.Struct, frozen=True, kw_only=True):
    """Where operators look; listen None: nowhere. token "": whoever reaches the address may."""

    listen: Address | None = None
    token: str = ""

    def __repr__(self) -> str:  # the token is a secret
        return f"ResolvedAdmin(listen={self.listen!r})"


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
    tls: Tls = Tls()
    trusted_proxies: tuple[str, ...] = ()
    trusted_field: TrustedField = "x-forwarded-for"
    plugin_dir: str = ""
    cache_dir: str = ""
    watch: bool = False
    sources: tuple[str, ...] = ()
    source_directories: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that has served. digests: name of each plugin -> sha256 of its module then."""

    resolved: Resolved
    digests: dict[str, str] = {}
