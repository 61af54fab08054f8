"""What runs now, as JSON: routes, plugins, upstreams, the configuration. Secrets are never in it.

Shapes are stable: keys are added, and none is renamed. Of the configuration only what cannot be a secret is
shown: deny by default, since a value may have come from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from blitz.config.resolved import Resolved, ResolvedRoute
    from blitz.server.runtime import Runtime

    from .status import Status

__all__ = ["HIDDEN", "config_page", "plugins_page", "routes_page", "upstreams_page"]

HIDDEN = "(hidden)"
# Whatever is below these may hold a secret: what plugins are given, what is written into fields and bodies.
_CLOSED = frozenset(
    (
        "auth",
        "config",
        "config_values",
        "env",
        "value",
        "text",
        "body",
        "headers",
        "answer",
        "new_path",
        "uri",
    )
)
_SECRET = re.compile(
    r"(?:^|[_-])(?:token|secret|password|passwd|credentials?|keys?)(?:$|[_-])", re.IGNORECASE
)


def config_page(resolved: Resolved) -> dict[str, Any]:
    """The configuration as it runs, every question answered; durations are seconds, sizes bytes."""
    whole: dict[str, Any] = msgspec.to_builtins(resolved, enc_hook=str)
    for name in ("sources", "source_directories"):
        whole.pop(name)
    shown: dict[str, Any] = _shown(whole)
    shown["auth"] = dict.fromkeys(resolved.auth, HIDDEN)
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            str(key): _hidden(item) if key in _CLOSED or _SECRET.search(str(key)) else _shown(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value


def _hidden(value: Any) -> Any:
    """Names of a table are no secrets; what is empty is none either."""
    if isinstance(value, dict):
        return {str(key): HIDDEN for key in value}
    return HIDDEN if value else value


def routes_page(resolved: Resolved) -> dict[str, Any]:
    """Every route in the order of the file: what it takes, and what stands in its way, in order."""
    return {"routes": [_route(resolved, route) for route in resolved.routes]}


def _route(resolved: Resolved, route: ResolvedRoute) -> dict[str, Any]:
    match = route.match
    return {
        "name": route.name,
        "hosts": list(match.hosts),
        "path": match.path,
        "exact": match.exact,
        "regex": match.regex,
        "methods": list(match.methods),
        "headers": [field.name for field in match.fields],
        "query": [field.name for field in match.query],
        "listen": match.listen,
        "priority": match.priority,
        "before_routing": list(resolved.before_routing),
        "filters": list(_filters(route)),
        "plugins": list(route.plugins),
        "upstreams": _targets(route),
        "mirror": route.mirror.upstream if route.mirror is not None else "",
        "answer": route.answer.status if route.answer is not None else None,
    }


def _filters(route: ResolvedRoute) -> Iterable[str]:
    """Names of those that it has, in the order in which a request meets them."""
    found = {
        "ip": route.ip_allow or route.ip_deny,
        "cors": route.cors,
        "redirect": route.redirect,
        "auth": route.auth,
        "rate_limit": route.rate_limit,
        "plugins": route.plugins,
        "rewrite": route.new_path,
        "request_headers": route.request_edits,
        "response_headers": route.response_edits,
    }
    return (name for name, value in found.items() if value)


def _targets(route: ResolvedRoute) -> list[dict[str, Any]]:
    shares = route.upstreams or (((route.upstream, 1.0),) if route.upstream else ())
    return [{"name": name, "weight": weight} for name, weight in shares]


def plugins_page(runtime: Runtime, status: Status) -> dict[str, Any]:
    """Every plugin that is loaded, with what all workers say of it."""
    pools = {pool.name: pool for pool in runtime.pools}
    plugins = []
    for plugin in runtime.resolved.plugins:
        pool = pools.get(plugin.name)
        counts = status.plugins.get(plugin.name)
        plugins.append(
            {
                "name": plugin.name,
                "version": plugin.version,
                "description": plugin.description,
                "type": plugin.type,
                "file": plugin.file,
                "sha256": pool.plugin.spec.sha256 if pool is not None else "",
                "loaded": pool is not None,
                "held": pool is not None and pool.held,
                "memory": plugin.memory,
                "timeout": plugin.timeout,
                "failure": plugin.failure,
                "grants": list(plugin.grants),
                "routes": [route.name for route in runtime.resolved.routes if plugin.name in route.plugins],
                **(msgspec.to_builtins(counts) if counts is not None else {}),
            }
        )
    return {"plugins": plugins}


def upstreams_page(resolved: Resolved, status: Status) -> dict[str, Any]:
    """Every upstream with its endpoints, as all workers see them."""
    found = []
    for name, upstream in resolved.upstreams.items():
        endpoints = [
            {key: value for key, value in msgspec.to_builtins(one).items() if key != "upstream"}
            for one in status.upstreams
            if one.upstream == name
        ]
        found.append({"name": name, "lb": upstream.lb, "endpoints": endpoints})
    return {"upstreams": found}
