"""``cors`` in a running gateway: who gets leave, who does not, and that caches cannot mix them up."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from blitz.builtin.cors import Origins
from blitz.config import Auth, Cors, JwtAuth, Route
from blitz.config.filter_rules import parse_origin

from ..builtin.issuer import AUDIENCE, ISSUER, jwks, key, token
from .harness import Client, answering, rig

PARSERS = ["auto", "h11"]
APP = "https://app.example"
OURS = "access-control-allow-origin"


def cors(**more: Any) -> Cors:
    return Cors(**({"origins": [APP], "headers": ["X-Token"], "methods": ["GET", "PUT"]} | more))


async def preflight(client: Client, origin: str, method: str = "PUT") -> tuple[int, dict[str, str]]:
    await client.send(
        f"OPTIONS /x HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n"
        f"Access-Control-Request-Method: {method}\r\n\r\n".encode()
    )
    status, fields, body = await client.answer()
    assert body == b""
    return status, fields


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_preflight_is_answered_before_auth(tmp_path: Path, parser: str) -> None:
    (tmp_path / "keys").write_bytes(jwks(key()))
    jwt = JwtAuth(jwks_file=str(tmp_path / "keys"), issuer=ISSUER, audiences=[AUDIENCE])
    routes = [Route(upstream="main", auth="idp", cors=cors(credentials=True, expose=["X-Count"]))]
    async with rig(parser=parser, auth={"idp": Auth(jwt=jwt)}, routes=routes) as test:
        client = await test.connect()
        status, fields = await preflight(client, APP)
        assert status == 204
        assert fields[OURS] == APP
        assert fields["access-control-allow-credentials"] == "true"
        assert fields["access-control-allow-methods"] == "GET, PUT"
        assert fields["access-control-allow-headers"] == "x-token"
        assert fields["access-control-max-age"] == "7200"
        assert fields["vary"].startswith("Origin, Access-Control-Request-Method")
        status, fields = await preflight(client, "https://evil.example")
        assert status == 204
        assert not [name for name in fields if name.startswith("access-control")]
        assert not test.upstream.connections
        # A script may read that it is not let pass, and what it is told when it is.
        for headers, wanted in (({}, 401), ({"authorization": f"Bearer {token()}"}, 200)):
            status, fields, _ = await test.get(origin=APP, **headers)
            assert (status, fields[OURS], fields["vary"]) == (wanted, APP, "Origin")
            assert fields["access-control-allow-credentials"] == "true"
            assert fields["access-control-expose-headers"] == "X-Count"
        # OPTIONS that is no preflight needs the token as anything else does.
        await client.send(f"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\n\r\n".encode())
        assert (await client.answer())[0] == 401


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_preflight_finds_the_route_of_the_request_that_follows(parser: str) -> None:
    routes = [
        Route(upstream="main", methods=["GET"], cors=cors(methods=["GET"])),
        Route(upstream="main", methods=["PUT", "DELETE"], cors=cors(methods=["PUT", "DELETE"], max_age=60.0)),
        Route(upstream="main", path="/plain", methods=["PUT"]),
    ]
    async with rig(parser=parser, routes=routes) as test:
        client = await test.connect()
        for method, age in (("GET", "7200"), ("PUT", "60"), ("DELETE", "60")):
            status, fields = await preflight(client, APP, method)
            assert (status, fields["access-control-max-age"]) == (204, age), method
        for fields_of_request, allow in (
            (f"Origin: {APP}\r\nAccess-Control-Request-Method: PATCH\r\n", "GET, HEAD, PUT, DELETE"),
            (f"Origin: {APP}\r\n" + "Access-Control-Request-Method: PUT\r\n" * 2, "GET, HEAD, PUT, DELETE"),
            (f"Origin: {APP}\r\n", "GET, HEAD, PUT, DELETE"),  # OPTIONS, and no preflight
            ("Access-Control-Request-Method: PUT\r\n", "GET, HEAD, PUT, DELETE"),
        ):
            await client.send(f"OPTIONS /x HTTP/1.1\r\nHost: a\r\n{fields_of_request}\r\n".encode())
            status, fields, _ = await client.answer()
            assert (status, fields["allow"]) == (405, allow), fields_of_request
        assert not test.upstream.connections


ATTACKS = [
    "https://app.example.evil.com",
    "https://evilapp.example",
    "https://app.example@evil.com",
    "https://app.example:444",
    "http://app.example",
    "https://app.exampl",
    "https://app.example/",
    "https://app.example%00.evil.com",
    "https://app.example, https://evil.com",
    "https://evil.com https://app.example",
    "https://appxexample",
    "https://sub.app.example",
    "null",
    "NULL",
    "file://",
    "*",
    "https://*",
    "https://*.app.example",
    "https://app.example.",
]


@pytest.mark.parametrize("parser", PARSERS)
async def test_other_origins_get_no_leave(parser: str) -> None:
    async with rig(parser=parser, routes=[Route(upstream="main", cors=cors(credentials=True))]) as test:
        client = await test.connect()
        for origin in ATTACKS:
            status, fields, _ = await test.get(origin=origin)
            assert status == 200
            assert not [name for name in fields if name.startswith("access-control")], origin
            assert fields["vary"] == "Origin"
            _, fields = await preflight(client, origin)
            assert OURS not in fields, origin
        # Two fields: which one is meant is not known.
        await client.send(f"GET / HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\nOrigin: {APP}\r\n\r\n".encode())
        status, fields, _ = await client.answer()
        assert OURS not in fields
        _, fields, _ = await test.get()
        assert OURS not in fields
        assert fields["vary"] == "Origin"
        for same in (APP.upper().replace("HTTPS", "https"), f"{APP}:443"):
            assert (await test.get(origin=same))[1][OURS] == same


async def test_what_an_upstream_says_is_replaced() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVary: Accept\r\nAccess-Control-Allow-Origin: *\r\n"
        b"Access-Control-Allow-Credentials: true\r\n\r\n"
    )
    async with rig(answering(answer), routes=[Route(upstream="main", cors=cors())]) as test:
        client = await test.connect()
        for origin, allowed in ((APP, True), ("https://evil.example", False)):
            await client.send(f"GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n".encode())
            await client.have(10)
            while b"\r\n\r\n" not in client.buffer:
                await client.have(len(client.buffer) + 1)
            head = bytes(client.buffer).lower()
            client.buffer.clear()
            assert head.count(b"access-control-allow-origin:") == allowed
            assert b"access-control-allow-credentials" not in head
            assert b"\r\nvary: origin\r\n" in head
            assert b"\r\nvary: accept\r\n" in head


async def test_all_origins_without_credentials() -> None:
    async with rig(routes=[Route(upstream="main", cors=cors(origins=["*"]))]) as test:
        for origin in (APP, "null", "https://evil.example"):
            _, fields, _ = await test.get(origin=origin)
            assert fields[OURS] == "*"
            assert "access-control-allow-credentials" not in fields
            assert "vary" not in fields


async def test_local_answers_have_it_too() -> None:
    routes = [Route(upstream="http://127.0.0.1:1", cors=cors())]
    async with rig(routes=routes) as test:
        status, fields, _ = await test.get(origin=APP)
        assert (status, fields[OURS]) == (502, APP)


def test_names_below_a_domain_are_whole_labels() -> None:
    below = Origins([parse_origin("https://*.app.example")])
    for origin in (b"https://a.app.example", b"https://a.b.app.example", b"https://A-1.app.example:443"):
        assert below.contains(origin)
    choose = random.Random(7)
    for origin in (
        *(
            b"https://app.example",
            b"https://.app.example",
            b"https://evilapp.example",
            b"http://a.app.example",
        ),
        *(
            b"https://evil.com/.app.example",
            b"https://evil.com#.app.example",
            b"https://evil.com?.app.example",
        ),
        *(b"https://evil.com:1.app.example", b"https://u@evil.com.app.example@x", b"https://a..app.example"),
        *(b"https://evil.com\\.app.example", b"https://a.app.example.evil.com", b"https://a.app.example:1"),
    ):
        assert not below.contains(origin), origin
    for _ in range(3000):
        inserted = bytes(choose.choice(b"/?#@:\\ \t,;%*[]\"'<>\x80") for _ in range(choose.randrange(1, 4)))
        at = choose.randrange(1, 8)
        origin = b"https://" + b"evil.com"[:at] + inserted + b"evil.com"[at:] + b".app.example"
        assert not below.contains(origin), origin
