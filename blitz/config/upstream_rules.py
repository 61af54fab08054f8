"""What `[upstreams]`, and routes that name them, must mean beyond their shape. Part of ``rules.py``."""

from __future__ import annotations

import re

from blitz.config.addresses import check_host, check_server_name, parse_endpoint
from blitz.config.check import nearest
from blitz.config.model import Config, Route, Upstream
from blitz.config.source import Bad, Document
from blitz.config.syntax import is_readable
from blitz.config.upstream_keys import Hash, WeightedEndpoint
from blitz.config.upstream_syntax import (
    check_cookie_name,
    check_uri,
    parse_hash,
    parse_percent,
    parse_statuses,
)

__all__ = ["RETRY_ON", "check_route_upstreams", "check_upstreams", "is_address", "named_upstreams"]

RETRY_ON = ("connect", "reset", "timeout")
_SECRET = re.compile(r"[!-~]{16,}")


def is_address(upstream: str) -> bool:
    """A route's upstream is an address, not a name of ``[upstreams]``."""
    return "://" in upstream or upstream.startswith("unix:")


def named_upstreams(route: Route) -> list[str]:
    """Every upstream that *route* names, addresses included."""
    mirror = [route.mirror.upstream] if route.mirror is not None else []
    return [name for name in (route.upstream, *(share.name for share in route.upstreams), *mirror) if name]


def check_upstreams(config: Config, document: Document) -> None:
    """Report what cannot run in ``[upstreams]``."""
    for name, upstream in config.upstreams.items():
        at = ("upstreams", name)
        if is_address(name):
            document.report(at, 'a name must not look like an address; leave out "://"')
        for index, said in enumerate(upstream.endpoints):
            if isinstance(said, WeightedEndpoint):
                is_readable(document, parse_endpoint, said.url, *at, "endpoints", index, "url")
            else:
                is_readable(document, parse_endpoint, said, *at, "endpoints", index)
        if upstream.host:
            is_readable(document, check_host, upstream.host, *at, "host")
        _upstream_tls(document, name, upstream)
        _balancing(document, upstream, at)
        _health(document, upstream, at)


def _balancing(document: Document, upstream: Upstream, at: tuple[str, str]) -> None:
    is_readable(document, parse_hash, upstream.hash.on, *at, "hash", "on")
    if upstream.lb != "hash" and upstream.hash != Hash() and not document.is_bad(f"upstreams.{at[1]}.lb"):
        document.report((*at, "hash"), f'is not used with lb = "{upstream.lb}"; write lb = "hash"')
    sticky = upstream.sticky
    if sticky is None:
        return
    is_readable(document, check_cookie_name, sticky.cookie, *at, "sticky", "cookie")
    if sticky.secret and not isinstance(sticky.secret, Bad) and not _SECRET.fullmatch(sticky.secret):
        document.report(
            (*at, "sticky", "secret"),
            "the secret is shorter than 16 characters, or has one that is not visible ASCII; make one with "
            "`openssl rand -hex 16`",
        )


def _health(document: Document, upstream: Upstream, at: tuple[str, str]) -> None:
    health, outlier = upstream.health, upstream.outlier
    if health is not None:
        is_readable(document, check_uri, health.uri, *at, "health", "uri")
        is_readable(document, lambda text: parse_statuses([text]), health.status, *at, "health", "status")
    for index, text in enumerate(outlier.status):
        is_readable(document, lambda text: parse_statuses([text]), text, *at, "outlier", "status", index)
    is_readable(document, parse_percent, outlier.max_ejected, *at, "outlier", "max_ejected")


def _upstream_tls(document: Document, name: str, upstream: Upstream) -> None:
    at = ("upstreams", name, "tls")
    tls = upstream.tls
    if tls.server_name:
        is_readable(document, check_server_name, tls.server_name, *at, "server_name")
    if tls.key and not tls.cert:
        document.report((*at, "key"), "a key without its certificate; write `cert` too")
    if not tls.verify and tls.ca:
        document.report(
            (*at, "verify"), "`verify = false` believes anybody, and `ca` says whom; leave one out"
        )
    said = any((tls.ca, tls.server_name, tls.cert, not tls.verify))
    encrypted = any(isinstance(text, Bad) or text.lower().startswith("https:") for text in _urls(upstream))
    if said and not encrypted:
        document.report(at, "no endpoint is spoken to with TLS; write one as https://host:port")


def _urls(upstream: Upstream) -> list[str]:
    return [one.url if isinstance(one, WeightedEndpoint) else one for one in upstream.endpoints]


def check_route_upstreams(
    config: Config, document: Document, route: Route, at: tuple[str | int, ...]
) -> None:
    """Report what cannot run of the route at *at*, as far as it is about where its requests go."""
    _target(config, document, route, at)
    for index, share in enumerate(route.upstreams):
        _name(config, document, share.name, (*at, "upstreams", index, "name"))
    if route.upstreams and not any(share.weight for share in route.upstreams):
        document.report((*at, "upstreams"), "every weight is 0; at least one must be more")
    if route.mirror is not None:
        _name(config, document, route.mirror.upstream, (*at, "mirror", "upstream"))
    if route.retry is not None:
        is_readable(document, parse_percent, route.retry.budget, *at, "retry", "budget")
        for index, text in enumerate(route.retry.on):
            if text not in RETRY_ON:
                is_readable(document, _retry_status, text, *at, "retry", "on", index)
    _needs_upstream(document, route, at)


def _retry_status(text: str) -> None:
    try:
        parse_statuses([text])
    except ValueError:
        raise ValueError(
            f'"{text}" is nothing to try again on; write "connect", "reset", "timeout" or a status, such as '
            '"503" or "5xx"'
        ) from None


def _needs_upstream(document: Document, route: Route, at: tuple[str | int, ...]) -> None:
    for key, said in (("retry", route.retry), ("mirror", route.mirror)):
        if said is not None and not route.upstream and not route.upstreams:
            document.report((*at, key), "there is no upstream that it could be about; write `upstream`")


def _target(config: Config, document: Document, route: Route, at: tuple[str | int, ...]) -> None:
    name = route.upstream
    if isinstance(name, Bad):
        return
    if name and route.upstreams:
        document.report((*at, "upstreams"), "beside `upstream`; a route has one of them")
        return
    said = [key for key in ("upstream", "upstreams", "answer", "static") if getattr(route, key)]
    if len(said) > 1:
        document.report(at, f"has both `{said[0]}` and `{said[1]}`; a route has one of them")
    elif not said and route.redirect is None:
        document.report(
            at, "has neither `upstream` nor `answer` nor `static` nor `redirect`; a route has one of them"
        )
    elif name:
        _name(config, document, name, (*at, "upstream"))


def _name(config: Config, document: Document, name: str, at: tuple[str | int, ...]) -> None:
    if isinstance(name, Bad):
        return
    if is_address(name):
        is_readable(document, parse_endpoint, name, *at)
    elif name not in config.upstreams and not document.is_bad("upstreams"):
        known = nearest(name, list(config.upstreams)) or "; there is no [upstreams] table to name one in"
        document.report(at, f'no upstream is named "{name}"{known}')
