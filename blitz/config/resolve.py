"""Config -> Resolved: plugins found and merged, chains in order, addresses read.

How one plugin's settings come together is ``plugin_merge.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from blitz.config.addresses import Address, parse_address, parse_endpoint, parse_network
from blitz.config.check import build, nearest
from blitz.config.compress_rules import compress_of
from blitz.config.discover import discover
from blitz.config.filter_rules import auth_upstreams
from blitz.config.include import include_directories
from blitz.config.model import Config, Listener, Route, Upstream
from blitz.config.plugin_merge import PluginMerge
from blitz.config.resolved import (
    Resolved,
    ResolvedAdmin,
    ResolvedPlugin,
    ResolvedRetry,
    ResolvedRoute,
    ResolvedUpstream,
)
from blitz.config.retry_keys import Retry
from blitz.config.route_actions import route_actions
from blitz.config.route_match import route_match
from blitz.config.rules import check_rules
from blitz.config.source import Bad, Document
from blitz.config.upstream_keys import WeightedEndpoint
from blitz.config.upstream_rules import RETRY_ON, is_address, named_upstreams
from blitz.config.upstream_syntax import parse_hash, parse_percent, parse_statuses
from blitz.config.values import PLUGIN_TYPES
from blitz.cpus import usable_cpus
from blitz.errors import ConfigError
from blitz.files import shown

__all__ = ["resolve", "resolve_document"]

PREPROCESSING = "request_preprocessing"
TYPE_STEP = 100  # between the places of two types, so that `order` can name a place between them


def resolve(config: Config, environ: Mapping[str, str] | None = None) -> Resolved:
    """Return what *config* means, however it was made.

    A Config that Python code made is checked here as thoroughly as a file; units may be strings.

    Args:
        config: from ``load_config`` or made by hand.
        environ: where granted variables are read; the process's own when None.
    Raises:
        ConfigError: with every problem.
    """
    document = Document(data=msgspec.to_builtins(config))
    checked = build(Config, document)
    check_rules(checked, document)
    resolved = resolve_document(checked, document, os.environ if environ is None else environ)
    if document.problems:
        raise ConfigError(document.problems)
    return resolved


def resolve_document(config: Config, document: Document, environ: Mapping[str, str]) -> Resolved:
    """Return the resolved form of *config*; its value means nothing if *document* has problems."""
    warnings: list[str] = []
    found, complete = discover(config, document)
    if config.plugin_dir and complete and not found and not config.plugins:
        warnings.append(f"plugin_dir {config.plugin_dir} holds no .wasm file")
    plugins = sorted(
        (PluginMerge(config, document, environ, item, warnings).plugin() for item in found), key=_place
    )
    before = _before_routing(config, document, plugins, complete)
    upstreams = {name: _upstream(name, upstream) for name, upstream in config.upstreams.items()}
    routes = []
    for index, route in enumerate(config.routes):
        for name in named_upstreams(route):
            if is_address(name) and name not in upstreams:
                upstreams[name] = _upstream(name, Upstream(endpoints=[name]))
        routes.append(_route(config, document, index, route, plugins, before, complete))
    asked = auth_upstreams(config)
    for address in asked.values():
        if is_address(address) and address not in upstreams:
            upstreams[address] = _upstream(address, Upstream(endpoints=[address]))
    _warn_of_auth(config, warnings)
    trusted = tuple(_readable(parse_network, config.trusted_proxies))
    _warn_of_trust(config, trusted, warnings)
    _warn_of_unused(config, warnings)
    return Resolved(
        listen=tuple(_readable(_address, config.listen)),
        workers=usable_cpus() if config.workers == "auto" else config.workers,
        timeouts=config.timeouts,
        limits=config.limits,
        http=config.http,
        log=config.log,
        admin=_admin(config),
        upstreams=upstreams,
        plugins=tuple(plugins),
        before_routing=before,
        routes=tuple(routes),
        auth=config.auth,
        auth_upstreams=asked,
        tls=config.tls,
        trusted_proxies=trusted,
        trusted_field=config.trusted_field,
        plugin_dir=config.plugin_dir,
        cache_dir=config.cache_dir,
        watch=config.watch,
        sources=tuple(dict.fromkeys(document.sources)),
        source_directories=include_directories(document),
        warnings=tuple(map(shown, warnings)),
    )


def _admin(config: Config) -> ResolvedAdmin:
    said, token = config.admin.listen, config.admin.token
    if said in ("", "off"):
        return ResolvedAdmin(token=token, is_open=not said)
    if said.startswith("unix:"):
        return ResolvedAdmin(path=said.removeprefix("unix:"), token=token)
    addresses = _readable(parse_address, [said])
    return ResolvedAdmin(listen=addresses[0] if addresses else None, token=token)


def _address(said: str | Listener) -> Address:
    if not isinstance(said, Listener):
        return parse_address(said)
    address = parse_address(said.address)
    return Address(address.host, address.port, said.tls, said.proxy_protocol, said.name)


def _warn_of_trust(config: Config, trusted: tuple[str, ...], warnings: list[str]) -> None:
    for network in trusted:
        if network.endswith("/0"):
            warnings.append(f"trusted_proxies has {network}: every client can say that it is any other")
    for name, upstream in config.upstreams.items():
        if not upstream.tls.verify:
            warnings.append(
                f"upstream {name}: verify = false accepts any certificate; "
                "name its authority in tls.ca instead"
            )


def _warn_of_auth(config: Config, warnings: list[str]) -> None:
    for name, auth in config.auth.items():
        if auth.jwt is not None and not auth.jwt.audiences:
            warnings.append(f"auth {name}: no audiences: tokens that were made for other services pass")
        if auth.jwt is not None and not auth.jwt.issuer:
            warnings.append(f"auth {name}: no issuer: whoever has one of the keys may make tokens")
    named = {route.auth for route in config.routes}
    for auth in config.auth.values():
        named |= {*auth.any, *auth.all}
    for name in config.auth:
        if name not in named:
            warnings.append(f"auth {name}: no route uses it; name it in one, or leave it out")


def _warn_of_unused(config: Config, warnings: list[str]) -> None:
    used = {name for route in config.routes for name in named_upstreams(route)}
    used |= set(auth_upstreams(config).values())
    if any(name and name not in config.upstreams and not is_address(name) for name in used):
        return  # a name that is misspelt has been reported, and may be the one that is missing here
    for name in config.upstreams:
        if name not in used:
            warnings.append(f"upstream {name}: no route uses it; name it in one, or leave it out")


def _place(plugin: ResolvedPlugin) -> tuple[int, str]:
    """Where it stands in every chain: its own order, else its type's; equal places by name."""
    implied = PLUGIN_TYPES.index(plugin.type) * TYPE_STEP if plugin.type is not None else 0
    return (implied if plugin.order is None else plugin.order, plugin.name)


def _upstream(name: str, upstream: Upstream) -> ResolvedUpstream:
    said = [one for one in upstream.endpoints if not isinstance(one, Bad)]
    urls = [(one.url, one.weight) if isinstance(one, WeightedEndpoint) else (one, 1) for one in said]
    read = [(one, weight) for url, weight in urls for one in _readable(parse_endpoint, [url])]
    hashed = _readable(parse_hash, [upstream.hash.on]) or [("client", "")]
    outlier, health = upstream.outlier, upstream.health
    return ResolvedUpstream(
        name=name,
        endpoints=tuple(one for one, _ in read),
        weights=tuple(weight for _, weight in read),
        lb=upstream.lb,
        hash=hashed[0],
        sticky=upstream.sticky,
        health=health,
        well=_statuses([health.status] if health is not None else []),
        outlier=outlier,
        failures=_statuses(outlier.status),
        max_ejected=_percent(outlier.max_ejected),
        resolve_interval=upstream.resolve_interval,
        max_pending=upstream.max_pending,
        max_connections=upstream.max_connections,
        max_idle=upstream.max_idle,
        idle_timeout=upstream.idle_timeout,
        max_age=upstream.max_age,
        host=upstream.host,
        tls=upstream.tls,
        reuse=upstream.reuse,
        proxy_protocol=upstream.proxy_protocol == "v2",
    )


def _statuses(texts: Sequence[str]) -> frozenset[int]:
    return frozenset().union(*_readable(lambda text: parse_statuses([text]), texts))


def _percent(text: str) -> float:
    return next(iter(_readable(parse_percent, [text])), 0.0)


def _retry(retry: Retry | None) -> ResolvedRetry | None:
    if retry is None:
        return None
    words = frozenset(text for text in retry.on if text in RETRY_ON)
    statuses = _statuses([text for text in retry.on if text not in RETRY_ON])
    return ResolvedRetry(
        attempts=retry.attempts,
        on=words,
        statuses=statuses,
        per_try=retry.per_try,
        budget=_percent(retry.budget),
    )


def _before_routing(
    config: Config, document: Document, plugins: list[ResolvedPlugin], complete: bool
) -> tuple[str, ...]:
    """Names of the plugins that run before a route is chosen, in chain order.

    Where nobody says which, all of type request_preprocessing do. They run on every request then, so a route
    that leaves one out would not get what it says: that is refused, and not settled by running it later,
    because then a new route would change where the requests of all others go.
    """
    known = [plugin.name for plugin in plugins]
    said = config.before_routing
    if said is not None:
        _check_names(config, document, ("before_routing",), said, known, complete)
        return tuple(name for name in known if name in set(said))
    early = [plugin.name for plugin in plugins if plugin.type == PREPROCESSING]
    lists = [(index, route.plugins) for index, route in enumerate(config.routes) if route.plugins is not None]
    short = [index for index, names in lists if not set(early).issubset(names)]
    if short:
        left_out = [name for name in early if name not in (config.routes[short[0]].plugins or [])]
        rest = ", ".join(f'"{name}"' for name in early if name not in left_out)
        others = f" (and {len(short) - 1} more routes leave out some)" if len(short) > 1 else ""
        document.report(
            ("routes", short[0], "plugins"),
            f"leaves out {', '.join(left_out)}: plugins of type request_preprocessing run before a route is "
            f"chosen, so on every request; add what is missing, or write before_routing = [{rest}] at the "
            f"top: what it does not name runs behind routing, in the routes that list it{others}",
        )
    return tuple(early)


def _check_names(
    config: Config,
    document: Document,
    path: tuple[str | int, ...],
    names: Sequence[str],
    known: list[str],
    complete: bool,
) -> None:
    """Report those of *names*, the list at *path*, that are no plugins that run."""
    said = {plugin.name for plugin in config.plugins}  # one that is not known has been reported
    off = {plugin.name for plugin in config.plugins if not plugin.enabled}
    for position, name in enumerate(names):
        at = (*path, position)
        if name in off:
            document.report(at, f'"{name}" is switched off by `enabled = false` in its [[plugins]] entry')
        elif name and name not in known and name not in said and complete:
            hint = nearest(name, known) or "; there are no plugins: set plugin_dir or write [[plugins]]"
            document.report(at, f'no plugin is named "{name}"{hint}')


def _route(
    config: Config,
    document: Document,
    index: int,
    route: Route,
    plugins: list[ResolvedPlugin],
    before: tuple[str, ...],
    complete: bool,
) -> ResolvedRoute:
    known = [plugin.name for plugin in plugins]
    wanted = known if route.plugins is None else route.plugins
    _check_names(config, document, ("routes", index, "plugins"), wanted, known, complete)
    return ResolvedRoute(
        name=route.name or f"route-{index}",
        upstream=route.upstream,
        upstreams=tuple((share.name, share.weight) for share in route.upstreams),
        retry=_retry(route.retry),
        mirror=route.mirror,
        answer=route.answer,
        match=route_match(route),
        **route_actions(route, document, ("routes", index)),
        auth=route.auth,
        cors=route.cors,
        rate_limit=route.rate_limit,
        compress=compress_of(route.compress),
        plugins=(*before, *(name for name in known if name in set(wanted) and name not in before)),
    )


def _readable(read: Any, texts: Sequence[Any]) -> list[Any]:
    """The ones that can be read; the others have been reported."""
    made = []
    for text in texts:
        try:
            made.append(read(text))
        except ValueError:
            continue
    return made
