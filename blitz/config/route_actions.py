"""What a route does besides its plugins: what its keys must be, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from blitz.config.addresses import check_host_pattern, check_path_prefix, parse_network
from blitz.config.field_names import FRAMING, HOP, TOLD_OF_CLIENTS
from blitz.config.model import Config
from blitz.config.resolved import ResolvedEdit, ResolvedRedirect
from blitz.config.rewrite_regex import check_regex, parse_template
from blitz.config.route_keys import Answer, HeaderEdits, Redirect, Rewrite, Route
from blitz.config.source import Bad, Document
from blitz.config.static_keys import check_root, check_static
from blitz.config.syntax import is_readable, was_reported
from blitz.config.value_text import PATH_FACTS, parse_text
from blitz.files import FileRefused, Kind, read_file

__all__ = ["check_actions", "route_actions"]

At = tuple[str | int, ...]

_TOKEN = re.compile(
    r"[!#$%&'*+.^`|~0-9A-Za-z-]{1,256}"
)  # RFC 9110 section 5.6.2, but for "_": see look_alike.c
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")
STATUSES = (301, 302, 303, 307, 308)
ANSWER = Kind("an answer", 1024 * 1024)  # bytes: it stays in memory
# Fields that a route may not edit, and why.
_FRAMING = "it says where the message ends, which the gateway knows"
_HOP = "it is between two neighbours on the way, and the gateway writes its own"
_REFUSED = dict.fromkeys(FRAMING, _FRAMING) | dict.fromkeys(HOP, _HOP)
_REFUSED_IN_REQUESTS = {
    "host": "the upstream's own key `host` says it",
    "max-forwards": "the gateway counts it",
    **dict.fromkeys(TOLD_OF_CLIENTS, "the gateway writes what it knows of the client there"),
}


def check_actions(config: Config, document: Document) -> None:
    """Report what is wrong in what routes do."""
    for index, route in enumerate(config.routes):
        at: At = ("routes", index)
        for key, networks in (("ip_allow", route.ip_allow), ("ip_deny", route.ip_deny)):
            for position, network in enumerate(networks):
                is_readable(document, parse_network, network, *at, key, position)
        _check_redirect(document, route.redirect, (*at, "redirect"))
        _check_rewrite(document, route, (*at, "rewrite"))
        _check_edits(document, route.request_headers, (*at, "request_headers"), is_request=True)
        _check_edits(document, route.response_headers, (*at, "response_headers"), is_request=False)
        _check_answer(document, route.answer, (*at, "answer"))
        check_static(document, route.static, (*at, "static"))


def _check_redirect(document: Document, redirect: Redirect | None, at: At) -> None:
    if redirect is None or was_reported(document, at):
        return
    if redirect.status not in STATUSES:
        known = ", ".join(map(str, STATUSES))
        document.report((*at, "status"), f"{redirect.status} is no redirect; one of {known} is")
    if not (redirect.scheme or redirect.host or redirect.port or redirect.path):
        document.report(at, 'leads nowhere; write such as { scheme = "https" } or { path = "/new" }')
    if redirect.host.startswith("*."):
        document.report((*at, "host"), f'"{redirect.host}" is a pattern; write one host')
    elif redirect.host:
        is_readable(document, check_host_pattern, redirect.host, *at, "host")
    if redirect.path:
        _check_path_text(document, redirect.path, (*at, "path"))


def _check_rewrite(document: Document, route: Route, at: At) -> None:
    rewrite = route.rewrite
    if rewrite is None or was_reported(document, at):
        return
    said = [rewrite.strip_prefix, bool(rewrite.replace_prefix), bool(rewrite.path), bool(rewrite.regex)]
    if sum(said) != 1:
        document.report(at, "write one of `strip_prefix = true`, `replace_prefix`, `path` and `regex`")
        return
    if not (route.upstream or route.upstreams or route.static) and not isinstance(route.upstream, Bad):
        document.report(at, "there is no upstream that would get the path; name one, or leave `rewrite` out")
    if rewrite.regex or rewrite.to:
        check_regex(document, rewrite, at)
        return
    if not rewrite.path and route.path_prefix == "/" and not isinstance(route.path_prefix, Bad):
        key = "strip_prefix" if rewrite.strip_prefix else "replace_prefix"
        document.report((*at, key), "the route has no prefix; write `path_prefix`, or `path` here")
    if rewrite.replace_prefix:
        is_readable(document, check_path_prefix, rewrite.replace_prefix, *at, "replace_prefix")
    if rewrite.path and "?" in rewrite.path:
        document.report((*at, "path"), "has a query, and the query stays as it came; write the path alone")
    elif rewrite.path:
        _check_path_text(document, rewrite.path, (*at, "path"))


def _check_path_text(document: Document, text: str, at: At) -> None:
    if not is_readable(document, parse_text, text, *at):
        return
    parts = parse_text(text)
    if not text.startswith(("/", "${path}", "${path.rest}", "${request.target}")):
        document.report(at, f'"{text}" does not begin with "/"; write "/{text}"')
    for fact, literal in parts:
        if fact and fact not in PATH_FACTS and fact not in ("request.host", "request.target", "request.id"):
            document.report(at, f"`${{{fact}}}` cannot be part of a path; {', '.join(PATH_FACTS)} can")
        elif not _TARGET.fullmatch(literal):
            document.report(at, f'"{literal}" has a character that no path has; percent-encode it')


def _check_edits(document: Document, edits: HeaderEdits | None, at: At, *, is_request: bool) -> None:
    if edits is None:
        return
    for key, fields in (("set", edits.set), ("add", edits.add)):
        for name, text in fields.items():
            _check_name(document, name, (*at, key, name), is_request=is_request)
            _check_value(document, text, (*at, key, name), facts=True)
    for position, name in enumerate(edits.remove):
        if not isinstance(name, Bad):
            _check_name(document, name, (*at, "remove", position), is_request=is_request)


def _check_name(document: Document, name: str, at: At, *, is_request: bool) -> None:
    refused = _REFUSED | _REFUSED_IN_REQUESTS if is_request else _REFUSED
    if not _TOKEN.fullmatch(name):
        document.report(at, f'"{name}" is not the name of a header field; write such as "x-request-id"')
    elif name.lower() in refused:
        document.report(at, f"a route cannot change {name.lower()}: {refused[name.lower()]}; leave it out")


def _check_value(document: Document, text: str, at: At, *, facts: bool) -> None:
    if isinstance(text, Bad):
        return
    if _CONTROL.search(text) or text != text.strip():
        document.report(at, "a field's value has no line break, no control byte, and no space around it")
    elif facts:
        is_readable(document, parse_text, text, *at)


def _check_answer(document: Document, answer: Answer | None, at: At) -> None:
    if answer is None:
        return
    if answer.file and answer.body and not isinstance(answer.file, Bad):
        document.report((*at, "file"), "`body` says it already; an answer has one of them")
    for name, text in answer.headers.items():
        _check_name(document, name, (*at, "headers", name), is_request=False)
        _check_value(document, text, (*at, "headers", name), facts=False)


# ---------------------------------------------------------------- what they mean


def route_actions(route: Route, document: Document, at: At) -> dict[str, Any]:
    """The attributes of a ``ResolvedRoute`` that these keys make; what was reported is left out.

    Reads the answer's file, and reports one that cannot be read.
    """
    timeouts = route.timeouts
    check_root(document, route.static, (*at, "static"))
    rewrite = route.rewrite
    return {
        "static": route.static,
        "pattern": rewrite.regex if rewrite is not None else "",
        "template": parse_template(rewrite.to) if rewrite is not None and rewrite.regex else (),
        "body": _body(route.answer, document, at),
        "ip_allow": tuple(_networks(route.ip_allow)),
        "ip_deny": tuple(_networks(route.ip_deny)),
        "redirect": _redirect(route.redirect),
        "new_path": _new_path(route.rewrite),
        "request_edits": tuple(_edits(route.request_headers)),
        "response_edits": tuple(_edits(route.response_headers)),
        "first_byte": timeouts.first_byte if timeouts is not None else None,
        "total": timeouts.total if timeouts is not None else None,
        "max_body": route.max_body_size,
    }


def _networks(said: list[str]) -> Iterator[str]:
    for text in said:
        try:
            yield parse_network(text)
        except ValueError:
            continue  # it has been reported


def _parts(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return parse_text(text)
    except ValueError:
        return ()


def _redirect(said: Redirect | None) -> ResolvedRedirect | None:
    if said is None:
        return None
    return ResolvedRedirect(
        status=said.status, scheme=said.scheme, host=said.host.lower(), port=said.port, path=_parts(said.path)
    )


def _new_path(said: Rewrite | None) -> tuple[tuple[str, str], ...] | None:
    if said is None:
        return None
    if said.regex:
        return (("path.matched", ""),)
    if said.strip_prefix:
        return (("path.rest", ""),)
    if said.replace_prefix:
        return (("", said.replace_prefix.rstrip("/")), ("path.rest", ""))
    return _parts(said.path)


def _edits(said: HeaderEdits | None) -> Iterator[ResolvedEdit]:
    if said is None:
        return
    for name in said.remove:
        yield ResolvedEdit("remove", name.lower())
    for name, text in said.set.items():
        yield ResolvedEdit("set", name, _parts(text))
    for name, text in said.add.items():
        yield ResolvedEdit("add", name, _parts(text))


def _body(answer: Answer | None, document: Document, at: At) -> bytes:
    if answer is None:
        return b""
    if not answer.file or isinstance(answer.file, Bad):
        return answer.body.encode()
    try:
        data = read_file(answer.file, ANSWER)
    except FileRefused as exc:
        document.report((*at, "answer", "file"), f"{answer.file} {exc}")
        return b""
    document.sources.append(answer.file)  # `watch` looks at it, too
    return data
