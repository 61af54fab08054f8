"""What a route's matching keys must be, and what they mean."""

from __future__ import annotations

import re
from urllib.parse import unquote

from blitz.config.addresses import check_host_pattern, check_path_prefix
from blitz.config.check import nearest
from blitz.config.model import Config, Listener
from blitz.config.patterns import check_pattern
from blitz.config.resolved import ResolvedMatch, ResolvedValue
from blitz.config.route_keys import Route, Wanted
from blitz.config.source import Bad, Document
from blitz.config.syntax import is_readable, was_reported

__all__ = ["check_matches", "route_match"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_LISTENER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# Decided before a route is looked for, or never seen by one.
_NOT_MATCHED = {"host": "`host` or `hosts`", "connection": "nothing", "transfer-encoding": "nothing"}


def check_matches(config: Config, document: Document) -> None:
    """Report what is wrong in the matching keys of all routes."""
    listeners = _listeners(config, document)
    seen: dict[ResolvedMatch, int] = {}
    for index, route in enumerate(config.routes):
        at = ("routes", index)
        good = [
            _check_hosts(document, route, at),
            _check_path(document, route, at),
            _check_methods(document, route, at),
            _check_fields(document, route, at),
            _check_query(document, route, at),
            _check_listen(document, route, at, listeners),
        ]
        if all(good):
            _check_reached(document, route, at, seen)


def route_match(route: Route) -> ResolvedMatch:
    """What the matching keys of *route*, which have been checked, mean."""
    return ResolvedMatch(
        hosts=tuple(dict.fromkeys(host.lower() for host in route.hosts)) or (route.host.lower(),),
        path=(route.path or route.path_prefix).rstrip("/") or "/",
        exact=bool(route.path),
        regex=route.path_regex,
        methods=tuple(dict.fromkeys(route.methods)),
        preflights=bool(route.methods) and route.cors is not None,
        fields=tuple(_value(name.lower(), wanted) for name, wanted in sorted(route.headers.items())),
        query=tuple(_value(name, wanted) for name, wanted in sorted(route.query.items())),
        listen=route.listen,
        priority=route.priority,
    )


def _value(name: str, wanted: str | Wanted) -> ResolvedValue:
    if isinstance(wanted, Wanted):
        return ResolvedValue(name, regex=wanted.regex, present=wanted.present is not False)
    return ResolvedValue(name, text=str(wanted))


def _listeners(config: Config, document: Document) -> list[str]:
    names: dict[str, int] = {}
    for index, said in enumerate(config.listen):
        if not isinstance(said, Listener) or not said.name or isinstance(said.name, Bad):
            continue
        if not _LISTENER.fullmatch(said.name):
            document.report(
                ("listen", index, "name"),
                f'"{said.name}" is not a name; use letters, digits, `_`, `-`, `.`, at most 64',
            )
        names.setdefault(said.name, index)  # several may share one: a route may be for all of them
    return list(names)


def _check_hosts(document: Document, route: Route, at: tuple[str | int, ...]) -> bool:
    if route.hosts and route.host:
        document.report(
            (*at, "hosts"), "`host` says it already; write all of them in `hosts`, and leave `host` out"
        )
        return False
    found = [not route.host or is_readable(document, check_host_pattern, route.host, *at, "host")]
    for position, host in enumerate(route.hosts):
        found.append(is_readable(document, check_host_pattern, host, *at, "hosts", position))
    return all(found)


def _check_path(document: Document, route: Route, at: tuple[str | int, ...]) -> bool:
    said = [
        key
        for key, text, default in (
            ("path", route.path, ""),
            ("path_prefix", route.path_prefix, "/"),
            ("path_regex", route.path_regex, ""),
        )
        if text != default
    ]
    if any(isinstance(text, Bad) for text in (route.path, route.path_prefix, route.path_regex)):
        return False
    if len(said) > 1:
        document.report((*at, said[1]), f"`{said[0]}` says which paths already; a route has one of them")
        return False
    if route.path:
        return is_readable(document, check_path_prefix, route.path, *at, "path")
    if route.path_regex:
        return is_readable(document, check_pattern, route.path_regex, *at, "path_regex")
    return is_readable(document, check_path_prefix, route.path_prefix, *at, "path_prefix")


def _check_methods(document: Document, route: Route, at: tuple[str | int, ...]) -> bool:
    good = True
    for position, method in enumerate(route.methods):
        if isinstance(method, Bad):
            good = False
        elif not _TOKEN.fullmatch(method):
            document.report((*at, "methods", position), f'"{method}" is not a method; write such as "GET"')
            good = False
        elif method != method.upper() and method.upper() in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            document.report((*at, "methods", position), f'methods have a case; write "{method.upper()}"')
            good = False
    return good


def _check_fields(document: Document, route: Route, at: tuple[str | int, ...]) -> bool:
    good = True
    lower: set[str] = set()
    for name, wanted in route.headers.items():
        here = (*at, "headers", name)
        if not _TOKEN.fullmatch(name) or "_" in name:
            document.report(
                here, f'"{name}" is not the name of a header field; write such as "x-api-version"'
            )
            good = False
        elif name.lower() in _NOT_MATCHED:
            document.report(
                here, f"a route cannot ask for this field; use {_NOT_MATCHED[name.lower()]} instead"
            )
            good = False
        elif name.lower() in lower:
            document.report(here, f'"{name}" is there twice; names of fields have no case')
            good = False
        lower.add(name.lower())
        good = _check_wanted(document, wanted, here) and good
        if isinstance(wanted, str) and not isinstance(wanted, Bad) and wanted != wanted.strip():
            document.report(here, "a field's value has no space around it; leave it out")
            good = False
    return good


def _check_query(document: Document, route: Route, at: tuple[str | int, ...]) -> bool:
    good = True
    for name, wanted in route.query.items():
        if not name:
            document.report((*at, "query"), 'a part of the query has a name; write such as { beta = "1" }')
            good = False
        good = _check_wanted(document, wanted, (*at, "query", name)) and good
    return good


def _check_wanted(document: Document, wanted: str | Wanted, at: tuple[str | int, ...]) -> bool:
    if not isinstance(wanted, Wanted):
        return not isinstance(wanted, Bad)
    if was_reported(document, at):
        return False
    if bool(wanted.regex) == (wanted.present is not None):
        document.report(at, 'write a value, { regex = "..." } or { present = true }, one of them')
        return False
    return not wanted.regex or is_readable(document, check_pattern, wanted.regex, *at, "regex")


def _check_listen(document: Document, route: Route, at: tuple[str | int, ...], known: list[str]) -> bool:
    if not route.listen or isinstance(route.listen, Bad) or route.listen in known:
        return not isinstance(route.listen, Bad)
    hint = nearest(route.listen, known) or '; name one: listen = [{ address = ":8080", name = "http" }]'
    document.report((*at, "listen"), f'no listener is named "{route.listen}"{hint}')
    return False


def _check_reached(
    document: Document, route: Route, at: tuple[str | int, ...], seen: dict[ResolvedMatch, int]
) -> None:
    """Whoever matches the same as an earlier one can never be reached."""
    match = route_match(route)
    for host in match.hosts:
        one = ResolvedMatch(
            hosts=(host,),
            path=unquote(match.path),
            exact=match.exact,
            regex=match.regex,
            methods=tuple(sorted(match.methods)),
            fields=match.fields,
            query=match.query,
            listen=match.listen,
            priority=match.priority,
        )
        if one in seen and seen[one] != at[1]:
            document.report(
                at,
                f"matches the same requests as routes[{seen[one]}] and could never be reached; "
                "change its host or path_prefix",
            )
            return
        seen.setdefault(one, int(at[1]))
