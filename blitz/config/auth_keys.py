"""The keys of ``[auth.NAME]``, as frozen values. See ``model.py``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from blitz.config.values import KIB, FilePath, Model, Seconds, Size

__all__ = ["ALGORITHMS", "Auth", "BasicAuth", "ForwardAuth", "JwtAuth"]

Algorithm = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "HS256",
    "HS384",
    "HS512",
]
ALGORITHMS = Algorithm.__args__  # type: ignore[attr-defined]

_UPSTREAM = (
    "a name from `[upstreams]`: its endpoints, TLS settings and connections are used, and of the URL "
    "only host and path; empty: the URL says where"
)


class JwtAuth(Model, frozen=True):
    """A signed token (RFC 7519) names the client. Needs the extra `auth`. A token without `exp` is
    refused."""

    jwks_url: Annotated[
        str,
        Meta(description="where the issuer publishes its keys; fetched beside the traffic, kept and renewed"),
    ] = ""
    jwks_file: Annotated[
        FilePath,
        Meta(description="keys in a file, as a JWK Set; a reload reads it again; may hold secrets for HS256"),
    ] = ""
    upstream: Annotated[str, Meta(description=f"for `jwks_url`, {_UPSTREAM}")] = ""
    issuer: Annotated[str, Meta(description="what `iss` must be; empty: anything, and a warning")] = ""
    audiences: Annotated[
        list[str],
        Meta(description="`aud` must name one of them; empty: tokens made for others pass, and a warning"),
    ] = field(default_factory=list)
    algorithms: Annotated[
        list[Algorithm],
        Meta(
            min_length=1,
            description="those that a token may be signed with; a key serves one kind only; `none` is not "
            "offered, and HS256 to HS512 only with `jwks_file`. RS256 is what most issuers sign with",
        ),
    ] = field(default_factory=lambda: ["RS256"])
    leeway: Annotated[
        Seconds,
        Meta(le=3600, description="how far clocks may differ at `exp`, `nbf` and `iat`; Envoy's value"),
    ] = 60.0
    required_claims: Annotated[
        dict[str, Any],
        Meta(
            description='claims that must be there: `{ role = "admin", scope = ["read", "write"] }`; of a '
            "list "
            "one must fit; a claim that is a list must hold it, `scope` is split at spaces; else the answer "
            "is 403"
        ),
    ] = field(default_factory=dict)
    source: Annotated[
        str,
        Meta(
            description="where the token stands: `header` (`Authorization: Bearer`), `header:NAME`, "
            "`cookie:NAME` or `query:NAME`; a query is hidden in the access log"
        ),
    ] = field(default="header", name="from")
    identity: Annotated[str, Meta(description="the claim that names the client, for logs and limits")] = "sub"
    headers: Annotated[
        dict[str, str],
        Meta(
            description='fields for upstreams and plugins, and their claims: `{ x-user = "sub" }`; a dot '
            "leads "
            "into tables; a client's own are removed; lists and tables are told as JSON"
        ),
    ] = field(default_factory=dict)
    remove_credentials: Annotated[
        bool, Meta(description="upstreams do not get the token; off: many check it again")
    ] = False
    refresh: Annotated[
        Seconds, Meta(ge=1, description="how old keys become before they are fetched anew; Envoy's value")
    ] = 600.0
    min_refresh: Annotated[
        Seconds,
        Meta(
            ge=0.1,
            description="between two fetches, whoever wants them: a token with an unknown key asks for one",
        ),
    ] = 10.0
    max_stale: Annotated[
        Seconds,
        Meta(
            ge=1, description="how old keys may become while they cannot be fetched; then the answer is 503"
        ),
    ] = 86400.0
    timeout: Annotated[
        Seconds, Meta(ge=0.01, le=60, description="of one fetch, and of a request that waits for it")
    ] = 5.0


class BasicAuth(Model, frozen=True):
    """User names and passwords (RFC 7617). Needs the extra `auth`."""

    users_file: Annotated[
        FilePath,
        Meta(
            description="lines `name:hash` with bcrypt (`htpasswd -B`) or argon2id; a reload reads it again"
        ),
    ]
    realm: Annotated[str, Meta(description="what browsers show; empty: the name of the table")] = ""
    cache: Annotated[
        Seconds,
        Meta(
            description="how long a right password is known by its digest, so that a check costs as little "
            "as a token's; `0`: never"
        ),
    ] = 300.0
    header: Annotated[
        str, Meta(description="a field that tells upstreams the name; a client's own is removed; empty: none")
    ] = ""
    remove_credentials: Annotated[
        bool, Meta(description="upstreams do not get the password; theirs may be others'")
    ] = True


class ForwardAuth(Model, frozen=True):
    """A service decides (Traefik's ForwardAuth, nginx's `auth_request`): 2xx lets the request pass, 3xx and
    4xx are the client's answer, anything else is an error."""

    url: Annotated[str, Meta(description='such as `"http://127.0.0.1:9091/verify"`; asked with GET')]
    upstream: Annotated[str, Meta(description=_UPSTREAM)] = ""
    request_headers: Annotated[
        list[str],
        Meta(
            description="fields of the request that the service is told; empty: all but those of its body; "
            "`X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri`, `-For`, `X-Original-Method` and "
            "`X-Original-URL` are told in any case"
        ),
    ] = field(default_factory=list)
    response_headers: Annotated[
        list[str],
        Meta(
            description="fields of its answer that upstreams and plugins are told, such as "
            '`["remote-user"]`; '
            "a client's own are removed"
        ),
    ] = field(default_factory=list)
    identity: Annotated[
        str,
        Meta(description="the field of its answer that names the client, for logs and limits; empty: none"),
    ] = ""
    timeout: Annotated[
        Seconds, Meta(ge=0.01, le=60, description="for its whole answer; clients wait as long")
    ] = 5.0
    max_body: Annotated[
        Size, Meta(le=1024 * KIB, description="of its answer, where that is the client's: a page to log in")
    ] = 64 * KIB


class Auth(Model, frozen=True):
    """How clients of a route say who they are: one of the keys. Routes name it: `auth = "NAME"`."""

    jwt: Annotated[JwtAuth | None, Meta(description="a signed token")] = None
    basic: Annotated[BasicAuth | None, Meta(description="a name and a password")] = None
    forward: Annotated[ForwardAuth | None, Meta(description="another service says")] = None
    any: Annotated[
        list[str], Meta(description="names of `[auth]`, asked in turn until one lets the client pass")
    ] = field(default_factory=list)
    all: Annotated[
        list[str],
        Meta(description="names of `[auth]` that all must let the client pass; the first one names it"),
    ] = field(default_factory=list)
