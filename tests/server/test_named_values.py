"""Every fact that a value of `request_headers` and `response_headers` may name, over TLS with a client's
certificate: each is what it says, with the first request of a connection and with the next one."""

from __future__ import annotations

import re
import ssl

from blitz.config import Route
from blitz.config.route_keys import HeaderEdits
from blitz.server.route_rules import _FACTS

from .harness import authority, rig
from .test_tls import ask, connect, tls_rig, with_certificate

PATTERNS = {
    "client.address": r"127\.0\.0\.1",
    "client.port": r"\d{4,5}",
    "client.scheme": "https",
    "request.id": "[0-9a-f]{32}",
    "request.method": "GET",
    "request.host": "test",
    "request.target": "/",
    "path": "/",
    "path.rest": "/",
    "query": "",
    "route.name": "named",
    "tls.version": r"TLSv1\.3",
    "tls.cipher": "TLS_[A-Z0-9_]+",
    "tls.sni": "localhost",
    "tls.subject": "CN=me,.*",
    "tls.sha256": "[0-9a-f]{64}",
}
OF_RESPONSES = {"upstream.address": r"127\.0\.0\.1:\d+", "response.status": "200"}


async def test_all_of_them() -> None:
    assert set(PATTERNS) | set(OF_RESPONSES) | {"path.matched"} == set(_FACTS)  # that is of no file
    field = {name: f"x-{name.replace('.', '-')}" for name in PATTERNS}
    edits = HeaderEdits(set={field[name]: f"<${{{name}}}>" for name in PATTERNS})
    route = Route(name="named", upstream="main", request_headers=edits)
    context = with_certificate(authority(), "client.example", common_name="me")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    tls = {"client_auth": "require", "client_ca": authority().file}
    async with tls_rig(tls=tls, routes=[route]) as test:
        stream = await connect(test, context)
        for _ in range(2):
            seen = await ask(stream)
            for name, pattern in PATTERNS.items():
                assert re.fullmatch(f"<{pattern}>", seen[field[name]]), (name, seen[field[name]])
        await stream.aclose()


async def test_those_of_responses() -> None:
    edits = HeaderEdits(set={f"x-{name[:2]}": f"<${{{name}}}>" for name in OF_RESPONSES})
    async with rig(routes=[Route(upstream="main", response_headers=edits)]) as test:
        for _ in range(2):
            _, fields, _ = await test.get()
            for name, pattern in OF_RESPONSES.items():
                assert re.fullmatch(f"<{pattern}>", fields[f"x-{name[:2]}"]), name
