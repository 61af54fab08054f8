"""What a route does besides its plugins, as ``native/route_rules.c`` takes it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from blitz._native import ffi, lib
from blitz.config.patterns import compile_pattern
from blitz.config.resolved import ResolvedEdit, ResolvedRoute
from blitz.errors import InternalError
from blitz.http.heads import span_bytes
from blitz.http.networks import Networks
from blitz.routing.rewrite import PathPattern

__all__ = ["admit", "native_rules", "redirect", "rule_answer", "rule_request", "rule_response"]

Parts = Iterable[tuple[str, str]]

_FACTS = {
    "client.address": lib.BLITZ_VALUE_CLIENT_ADDRESS,
    "client.port": lib.BLITZ_VALUE_CLIENT_PORT,
    "client.scheme": lib.BLITZ_VALUE_CLIENT_SCHEME,
    "request.id": lib.BLITZ_VALUE_REQUEST_ID,
    "request.method": lib.BLITZ_VALUE_REQUEST_METHOD,
    "request.host": lib.BLITZ_VALUE_REQUEST_HOST,
    "request.target": lib.BLITZ_VALUE_REQUEST_TARGET,
    "path": lib.BLITZ_VALUE_PATH,
    "path.matched": lib.BLITZ_VALUE_PATH_MATCHED,  # what the pattern of `rewrite` makes of it
    "path.rest": lib.BLITZ_VALUE_PATH_REST,
    "query": lib.BLITZ_VALUE_QUERY,
    "route.name": lib.BLITZ_VALUE_ROUTE_NAME,
    "upstream.address": lib.BLITZ_VALUE_UPSTREAM_ADDRESS,
    "response.status": lib.BLITZ_VALUE_RESPONSE_STATUS,
    "tls.version": lib.BLITZ_VALUE_TLS_VERSION,
    "tls.cipher": lib.BLITZ_VALUE_TLS_CIPHER,
    "tls.sni": lib.BLITZ_VALUE_TLS_SNI,
    "tls.subject": lib.BLITZ_VALUE_TLS_SUBJECT,
    "tls.sha256": lib.BLITZ_VALUE_TLS_SHA256,
}
_OPS = {"remove": lib.BLITZ_RULE_REMOVE, "set": lib.BLITZ_RULE_SET, "add": lib.BLITZ_RULE_ADD}
LONGEST_PATH = 65536
_kept_for: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_patterns: weakref.WeakKeyDictionary[Any, PathPattern] = weakref.WeakKeyDictionary()  # of those that have one


def admit(rules: Any, cdata: Any) -> bool:
    """Who may come, by address. True: a response of our own is in the exchange *cdata*."""
    return bool(_checked(lib.blitz_rules_admit(rules, cdata)) == lib.BLITZ_RULES_ANSWERED)


def redirect(rules: Any, cdata: Any) -> bool:
    """The route's redirect. True: it is in *cdata*."""
    return bool(_checked(lib.blitz_rules_redirect(rules, cdata)) == lib.BLITZ_RULES_ANSWERED)


def rule_request(rules: Any, cdata: Any) -> bool:
    """Make the request what the upstream gets, once. True: it cannot be; the response is in *cdata*."""
    pattern = _patterns.get(rules)
    request = cdata.request
    if pattern is None or request.ruled:
        return bool(_checked(lib.blitz_rules_request(rules, cdata)) == lib.BLITZ_RULES_ANSWERED)
    made = pattern.replaced(span_bytes(request, request.target).partition(b"?")[0])
    if made is not None:
        matched = ffi.from_buffer("uint8_t[]", made)
        cdata.matched.ptr, cdata.matched.len = matched, len(made)
    try:
        return bool(_checked(lib.blitz_rules_request(rules, cdata)) == lib.BLITZ_RULES_ANSWERED)
    finally:
        cdata.matched.ptr, cdata.matched.len = ffi.NULL, 0


def rule_answer(rules: Any, cdata: Any) -> None:
    """Give the route's own answer its fields."""
    _checked(lib.blitz_rules_answer(rules, cdata))


def rule_response(rules: Any, cdata: Any) -> None:
    """Make the response what the client gets, once."""
    _checked(lib.blitz_rules_response(rules, cdata))


def _checked(code: int) -> int:
    if code < 0:
        raise InternalError(f"the fields of the route have no room in the message (code {code})")
    return code


def native_rules(route: ResolvedRoute) -> Any:
    """cffi ``blitz_route_rules *``; NULL for a route that does nothing of it."""
    answer = route.answer.headers if route.answer is not None else {}
    does = (route.ip_allow, route.ip_deny, route.redirect, route.request_edits, route.response_edits, answer)
    if not any(does) and route.new_path is None:
        return ffi.NULL
    rules = ffi.new("blitz_route_rules *")
    kept: list[Any] = []
    allow, deny = Networks(route.ip_allow), Networks(route.ip_deny)
    kept += [allow, deny]
    rules.allow, rules.n_allow = allow.native, len(allow)
    rules.deny, rules.n_deny = deny.native, len(deny)
    rules.prefix = _text(route.match.path.rstrip("/"), kept)
    redirect = route.redirect
    if redirect is not None:
        rules.redirect = redirect.status
        rules.only_redirects = (
            not (route.upstream or route.upstreams or route.static) and route.answer is None
        )
        rules.scheme, rules.host = _text(redirect.scheme, kept), _text(redirect.host, kept)
        rules.port = redirect.port
        rules.path = _parts(redirect.path, kept)
    if route.new_path is not None:
        rules.rewrites = 1
        rules.new_path = _parts(route.new_path, kept)
    rules.bounds = _bounds(kept)
    rules.request, rules.n_request = _edits(route.request_edits, kept), len(route.request_edits)
    rules.response, rules.n_response = _edits(route.response_edits, kept), len(route.response_edits)
    edits = [ResolvedEdit("set", name, (("", value),)) for name, value in answer.items()]
    rules.answer, rules.n_answer = _edits(edits, kept), len(edits)
    _kept_for[rules] = kept
    if route.pattern:
        _patterns[rules] = PathPattern(compile_pattern(route.pattern), route.template)
    return rules


def _text(text: str, kept: list[Any]) -> Any:
    data = text.encode()
    kept.append(data)
    kept.append(ffi.from_buffer("uint8_t[]", data))
    return {"ptr": kept[-1], "len": len(data)}


def _array(kind: str, items: list[Any], kept: list[Any]) -> Any:
    kept.append(ffi.new(f"{kind}[]", items))
    return kept[-1]


def _parts(parts: Parts, kept: list[Any]) -> Any:
    made = [
        {"what": _FACTS.get(fact, lib.BLITZ_VALUE_FACT), "text": _text(fact, kept)}
        if fact
        else {"what": lib.BLITZ_VALUE_TEXT, "text": _text(text, kept)}
        for fact, text in parts
    ]
    return {"parts": _array("blitz_rule_part", made, kept), "n": len(made)}


def _edits(edits: Iterable[ResolvedEdit], kept: list[Any]) -> Any:
    made = [
        {"op": _OPS[edit.op], "name": _text(edit.name, kept), "value": _parts(edit.value, kept)}
        for edit in edits
    ]
    return _array("blitz_rule_edit", made, kept)


def _bounds(kept: list[Any]) -> Any:
    """A table in which every path leads to the same, but for one that climbs above the root."""
    table = lib.blitz_path_table_new(LONGEST_PATH)
    if table == ffi.NULL:
        raise InternalError("out of memory for the routes")
    table = ffi.gc(table, lib.blitz_path_table_free)
    kept.append(table)
    tree = lib.blitz_path_table_tree(table)
    if tree < 0 or lib.blitz_path_table_add(table, tree, b"", 0, 0, 0, False) < 0:
        raise InternalError("out of memory for the routes")
    lib.blitz_path_table_seal(table)
    return table
