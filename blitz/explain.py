"""What happens to one request, said in words: for ``blitz route``, and for embedders.

``server/trial.py`` decides; here is what an operator asks and reads.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blitz.config.addresses import Address
from blitz.config.filter_keys import RateLimit
from blitz.config.resolved import Resolved, ResolvedEdit, ResolvedMatch, ResolvedRoute, ResolvedValue
from blitz.config.static_keys import Static
from blitz.config.units import format_size
from blitz.server.trial import Answered, Trial

__all__ = ["Explanation", "Step", "explain"]

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 9.1
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_PORTS = {"http": 80, "https": 443}
_DEFAULT_HOST = "localhost"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that stands in the way of a request: the key of the configuration, and what it does."""

    key: str
    says: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happens to a request.

    Attributes:
        request: method and URL. client: its address. listener: name and address of the one that it came to.
        route: the name of the one that takes it, or "". match: which requests that one takes.
        steps: what stands in front, in order, up to what answers.
        status: of the gateway's own answer; 0: an upstream's. refused: it is a refusal, and why.
        location, allow: fields of that answer, or "".
        others: the other routes in their order, each with why not.
    """

    request: str
    client: str
    listener: str
    route: str
    match: str
    steps: tuple[Step, ...]
    status: int
    refused: str
    location: str
    allow: str
    others: tuple[tuple[str, str], ...]


def explain(
    resolved: Resolved,
    method: str,
    url: str,
    headers: Sequence[str] = (),
    *,
    client: str = "127.0.0.1",
    listen: str = "",
) -> Explanation:
    """Say which route of *resolved* takes a request without a body, and what stands in front of it.

    Loads no plugin and opens nothing: what they would do to the request is not known.

    Args:
        url: whole, as a client is told it, or a path with its query; nothing in it is changed.
        headers: ``name: value``; one named host replaces the URL's, or localhost where that has none.
        client: the address that it comes from.
        listen: the name of the listener; "": the first of the URL's scheme, with its port if there is one.
    Raises:
        ValueError: one sentence about what is wrong with an argument.
    """
    if not _METHOD.fullmatch(method):
        raise ValueError(f'"{method}" is not a method; write such as GET')
    fields = [_field(header) for header in headers]
    host = next((value for name, value in fields if name.lower() == "host"), "")
    scheme, authority, target = _split(url)
    address = _listener(resolved, scheme, authority or host, listen)
    if not any(name.lower() == "host" for name, _ in fields):
        fields.insert(0, ("Host", authority or _DEFAULT_HOST))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape")
    trial = Trial(resolved, address, _address(client), head)
    others = trial.others()
    steps, answered = _way(resolved, trial)
    return Explanation(
        request=f"{method} {url}",
        client=trial.client,
        listener=f'"{address.name}" ({address})' if address.name else str(address),
        route=trial.name,
        match=_match(trial.route.match) if trial.route is not None else "",
        steps=tuple(steps),
        status=answered.status if answered is not None else 0,
        refused=_refusal(answered),
        location=answered.location if answered is not None else "",
        allow=answered.allow if answered is not None else "",
        others=tuple(others),
    )


def _refusal(answered: Answered | None) -> str:
    """Why; "" where the request gets what the route is for: an answer, a redirect, a preflight's answer."""
    if answered is None or answered.status < 400 or answered.why == _OWN_ANSWER:
        return ""
    return answered.why


# -- what was asked


def _split(url: str) -> tuple[str, str, str]:
    """-> scheme, authority, target as it is sent; "", "" and the target, if *url* is a path alone."""
    help_text = "write such as https://api.example.org/v1?x=1, or a path"
    if re.search(r"[^\x21-\x7e]", url):
        raise ValueError(f'"{url}" has a character that no URL has; percent-encode it')
    if "#" in url:
        raise ValueError(f'"{url}" has a fragment, which clients do not send; leave it out')
    if url.startswith("/"):
        return "", "", url
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f'"{url}" is not a URL; {help_text}')
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    if "@" in authority:
        raise ValueError("the URL has a user, which clients send as a field; write -H 'authorization: ...'")
    if not authority or authority.startswith(":"):
        raise ValueError(f'"{url}" has no host; {help_text}')
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority.rpartition("]")[2] else ""
    if port and not (port.isdigit() and int(port) < 65536):
        raise ValueError(f'"{url}" has the port "{port}"; a port is a number below 65536')
    return scheme, authority, rest if rest.startswith("/") else f"/{rest}"


def _field(header: str) -> tuple[str, str]:
    found = _FIELD.fullmatch(header)
    if found is None:
        raise ValueError(f'"{header}" is not a header field; write "name: value"')
    return found[1], found[2].rstrip(" \t")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f'"{text}" is not an address; write such as 203.0.113.7 or 2001:db8::7') from None


def _listener(resolved: Resolved, scheme: str, authority: str, name: str) -> Address:
    known = [one for one in resolved.listen if one.name == name] if name else list(resolved.listen)
    if not known:
        names = ", ".join(f'"{one.name}"' for one in resolved.listen if one.name)
        has = f"there are {names}" if names else "none has a name"
        raise ValueError(f'no listener is called "{name}"; {has}')
    speaking = [one for one in known if not scheme or one.tls == (scheme == "https")]
    if not speaking and scheme == "https":
        raise ValueError(
            "no listener there has TLS; write http://, and what a trusted proxy says: "
            "--from its address -H 'x-forwarded-proto: https'"
        )
    if not speaking:
        raise ValueError("each listener there has TLS; write https://")
    port = authority.rpartition("]")[2].rpartition(":")[2]
    wanted = int(port) if port.isdigit() else _PORTS.get(scheme)
    return next((one for one in speaking if one.port == wanted), speaking[0])


# -- the way


_OWN_ANSWER = "the route's own answer"
_NOT_REWRITTEN = "the path cannot be rewritten: it is not spelt as the prefix, or climbs above it"


def _way(resolved: Resolved, trial: Trial) -> tuple[list[Step], Answered | None]:
    """The steps up to the one that answers, and its answer; None: an upstream answers."""
    steps = [
        Step("before_routing", f"plugin {name} sees the request, and may change its host and path")
        for name in (resolved.before_routing if trial.is_read else ())
    ]
    if trial.refused is not None:
        return steps, trial.refused
    if trial.route is None:
        steps.append(Step("tls.acme", "answers the certificate authority, or 404"))
        return steps, Answered(200, _OWN_ANSWER)
    for step, answered in _in_front(resolved, trial, trial.route):
        steps.append(step)
        if answered is not None:
            if answered.why == _OWN_ANSWER:
                steps += _back(trial, trial.route)
            return steps, answered
    return [*steps, *_back(trial, trial.route)], None


def _in_front(
    resolved: Resolved, trial: Trial, route: ResolvedRoute
) -> Iterator[tuple[Step, Answered | None]]:
    """What the route has, in the order of a request (docs/routes.md)."""
    yield from _early(trial, route)
    if route.auth:
        yield Step("auth", f"{_auth(resolved, route.auth)}: who does not pass is refused"), None
    if route.rate_limit is not None:
        yield Step("rate_limit", _limit(route.rate_limit)), None
    if route.max_body is not None:
        size = format_size(route.max_body) if route.max_body else "any size"
        yield Step("max_body_size", f"of a request's body: {size}"), None
    for name in route.plugins:
        if name not in resolved.before_routing:
            yield Step("plugins", f"{name}: its request hook"), None
    if route.answer is not None:
        said = f"{route.answer.status}, {len(route.body)} bytes"
        yield Step("answer", said), Answered(route.answer.status, _OWN_ANSWER)
    elif route.static is not None:
        yield from _files(trial, route, route.static)
    else:
        yield from _onward(resolved, trial, route)


def _back(trial: Trial, route: ResolvedRoute) -> Iterator[Step]:
    """What is done to the response on its way to the client, if it is one for that."""
    if route.compress is not None:
        offered = route.compress.encodings
        coding = trial.coding(offered)
        size = f" from {format_size(route.compress.min_size)} on" if route.compress.min_size else ""
        said = f"{coding}, if the response is one of its types{size}" if coding else ""
        yield Step("compress", said or f"the client asks for none of {', '.join(offered)}")


def _early(trial: Trial, route: ResolvedRoute) -> Iterator[tuple[Step, Answered | None]]:
    """What needs to know nothing of the client but its address."""
    if route.ip_allow or route.ip_deny:
        key = " and ".join(key for key in ("ip_deny", "ip_allow") if getattr(route, key))
        denied = trial.admit()
        if denied is not None:
            why = f"{trial.client} may not come"
            yield Step(key, why), Answered(denied.status, why)
        yield Step(key, f"{trial.client} may come"), None
    if route.cors is not None:
        answer = trial.preflight()
        yield Step("cors", answer.why if answer is not None else "not a preflight: passes"), answer
    if route.redirect is not None:
        answer = trial.redirect()
        if answer is None:
            yield Step("redirect", "it is there already: passes"), None
        elif answer.location:
            yield Step("redirect", f"{answer.status} to {answer.location}"), answer
        else:
            why = "it leads to where the request is" if answer.status == 508 else "it leads nowhere"
            yield Step("redirect", why), Answered(answer.status, why)


def _files(trial: Trial, route: ResolvedRoute, static: Static) -> Iterator[tuple[Step, Answered | None]]:
    """What would be looked for: nothing is opened."""
    answer = trial.rewrite()
    if answer is not None:
        yield Step("rewrite", _NOT_REWRITTEN), Answered(answer.status, _NOT_REWRITTEN)
    if route.new_path is not None:
        yield Step("rewrite", f"the path is {trial.target}"), None
    if route.request_edits:
        yield Step("request_headers", _edits(route.request_edits)), None
    if trial.method not in (b"GET", b"HEAD"):
        why = "files are answers to GET and HEAD only"
        yield Step("static", why), Answered(405, why, allow="GET, HEAD")
        return
    name = trial.file()
    if name is None:
        why = "the path names no file: it is hidden, or may be read in two ways"
        yield Step("static", why), Answered(404, why)
        return
    files = f"the file {name}" if name else "the root itself"
    instead = f", else {static.fallback}" if static.fallback else ", or 404"
    yield Step("static", f"{files} below {static.root}{instead}"), Answered(200, _OWN_ANSWER)


def _onward(resolved: Resolved, trial: Trial, route: ResolvedRoute) -> Iterator[tuple[Step, Answered | None]]:
    answer = trial.forward()
    if answer is not None:
        why = answer.why or _NOT_REWRITTEN
        key = "rewrite" if not answer.why else "max-forwards"
        yield Step(key, why), Answered(answer.status, why)
    if route.new_path is not None:
        yield Step("rewrite", f"the upstream gets {trial.target}"), None
    if route.request_edits:
        yield Step("request_headers", _edits(route.request_edits)), None
    if route.mirror is not None:
        yield Step("mirror", f"{route.mirror.percent:g}% are copied to {route.mirror.upstream}"), None
    if route.retry is not None:
        on = [*sorted(route.retry.on), *_ranges(sorted(route.retry.statuses))]
        yield Step("retry", f"{route.retry.attempts} tries at most, after {', '.join(on)}"), None
    if route.upstreams:
        total = sum(weight for _, weight in route.upstreams)
        for name, weight in route.upstreams:
            share = 100 * weight / total
            yield Step("upstreams", f"{share:.3g}% to {_upstream(resolved, name)}"), None
    else:
        yield Step("upstream", _upstream(resolved, route.upstream)), None


def _upstream(resolved: Resolved, name: str) -> str:
    upstream = resolved.upstreams[name]
    endpoints = ", ".join(map(str, upstream.endpoints))
    known = "" if endpoints == name else f"{name}: "
    if len(upstream.endpoints) == 1:
        return f"{known}{endpoints}"
    rule = upstream.lb
    if rule == "hash":
        rule = f"{rule} of {' '.join(filter(None, upstream.hash))}"  # type: ignore[assignment]
    sticky = f"; cookie {upstream.sticky.cookie} keeps clients where they are" if upstream.sticky else ""
    return f"{known}{rule} over {endpoints}{sticky}"


def _auth(resolved: Resolved, name: str) -> str:
    auth = resolved.auth[name]
    for word in ("any", "all"):
        names = getattr(auth, word)
        if names:
            return f"{name} ({word} of {', '.join(_auth(resolved, one) for one in names)})"
    kind = next(kind for kind in ("jwt", "basic", "forward") if getattr(auth, kind) is not None)
    return f"{name} ({kind})"


def _limit(limit: RateLimit) -> str:
    burst = f", {limit.burst} at once" if limit.burst else ""
    return f"{limit.rate} for each {limit.key}{burst}"


def _edits(edits: Sequence[ResolvedEdit]) -> str:
    """Names alone: values may be secrets."""
    return ", ".join(f"{edit.op} {edit.name}" for edit in edits)


def _ranges(statuses: Sequence[int]) -> Iterator[str]:
    """``500-599`` for all of them."""
    begin = None
    for index, status in enumerate(statuses):
        begin = status if begin is None else begin
        if index + 1 == len(statuses) or statuses[index + 1] != status + 1:
            yield str(status) if begin == status else f"{begin}-{status}"
            begin = None


def _match(match: ResolvedMatch) -> str:
    """Which requests it takes, in words."""
    hosts = " or ".join(host or "any host" for host in match.hosts)
    path = match.path if match.exact else f"below {match.path}" if match.path != "/" else "any path"
    parts = [hosts, f"path like {match.regex}" if match.regex else path]
    if match.methods:
        parts.append(" or ".join(match.methods))
    parts += [f"field {_wanted(field)}" for field in match.fields]
    parts += [f"query {_wanted(query)}" for query in match.query]
    if match.listen:
        parts.append(f'listener "{match.listen}"')
    return ", ".join(parts)


def _wanted(value: ResolvedValue) -> str:
    if value.text is not None:
        return f'{value.name} is "{value.text}"'
    return (
        f"{value.name} like {value.regex}" if value.regex else f"{'' if value.present else 'no '}{value.name}"
    )
