"""Blitz for the shapes of traffic: what people switch on, one thing at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ...harness.certificate import lay_certificate
from ...harness.check import ELSEWHERE, KEYS, NETWORKS
from ...harness.guests import write_chain
from ...harness.peer import Setup, argv
from ...harness.places import ROOT

__all__ = ["SHAPES"]

_RUN = argv("@python@ -m blitz run -c @folder@/blitz.toml")
_ORIGIN = "http://127.0.0.1:@origin@"
_SECOND = "http://127.0.0.2:@origin@"

_TLS = '{ address = "127.0.0.1:@port@", tls = true }'
_CERT = '[[tls.certs]]\ncert = "@folder@/tls.pem"'

_ELSEWHERE = ELSEWHERE.removeprefix("https://")
_EDITS = """upstream = "origin"
request_headers = { set = { x-client = "${client.address}", x-path = "${path}" }, remove = ["x-drop"] }
response_headers = { set = { x-gateway = "bench" }, remove = ["server"] }"""
_TOKENS = """[auth.idp.jwt]
jwks_file = "keys.json"
issuer = "bench"
audiences = ["bench"]
algorithms = ["HS256"]"""

# A burst that the load does not use up: what is measured is asking, not refusing.
_BUILT_IN = f"""
[[plugins]]
name = "request_logger"
file = "{ROOT}/plugins/request_logger.wasm"
grant = ["clock"]

[[plugins]]
name = "auth_custom"
file = "{ROOT}/plugins/auth_custom.wasm"
grant = ["clock"]
config = {{ keys = ["bench:0123456789abcdef"] }}

[[plugins]]
name = "rate_limiter"
file = "{ROOT}/plugins/rate_limiter.wasm"
config = {{ requests_per_minute = 1000000, burst = 1000000 }}
"""


def _toml(top: str, tables: str, listen: str, endpoints: list[str], upstream: str, route: str) -> str:
    return f"""listen = [{listen}]
{top}
[limits]
max_connections = 12000

[upstreams.origin]
endpoints = {json.dumps(endpoints)}
{upstream}

[[routes]]
{route}

{tables}
"""


def _plain(
    top: str = "",
    tables: str = "",
    *,
    listen: str = '"127.0.0.1:@port@"',
    endpoints: Sequence[str] = (_ORIGIN,),
    upstream: str = "",
    route: str = 'upstream = "origin"',
) -> Setup:
    return Setup(_RUN, {"blitz.toml": _toml(top, tables, listen, list(endpoints), upstream, route)})


def _plugin(guest: str, more: str = "") -> Setup:
    entry = f'[[plugins]]\nname = "{guest}"\nfile = "@folder@/{guest}_1.wasm"\n{more}'
    return Setup(_RUN, _plain(tables=entry).files, write_chain(guest, 1))


def _jwt() -> Setup:
    plain = _plain(tables=_TOKENS, route='upstream = "origin"\nauth = "idp"')
    return Setup(_RUN, {**plain.files, "keys.json": json.dumps(KEYS)})


def _users(folder: Path) -> None:
    import bcrypt

    (folder / "users").write_bytes(b"ada:" + bcrypt.hashpw(b"lovelace", bcrypt.gensalt(12)) + b"\n")


def _passwords() -> Setup:
    more = '[[routes]]\npath_prefix = "/in"\nupstream = "origin"\nauth = "staff"\n'
    plain = _plain(tables=f'{more}\n[auth.staff.basic]\nusers_file = "users"')
    return Setup(_RUN, plain.files, _users)


SHAPES = {
    "passwords": _passwords(),
    "json-log": _plain(tables='[log]\naccess = "json"'),
    "request-id": _plain(tables='[http]\nrequest_id_header = "x-request-id"'),
    "total": _plain(tables='[timeouts]\ntotal = "60s"'),
    "endpoints": _plain(endpoints=(_ORIGIN, _SECOND)),
    "least-conn": _plain(
        endpoints=[_ORIGIN.replace("127.0.0.1", f"127.0.0.{number}") for number in range(1, 5)],
        upstream='lb = "least_conn"',
    ),
    "redirect": _plain(
        route=f'redirect = {{ scheme = "https", host = "{_ELSEWHERE}" }}\nupstream = "origin"'
    ),
    "header-edits": _plain(route=_EDITS),
    "ip-allow": _plain(route=f'upstream = "origin"\nip_allow = {json.dumps(NETWORKS)}'),
    "jwt": _jwt(),
    "trusted": _plain('trusted_proxies = ["127.0.0.1"]'),
    "gzip": _plain(tables='compress = { encodings = ["gzip"], gzip_level = 1 }'),
    "response-header": _plugin("response_header", 'response_body = "none"'),
    "body": _plugin("body"),
    "built-in": _plain('before_routing = ["request_logger"]', _BUILT_IN),
    "tls": Setup(_RUN, _plain(listen=_TLS, tables=_CERT).files, lay_certificate),
}
