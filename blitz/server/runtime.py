"""What one configuration compiled to: routes, chains, pools, clusters. A value that is swapped whole."""

from __future__ import annotations

import itertools
import math
import weakref
from dataclasses import dataclass
from typing import Any

from blitz._native import ffi
from blitz.config.model import Timeouts
from blitz.config.resolved import Resolved, ResolvedRoute
from blitz.filters import Filter
from blitz.http.h1 import HeadReader, head_limits
from blitz.routing.match import Router, Rule
from blitz.wasm.chain import Chain
from blitz.wasm.pool import PluginPool

from .acme_challenges import CHALLENGE_PATH, Challenges
from .endpoint import Cluster, Endpoint, EndpointAddress
from .local_response import Handler, Reply
from .peer import Trust
from .tls import ClientTls, TlsSettings

__all__ = ["RouteEntry", "Runtime", "assemble"]

_ids = itertools.count(1)
# What a native route points to lives as long as the route does; as cffi's manual has it.
_kept_for: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One route, ready to run.

    Attributes:
        name: for logs and guests; name_text points into it.
        name_text: cffi ``blitz_text``.
        chain: its plugins, those that run before routing first; what the fast path asks.
        filter: what exchanges of the general path ask: the chain.
        cluster: None when ``answer`` gives the answer at once.
        short_route: cffi ``blitz_fast_route *`` if its exchanges may take the fast path (``fast_path.py``).
        is_before: no route, but what runs before one is chosen, for the fast path.
    """

    name: bytes
    name_text: Any
    chain: Chain
    filter: Filter
    cluster: Cluster | None
    answer: Handler | None = None
    short_route: Any = None
    is_before: bool = False


class Runtime:
    """Everything a gateway runs on. An exchange keeps the one it started with.

    Attributes:
        head_limits: cffi ``blitz_head_limits *``.
        request_id_header: the field that tells the request's id, or b"".
        short: exchanges may go through the fast path: those of ``short_entries``.
        before: plugins that run before a route is chosen, and may change what it is chosen by.
        before_entry: the same for the fast path, if there is something to choose.
        trust: the proxies whose word about the client is taken.
        pools: of every plugin; not the runtime's own: unchanged ones go on in the next runtime.
        short_entries: those of its routes that have a short_route, and before_entry.
        endpoints_by_client: those whose connections are only used again for the same client.
        users: exchanges that run on it now.
        challenges: answers for a certificate authority.
    """

    def __init__(
        self,
        resolved: Resolved,
        router: Router[RouteEntry],
        before: Chain,
        pools: list[PluginPool],
        clusters: dict[str, Cluster],
        tls: TlsSettings,
        short_entries: list[RouteEntry],
        challenges: Challenges,
    ) -> None:
        self.resolved = resolved
        self.before_entry = None if router.only is not None else _before_entry(before)
        self.short_entries = [*short_entries, *([self.before_entry] if self.before_entry is not None else [])]
        self.tls = tls
        self.trust = Trust(resolved.trusted_proxies, resolved.trusted_field)
        self.timeouts = resolved.timeouts
        self.limits = limits = resolved.limits
        self.router = router
        self.before = before
        self.pools = pools
        self.clusters = clusters
        self.endpoints_by_client = [
            endpoint
            for cluster in clusters.values()
            for endpoint in cluster.endpoints
            if endpoint.reuse == "client"
        ]
        self.head_limits = head_limits(
            limits.max_head_size, limits.max_line_size, limits.max_field_size, limits.max_fields
        )
        self.reader = HeadReader(self.head_limits, resolved.http.parser)
        self.request_id_header = resolved.http.request_id_header.encode()
        self.short = resolved.http.parser == "auto" and bool(short_entries)
        self.upgrades = frozenset(name.lower().encode() for name in resolved.http.upgrades)
        self.chain_timeout = resolved.timeouts.chain or math.inf
        self.users = 0
        self.challenges = challenges

    def fails_open(self, plugin: str) -> bool:
        """*plugin* is skipped when it fails."""
        return any(pool.name == plugin and pool.open_on_failure for pool in self.pools)

    def keep_health(self, old: Runtime) -> None:
        """What is known about endpoints that *old* has too is still true."""
        for name, cluster in self.clusters.items():
            before = old.clusters.get(name)
            known = {one.address: one.health for one in before.endpoints} if before is not None else {}
            for endpoint in cluster.endpoints:
                endpoint.take_health(known.get(endpoint.address, endpoint.health))

    def retire(self) -> None:
        """No new exchange starts on it: idle upstream connections end now. Pools may go on in another."""
        for cluster in self.clusters.values():
            cluster.retire()


def assemble(
    resolved: Resolved, pools: dict[str, PluginPool], tls: TlsSettings, handler: Handler | None = None
) -> Runtime:
    """Put what was loaded and a configuration together. Quick; does not start anything.

    Args:
        handler: gives the responses of routes without an upstream instead of the configuration.
    """
    clusters = {name: _cluster(resolved, name, tls.clients.get(name)) for name in resolved.upstreams}
    rules = []
    for route in resolved.routes:
        entry = _entry(resolved, route, pools, clusters, handler)
        # What stands in front of a path is the plugins and where the route leads: one to another upstream, or
        # with an answer of its own, hides what the upstream of its neighbour has there.
        protection = (route.plugins, route.upstream, route.answer)
        rules.append(Rule(route.host.encode(), route.path_prefix.encode(), entry, protection))
    challenges = Challenges()
    rules += _challenge_rules(resolved, challenges)
    router = Router(rules)
    for rule in rules:
        _tell_fast_path(rule.value, router)
    before = Chain([pools[name] for name in resolved.before_routing])
    short = [rule.value for rule in rules if rule.value.short_route is not None]
    return Runtime(resolved, router, before, list(pools.values()), clusters, tls, short, challenges)


def _challenge_rules(resolved: Resolved, challenges: Challenges) -> list[Rule[RouteEntry]]:
    """Where an authority asks about the names that certificates are ordered for. No plugins run there."""
    acme = resolved.tls.acme
    if acme.challenge != "http-01":
        return []
    entry = _bare_entry(b"acme", challenges.reply, resolved.timeouts)
    return [Rule(name.encode(), CHALLENGE_PATH.encode(), entry, CHALLENGE_PATH) for name in acme.domains]


def _bare_entry(name: bytes, handler: Handler, timeouts: Timeouts) -> RouteEntry:
    """Of a route without plugins, whose responses *handler* makes."""
    text = ffi.new("blitz_text *", {"ptr": ffi.from_buffer("uint8_t[]", name), "len": len(name)})
    chain = Chain([])
    route = _short_route(text[0], chain, None, timeouts)
    return RouteEntry(name, text[0], chain, chain, None, handler, route)


def _entry(
    resolved: Resolved,
    route: ResolvedRoute,
    pools: dict[str, PluginPool],
    clusters: dict[str, Cluster],
    handler: Handler | None,
) -> RouteEntry:
    name = route.name.encode()
    text = ffi.new("blitz_text *", {"ptr": ffi.from_buffer("uint8_t[]", name), "len": len(name)})
    chain = Chain([pools[plugin] for plugin in route.plugins])
    short = _is_short(chain)
    cluster = clusters[route.upstream] if route.answer is None else None
    short_route = _short_route(text[0], chain, cluster, resolved.timeouts) if short else None
    if route.answer is None:
        return RouteEntry(name, text[0], chain, chain, cluster, short_route=short_route)
    reply = Reply(route.answer.status, route.answer.body.encode())
    if short_route is not None and handler is None:
        _tell_reply(short_route, reply)
    return RouteEntry(name, text[0], chain, chain, None, handler or (lambda request: reply), short_route)


def _is_short(chain: Chain) -> bool:
    """No plugin of it sees bodies of answers."""
    return not any(pool.plugin.needs_response_body for pool in chain.pools)


def _before_entry(before: Chain) -> RouteEntry | None:
    if not before.pools or not _is_short(before):
        return None
    text = ffi.new("blitz_text *")
    route = _short_route(text[0], before, None, Timeouts())
    route.before = 1
    return RouteEntry(b"", text[0], before, before, None, short_route=route, is_before=True)


def _short_route(name: Any, chain: Chain, cluster: Cluster | None, timeouts: Timeouts) -> Any:
    route = ffi.new("blitz_fast_route *")
    route.id = next(_ids)
    route.pools = chain.native
    route.n_pools = len(chain.pools)
    route.has_response = chain.has_response
    route.body_limit = max((p.plugin.spec.max_body for p in chain.pools if p.plugin.reads_body), default=0)
    if cluster is not None:
        route.cluster = cluster.native
    route.name = name
    route.first_byte = timeouts.first_byte
    route.body_idle = timeouts.body_idle
    route.response_idle = timeouts.response_idle
    route.send_idle = timeouts.send_idle
    _kept_for[route] = (chain, cluster)
    return route


def _tell_reply(route: Any, reply: Reply) -> None:
    """The route gives *reply* to every request: that needs no Python."""
    route.status = reply.status
    kind, body = (ffi.from_buffer("uint8_t[]", text) for text in (reply.kind, reply.body))
    route.kind = {"ptr": kind, "len": len(reply.kind)}
    route.body = {"ptr": body, "len": len(reply.body)}
    _kept_for[route] = (_kept_for[route], kind, body)


def _tell_fast_path(entry: RouteEntry, router: Router[RouteEntry]) -> None:
    """How the fast path finds out whether a request that plugins changed is still the route's."""
    route = entry.short_route
    if route is None:
        return
    route.alone = router.only is not None
    if not router.by_host:
        route.paths = router.table
        route.value = router.number(entry)
        _kept_for[route] = (_kept_for[route], router.table)


def _cluster(resolved: Resolved, name: str, tls: ClientTls | None) -> Cluster:
    upstream = resolved.upstreams[name]
    endpoints = [
        Endpoint(
            EndpointAddress(endpoint.host, endpoint.port, endpoint.path),
            upstream.max_connections,
            upstream.max_idle,
            upstream.idle_timeout,
            upstream.max_age,
            upstream=name,
            tls=tls if endpoint.scheme == "https" else None,
            proxy_protocol=upstream.proxy_protocol,
            reuse=upstream.reuse,
        )
        for endpoint in upstream.endpoints
    ]
    return Cluster(name, endpoints, upstream.host)
