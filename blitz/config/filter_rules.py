"""What ``[auth]`` and the filters of routes must mean beyond their shape. See ``rules.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from blitz.config.auth_keys import Auth, ForwardAuth, JwtAuth
from blitz.config.check import nearest
from blitz.config.compress_rules import check_compress
from blitz.config.field_names import NOT_OURS
from blitz.config.filter_keys import Cors, RateLimit
from blitz.config.rates import parse_rate
from blitz.config.source import Bad, Document
from blitz.config.syntax import is_readable
from blitz.config.urls import parse_url

if TYPE_CHECKING:
    from blitz.config.model import Config

__all__ = ["auth_upstreams", "check_filters", "identity_fields", "parse_origin"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_SOURCE = re.compile(r"header|(header|cookie|query):([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})")
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(\*\.)?[a-z0-9_.-]*[a-z0-9](:[0-9]{1,5})?|[a-z]+://\[[0-9a-f:.]+\](:[0-9]{1,5})?"
)
_KINDS = ("jwt", "basic", "forward", "any", "all")
# Fields that no filter writes: those that are not ours, and what a request or a response says of itself.
_NOT_THEIRS = NOT_OURS | {
    *("authorization", "cookie", "range", "content-encoding", "content-type", "content-range")
}
MAX_DEPTH = 8  # of any and all in each other

Path = tuple[str | int, ...]


def check_filters(config: Config, document: Document) -> None:
    """Report what cannot run of *config*."""
    for name, auth in config.auth.items():
        _auth(config, document, name, auth)
    for name in config.auth:
        _circles(config, document, name)
    for index, route in enumerate(config.routes):
        at: Path = ("routes", index)
        if route.auth and not isinstance(route.auth, Bad):
            _named(config, document, route.auth, (*at, "auth"))
        if route.cors is not None:
            _cors(document, route.cors, (*at, "cors"))
        if route.rate_limit is not None:
            _rate_limit(document, route.rate_limit, (*at, "rate_limit"), has_auth=bool(route.auth))
        if route.compress is not None:
            check_compress(document, route.compress, (*at, "compress"))


def auth_upstreams(config: Config) -> dict[str, str]:
    """Name of each ``[auth]`` that asks a service -> name of the upstream, or its address."""
    asked = {}
    for name, auth in config.auth.items():
        service = _service(auth)
        if service is None:
            continue
        upstream, url = service
        try:
            asked[name] = upstream or parse_url(url).endpoint
        except ValueError:
            continue  # it has been reported
    return asked


def _service(auth: Auth) -> tuple[str, str] | None:
    if auth.forward is not None:
        return auth.forward.upstream, auth.forward.url
    if auth.jwt is not None and auth.jwt.jwks_url:
        return auth.jwt.upstream, auth.jwt.jwks_url
    return None


def identity_fields(auth: Auth) -> list[str]:
    """Fields that this way to authenticate tells upstreams, in lower case."""
    if auth.jwt is not None:
        return [name.lower() for name in auth.jwt.headers]
    if auth.basic is not None:
        return [auth.basic.header.lower()] if auth.basic.header else []
    return [name.lower() for name in auth.forward.response_headers] if auth.forward is not None else []


def parse_origin(text: str) -> str:
    """An origin in lower case, without its scheme's own port. Raises ValueError with one sentence."""
    origin = text.lower()
    if origin == "*":
        return origin
    if origin == "null":
        raise ValueError('"null" is the origin of sandboxed frames and local files, which anybody can have')
    if not _ORIGIN.fullmatch(origin):
        hint = "without a path" if _ORIGIN.fullmatch(origin.rstrip("/")) else "with scheme and host alone"
        raise ValueError(f'"{text}" is not an origin; write such as "https://app.example", {hint}')
    scheme, _, host = origin.partition("://")
    for own, port in (("http", ":80"), ("https", ":443")):
        if scheme == own:
            host = host.removesuffix(port)
    return f"{scheme}://{host}"


def _auth(config: Config, document: Document, name: str, auth: Auth) -> None:
    at: Path = ("auth", name)
    if not _NAME.fullmatch(name):
        document.report(at, "not a name; use letters, digits, `_`, `-`, `.`, at most 64")
    said = [kind for kind in _KINDS if getattr(auth, kind)]
    if len(said) != 1 and not any(document.is_bad(f"auth.{name}.{kind}") for kind in _KINDS):
        problem = f"has {' and '.join(f'`{kind}`' for kind in said)}" if said else "says nothing"
        document.report(at, f"{problem}; write one of {', '.join(_KINDS)}")
    if auth.jwt is not None:
        _jwt(config, document, auth.jwt, (*at, "jwt"))
    if auth.basic is not None:
        if not auth.basic.users_file and not isinstance(auth.basic.users_file, Bad):
            document.report((*at, "basic", "users_file"), "`users_file` is empty; name a file")
        _field(document, auth.basic.header, (*at, "basic", "header"))
        if re.search(r"[^ -!#-\[\]-~]", auth.basic.realm):
            document.report((*at, "basic", "realm"), "has a quote, a backslash, or no ASCII; leave that out")
    if auth.forward is not None:
        _forward(config, document, auth.forward, (*at, "forward"))
    for kind in ("any", "all"):
        names = getattr(auth, kind)
        for position, other in enumerate(names):
            if not isinstance(other, Bad):
                _named(config, document, other, (*at, kind, position))


def _named(config: Config, document: Document, name: str, at: Path) -> None:
    if name not in config.auth and not document.is_bad("auth"):
        hint = nearest(name, list(config.auth)) or "; there is no [auth] table to name one in"
        document.report(at, f'no [auth] is named "{name}"{hint}')


def _circles(config: Config, document: Document, start: str) -> None:
    """Report a name that leads back to itself, where it does so first."""

    def leads(name: str, depth: int) -> bool:
        auth = config.auth.get(name)
        parts = [*auth.any, *auth.all] if auth is not None else []
        return any(part == start or depth >= MAX_DEPTH or leads(part, depth + 1) for part in parts)

    auth = config.auth[start]
    for kind in ("any", "all"):
        if any(part == start or leads(part, 1) for part in getattr(auth, kind)):
            document.report(
                ("auth", start, kind),
                f"leads back to itself, or is more than {MAX_DEPTH} deep; leave that out",
            )


def _jwt(config: Config, document: Document, jwt: JwtAuth, at: Path) -> None:
    has_url, has_file = bool(jwt.jwks_url), bool(jwt.jwks_file)
    if has_url == has_file and not isinstance(jwt.jwks_url, Bad) and not isinstance(jwt.jwks_file, Bad):
        problem = (
            "has both `jwks_url` and `jwks_file`" if has_url else "has neither `jwks_url` nor `jwks_file`"
        )
        document.report(at, f"{problem}; keys come from one of them")
    if has_url and is_readable(document, parse_url, jwt.jwks_url, *at, "jwks_url"):
        _asked(config, document, jwt.upstream, at)
    elif jwt.upstream and not has_url:
        document.report((*at, "upstream"), "nobody is asked: it is for `jwks_url`; leave it out")
    for position, algorithm in enumerate(jwt.algorithms):
        if not isinstance(algorithm, Bad) and algorithm.startswith("HS") and has_url:
            document.report(
                (*at, "algorithms", position),
                f"{algorithm} needs a secret, and what a URL publishes is none; name a `jwks_file`",
            )
    if not isinstance(jwt.source, Bad) and not _SOURCE.fullmatch(jwt.source):
        document.report(
            (*at, "from"), f'"{jwt.source}" is no place; write header, header:NAME, cookie:NAME or query:NAME'
        )
    for name, claim in jwt.headers.items():
        _field(document, name, (*at, "headers", name))
        if jwt.source.lower() == f"header:{name.lower()}":
            document.report((*at, "headers", name), "the token stands there; choose another field")
        if not claim and not isinstance(claim, Bad):
            document.report((*at, "headers", name), "no claim is named; write such as `sub`")
    if not jwt.identity and not isinstance(jwt.identity, Bad):
        document.report((*at, "identity"), "no claim is named; write such as `sub`")
    for claim, wanted in jwt.required_claims.items():
        items = wanted if isinstance(wanted, list) else [wanted]
        if not items or not all(isinstance(item, str | int | float | bool) for item in items):
            document.report(
                (*at, "required_claims", claim), "expected a string, number, boolean, or a list of these"
            )


def _forward(config: Config, document: Document, forward: ForwardAuth, at: Path) -> None:
    if is_readable(document, parse_url, forward.url, *at, "url"):
        _asked(config, document, forward.upstream, at)
    for key in ("request_headers", "response_headers"):
        for position, name in enumerate(getattr(forward, key)):
            if isinstance(name, Bad):
                continue
            if not _TOKEN.fullmatch(name):
                document.report((*at, key, position), f'"{name}" is not the name of a field')
            elif key == "response_headers" and name.lower() in _NOT_THEIRS - {"authorization", "cookie"}:
                document.report((*at, key, position), f'"{name}" is not for a service to say; leave it out')
    identity = forward.identity
    if identity and not isinstance(identity, Bad) and not _TOKEN.fullmatch(identity):
        document.report((*at, "identity"), f'"{identity}" is not the name of a field')


def _asked(config: Config, document: Document, upstream: str, at: Path) -> None:
    if not upstream or isinstance(upstream, Bad) or document.is_bad("upstreams"):
        return
    if upstream not in config.upstreams:
        known = nearest(upstream, list(config.upstreams)) or "; there is no [upstreams] table to name one in"
        document.report((*at, "upstream"), f'no upstream is named "{upstream}"{known}')
    elif config.upstreams[upstream].proxy_protocol != "off":
        document.report(
            (*at, "upstream"), "it wants a PROXY header, which names a client, and here is none; name another"
        )


def _field(document: Document, name: str, at: Path) -> None:
    if not name or isinstance(name, Bad):
        return
    if not _TOKEN.fullmatch(name):
        document.report(at, f'"{name}" is not the name of a field')
    elif name.lower() in _NOT_THEIRS:
        document.report(at, f'"{name}" means something else; write such as "x-user"')


def _cors(document: Document, cors: Cors, at: Path) -> None:
    for position, origin in enumerate(cors.origins):
        if not is_readable(document, parse_origin, origin, *at, "origins", position):
            continue
        if origin == "*" and cors.credentials:
            document.report(
                (*at, "origins", position),
                "with `credentials` any site could act as the client; name the origins",
            )
    _names(document, cors.methods, _METHOD, "a method in capital letters", (*at, "methods"))
    for key in ("headers", "expose"):
        _names(document, getattr(cors, key), _TOKEN, "the name of a field", (*at, key))


def _names(document: Document, names: Sequence[str], pattern: re.Pattern[str], what: str, at: Path) -> None:
    for position, name in enumerate(names):
        if isinstance(name, Bad):
            continue
        if name == "*":
            document.report((*at, position), '"*" does not mean all where credentials are sent; name them')
        elif not pattern.fullmatch(name):
            document.report((*at, position), f'"{name}" is not {what}')


def _rate_limit(document: Document, limit: RateLimit, at: Path, *, has_auth: bool) -> None:
    is_readable(document, parse_rate, limit.rate, *at, "rate")
    key = limit.key
    if isinstance(key, Bad) or key == "client":
        return
    if key == "identity":
        if not has_auth:
            document.report((*at, "key"), "nobody says who the client is; write `auth` too, or use client")
    elif not key.startswith("header:") or not _TOKEN.fullmatch(key.removeprefix("header:")):
        document.report((*at, "key"), f'"{key}" is no key; write client, identity or header:NAME')
