"""What one configuration compiled to: routes, chains, pools, clusters. A value that is swapped whole."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from blitz._native import ffi, lib
from blitz.config.model import Timeouts
from blitz.config.resolved import Resolved, ResolvedRoute
from blitz.filters import Filter
from blitz.http.h1 import HeadReader, head_limits
from blitz.routing.balance import Retry
from blitz.routing.match import Router
from blitz.wasm.chain import Chain
from blitz.wasm.pool import PluginPool

from .acme_challenges import Challenges
from .asked import chosen_by
from .auth_files import Authenticators
from .cluster import Cluster, status_set
from .clusters import build_cluster
from .forwarding import WITH_RANGES
from .local_response import Handler, Reply
from .own_filters import OwnFilters, own_filters
from .peer import Trust
from .route_rules import native_rules
from .route_table import answers_challenges, route_table
from .sites import Site, site_of
from .split import Mirror, Split, mirror_of
from .tls import TlsSettings

__all__ = ["RouteEntry", "Runtime", "assemble"]

Serve = Callable[[Any], Awaitable[bool]]  # takes the Exchange, which is made of this; as run_exchange

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
        cluster: None when ``answer`` gives the answer at once, or several upstreams share the requests:
        split: how, with branches: an entry like this for each, which is share_of it.
        retry, mirror: what the route says of that.
        short_route: cffi ``blitz_fast_route *`` if its exchanges may take the fast path (``fast_path.py``).
        is_before: no route, but what runs before one is chosen, for the fast path.
        rules: cffi ``blitz_route_rules *``: who may come, redirects, edits; NULL: none.
        first_byte, total: seconds, 0 for no limit. max_body: bytes, the same.
        site: the files that answer; None: others do.
        serve: responds instead of ``answer``; it may wait.
        own: its filters of the gateway's own; None: it has none.
    """

    name: bytes
    name_text: Any
    chain: Chain
    filter: Filter
    cluster: Cluster | None
    answer: Handler | None = None
    short_route: Any = None
    is_before: bool = False
    rules: Any = ffi.NULL
    first_byte: float = 0.0
    total: float = 0.0
    max_body: int = 0
    retry: Retry | None = None
    mirror: Mirror | None = None
    split: Split | None = None
    branches: tuple[RouteEntry, ...] = ()
    share_of: Split | None = None
    site: Site | None = None

    @property
    def tells_host(self) -> bool:
        """Upstreams are told the Host that the client asked for, because they get another one."""
        return any(one.cluster is not None and one.cluster.host for one in (self, *self.branches))

    @property
    def whole(self) -> RouteEntry:
        """The entry of the route: itself, unless it is a branch."""
        whole: RouteEntry = self.share_of.whole if self.share_of is not None else self
        return whole

    def next_branch(self) -> RouteEntry:
        """The entry of the upstream whose turn it is; itself, if there is one only."""
        return self if self.split is None else self.branches[self.split.take()]

    serve: Serve | None = None
    own: OwnFilters | None = None


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
        chosen_by: cffi ``blitz_chosen_by *``, or NULL.
        short_entries: those of its routes that have a short_route, and before_entry.
        clusters_by_client: those whose connections are only used again for the same client.
        auth: how clients of its routes say who they are. key_sources: keys that are fetched for that.
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
        auth: Authenticators,
        challenges: Challenges,
    ) -> None:
        self.resolved = resolved
        self.auth = auth
        self.key_sources = auth.sources
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
        self.clusters_by_client = [
            cluster for name, cluster in clusters.items() if resolved.upstreams[name].reuse == "client"
        ]
        self.head_limits = head_limits(
            limits.max_head_size, limits.max_line_size, limits.max_field_size, limits.max_fields
        )
        self.reader = HeadReader(self.head_limits, resolved.http.parser)
        self.request_id_header = resolved.http.request_id_header.encode()
        self.short = resolved.http.parser == "auto" and bool(short_entries)
        self.chosen_by = chosen_by(route.match for route in resolved.routes)
        self.upgrades = frozenset(name.lower().encode() for name in resolved.http.upgrades)
        self.chain_timeout = resolved.timeouts.chain or math.inf
        self.users = 0
        self.challenges = challenges

    def fails_open(self, plugin: str) -> bool:
        """*plugin* is skipped when it fails."""
        return any(pool.name == plugin and pool.open_on_failure for pool in self.pools)

    def keep_health(self, old: Runtime) -> None:
        """What is known about endpoints and keys that *old* has too is still true."""
        self.auth.go_on_from(old.auth)
        for name, cluster in self.clusters.items():
            before = old.clusters.get(name)
            known = {one.address: one for one in before.endpoints} if before is not None else {}
            for endpoint in cluster.endpoints:
                if endpoint.address in known:
                    endpoint.take_health(known[endpoint.address])

    def retire(self) -> None:
        """No new exchange starts on it: idle upstream connections end now. Pools may go on in another."""
        for cluster in self.clusters.values():
            cluster.retire()


def assemble(
    resolved: Resolved,
    pools: dict[str, PluginPool],
    tls: TlsSettings,
    serve: Serve | None = None,
    auth: Authenticators | None = None,
) -> Runtime:
    """Put what was loaded and a configuration together. Quick; does not start anything.

    Args:
        serve: responds to requests of routes without an upstream instead of the configuration.
        auth: what routes name; None: there is no [auth].
    """
    clusters = {name: build_cluster(one, tls.clients.get(name)) for name, one in resolved.upstreams.items()}
    auth = auth or Authenticators({})
    entries = [_entry(resolved, route, pools, clusters, serve, auth) for route in resolved.routes]
    challenges = Challenges()
    challenge = _challenge_entry(resolved, challenges) if answers_challenges(resolved) else None
    router = route_table(resolved, entries, challenge)
    if challenge is not None:
        entries.append(challenge)
    for entry in entries:
        _tell_fast_path(entry, router)
    before = Chain([pools[name] for name in resolved.before_routing])
    all_entries = [one for entry in entries for one in (entry, *entry.branches)]
    short = [entry for entry in all_entries if entry.short_route is not None]
    return Runtime(resolved, router, before, list(pools.values()), clusters, tls, short, auth, challenges)


def _challenge_entry(resolved: Resolved, challenges: Challenges) -> RouteEntry:
    """Where an authority asks about the names that certificates are ordered for. No plugins run there."""
    name = b"acme"
    text = ffi.new("blitz_text *", {"ptr": ffi.from_buffer("uint8_t[]", name), "len": len(name)})
    chain, timeouts = Chain([]), resolved.timeouts
    return RouteEntry(
        name,
        text[0],
        chain,
        chain,
        None,
        challenges.reply,
        _short_route(text[0], chain, None, timeouts),
        first_byte=timeouts.first_byte,
        total=timeouts.total,
        max_body=resolved.limits.max_body_size,
    )


def _entry(
    resolved: Resolved,
    route: ResolvedRoute,
    pools: dict[str, PluginPool],
    clusters: dict[str, Cluster],
    serve: Serve | None,
    auth: Authenticators,
) -> RouteEntry:
    name = route.name.encode()
    own = own_filters(route, auth.by_name)
    text = ffi.new("blitz_text *", {"ptr": ffi.from_buffer("uint8_t[]", name), "len": len(name)})
    chain = Chain([pools[plugin] for plugin in route.plugins])
    rules = native_rules(route)
    short = serve is None and _is_short(chain) and (own is None or _may_know(resolved, route, own))
    bounds = _bounds(resolved, route)
    shares = [clusters[upstream] for upstream, _ in route.upstreams]
    if not route.upstream and not shares:
        site = site_of(route)
        reply = Reply(_status(route), route.body)
        short_route = _short_route(text[0], chain, None, resolved.timeouts) if short else None
        if short_route is not None:
            if site is None:
                _tell_reply(short_route, reply)
            _tell_rules(short_route, route, rules)
            if site is not None and not route.pattern:  # which C does not know
                short_route.files = lib.BLITZ_FILES_KEPT | (lib.BLITZ_FILES_CODED if site.codings else 0)
        more = {"rules": rules, "serve": serve, "site": site, "own": own, **bounds}
        return RouteEntry(name, text[0], chain, chain, None, lambda _: reply, short_route, **more)
    mirror = mirror_of(route, clusters)
    retry = _retry(route)
    short = short and len({bool(cluster.host) for cluster in shares}) < 2 and not route.pattern
    split = Split([weight for _, weight in route.upstreams]) if shares else None

    def made(cluster: Cluster | None, **more: Any) -> RouteEntry:
        short_route = _short_route(text[0], chain, cluster, resolved.timeouts) if short else None
        if short_route is not None:
            _tell_tries(short_route, retry, mirror)
            _tell_rules(short_route, route, rules)
        return RouteEntry(
            name,
            text[0],
            chain,
            chain,
            cluster,
            short_route=short_route,
            rules=rules,
            retry=retry,
            mirror=mirror,
            own=own,
            **bounds,
            **more,
        )

    if split is None:
        return made(clusters[route.upstream])
    branches = tuple(made(cluster, share_of=split) for cluster in shares)
    whole = split.whole = made(None, split=split, branches=branches)
    if whole.short_route is not None:
        split.tell(whole.short_route, [one.short_route for one in branches])
        _kept_for[whole.short_route] = (_kept_for[whole.short_route], split, branches)
    return whole


def _may_know(resolved: Resolved, route: ResolvedRoute, own: OwnFilters) -> bool:
    """Whether the fast path may have a client let pass that is known, as soon as it has the route: nothing
    that says no, or that plugins do, comes before that."""
    in_front = (route.ip_allow, route.ip_deny, route.redirect, route.max_body, resolved.before_routing)
    return own.auth is not None and not any(in_front)


def _bounds(resolved: Resolved, route: ResolvedRoute) -> dict[str, Any]:
    timeouts, limits = resolved.timeouts, resolved.limits
    return {
        "first_byte": timeouts.first_byte if route.first_byte is None else route.first_byte,
        "total": timeouts.total if route.total is None else route.total,
        "max_body": limits.max_body_size if route.max_body is None else route.max_body,
    }


def _status(route: ResolvedRoute) -> int:
    """Of the route's own answer; one that only redirects has none."""
    return route.answer.status if route.answer is not None else 404


def _tell_rules(short: Any, route: ResolvedRoute, rules: Any) -> None:
    short.rules = rules
    if route.first_byte is not None:
        short.first_byte = route.first_byte
    if route.total is not None:
        short.total = route.total or -1
    if route.max_body is not None:
        short.max_body = route.max_body or -1
    _kept_for[short] = (_kept_for[short], rules)


def _retry(route: ResolvedRoute) -> Retry | None:
    said = route.retry
    return (
        Retry(said.attempts, said.on, said.statuses, said.per_try, said.budget) if said is not None else None
    )


def _tell_tries(route: Any, retry: Retry | None, mirror: Mirror | None) -> None:
    """What the fast path leaves to Python."""
    statuses = ffi.from_buffer("uint8_t[]", status_set(retry.statuses if retry is not None else ()))
    if retry is not None:
        route.per_try = retry.per_try
        route.retry_status = statuses
    if mirror is not None:
        route.mirror = mirror.native
    _kept_for[route] = (_kept_for[route], statuses, mirror)


def _is_short(chain: Chain) -> bool:
    """No plugin of it sees parts of bodies, or the end of a stream."""
    return not chain.parts


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
    route.edits_responses = chain.edits_answers
    route.n_drop_ids = WITH_RANGES
    route.collect = timeouts.collect
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
    number = router.number(entry)
    if number is not None and not (router.by_host or router.by_more):
        route.paths = router.table
        route.value = number
        _kept_for[route] = (_kept_for[route], router.table)
