"""``auth`` by another service in a running gateway, and several ways together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from blitz.config import Auth, BasicAuth, ForwardAuth, JwtAuth, Route

from ..builtin.issuer import AUDIENCE, ISSUER, jwks, key, token
from .harness import FakeUpstream, Served, answering, rig
from .test_basic_auth import CHEAP, credentials
from .test_jwt import told

PARSERS = ["auto", "h11"]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-User: ada\r\nX-Other: no\r\n\r\nok"


@asynccontextmanager
async def asking(
    script: Callable[[Served], Awaitable[None]], *, parser: str = "auto", more: Any = None, **settings: Any
) -> Any:
    service = FakeUpstream(script)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        forward = ForwardAuth(
            **(
                {"url": f"{service.endpoint}/verify?a=b", "response_headers": ["X-User"], "timeout": 5.0}
                | settings
            )
        )
        auth = {"sso": Auth(forward=forward)} | (more or {})
        routes = [Route(upstream="main", auth=next(reversed(auth)))]
        async with rig(parser=parser, auth=auth, routes=routes) as test:
            yield test, service
        nursery.cancel_scope.cancel()


def keeping_heads(answer: bytes, heads: list[bytes]) -> Callable[[Served], Awaitable[None]]:
    async def script(served: Served) -> None:
        while True:
            heads.append(await served.head())
            await served.send(answer)

    return script


@pytest.mark.parametrize("parser", PARSERS)
async def test_2xx_lets_pass_and_names_the_client(parser: str) -> None:
    heads: list[bytes] = []
    async with asking(keeping_heads(OK, heads), parser=parser, identity="x-user") as (test, service):
        client = await test.connect()
        for _ in range(2):
            await client.send(
                b"POST /deep?q=1 HTTP/1.1\r\nHost: shop.example\r\nCookie: s=1\r\n"
                b"X-User: root\r\nx_user: root\r\n"
                b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Uri: /free\r\nX-Original-URL: /free\r\n"
                b"Range: bytes=0-1\r\n"
                b"If-None-Match: x\r\nContent-Length: 4\r\n\r\nbody"
            )
            status, _, body = await client.answer()
            assert status == 200
            fields = told(body)
            assert fields["x-user"] == "ada"
            assert "x-other" not in fields
            assert b"root" not in body
            assert body.endswith(b"\n\nbody")
        assert len(service.connections) == 1, "its connection is kept"
    asked = heads[0].decode().lower()
    assert asked.startswith("get /verify?a=b http/1.1\r\n")
    for line in (
        f"host: 127.0.0.1:{service.port}",
        "cookie: s=1",
        "x-forwarded-method: post",
        "x-forwarded-uri: /deep?q=1",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: http",
        "x-forwarded-for: 127.0.0.1",
        "x-original-method: post",
        "x-original-url: http://shop.example/deep?q=1",
    ):
        assert asked.split("\r\n").count(line) == 1, line
    for word in ("root", "6.6.6.6", "/free", "range", "none-match", "content-length"):
        assert word not in asked


async def test_only_named_fields_are_told() -> None:
    heads: list[bytes] = []
    async with asking(keeping_heads(OK, heads), request_headers=["Cookie"]) as (test, _):
        await test.get(cookie="s=1", authorization="Bearer x")
    assert b"s=1" in heads[0]
    assert b"Bearer" not in heads[0]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (
            b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n"
            b"Content-Length: 2\r\nContent-Type: text/x\r\n\r\nno",
            401,
        ),
        (
            b"HTTP/1.1 302 Go\r\nLocation: https://login/\r\n"
            b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
            302,
        ),
        (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 403),
    ],
)
@pytest.mark.parametrize("parser", PARSERS)
async def test_3xx_and_4xx_are_the_clients_answer(answer: bytes, status: int, parser: str) -> None:
    async with asking(answering(answer), parser=parser) as (test, _):
        got, fields, body = await test.get()
        assert got == status
        assert body == (b"" if status == 302 else b"no")
        if status == 302:
            assert (fields["location"], fields["set-cookie"]) == ("https://login/", "b=2")
        if status == 401:
            assert (fields["www-authenticate"], fields["content-type"]) == ("Basic realm=x", "text/x")
        assert not test.upstream.connections


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 502),
        (b"HTTP/1.1 304 No\r\n\r\n", 502),
        (b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 502),
        (b"HTTP/1.1 100 Go\r\n\r\n" * 50, 502),
        (b"nonsense\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 502),
        (b"HTTP/1.1 401 No\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000, 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 504),
        (b"", 504),
    ],
    ids=["500", "304", "101", "100", "nonsense", "two lengths", "large", "short", "silent"],
)
async def test_anything_else_lets_nobody_pass(answer: bytes, status: int) -> None:
    async with asking(answering(answer), timeout=0.3, max_body=1024) as (test, _):
        with trio.fail_after(20):
            assert (await test.get())[0] == status
            assert (await test.get())[0] == status
        assert not test.upstream.connections


async def test_a_service_that_is_not_there_lets_nobody_pass() -> None:
    async with asking(answering(OK), url="http://127.0.0.1:1/") as (test, _):
        assert (await test.get())[0] == 502


def ways(tmp_path: Path) -> dict[str, Auth]:
    (tmp_path / "keys.json").write_bytes(jwks(key()))
    (tmp_path / "users").write_bytes(b"bob:" + CHEAP)
    jwt = JwtAuth(
        jwks_file=str(tmp_path / "keys.json"), issuer=ISSUER, audiences=[AUDIENCE], headers={"x-user": "sub"}
    )
    return {
        "idp": Auth(jwt=jwt),
        "staff": Auth(basic=BasicAuth(users_file=str(tmp_path / "users"), header="x-staff")),
    }


async def test_any_of_several(tmp_path: Path) -> None:
    either = ways(tmp_path) | {"any": Auth(any=["idp", "staff"])}
    async with rig(auth=either, routes=[Route(upstream="main", auth="any")]) as test:
        for text, field, name in (
            (f"Bearer {token()}", "x-user", "ada"),
            (credentials("bob", "lovelace"), "x-staff", "bob"),
        ):
            status, _, body = await test.get(authorization=text, x_user="root", x_staff="root")
            assert status == 200
            assert told(body)[field] == name
            assert b"root" not in body
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while b"\r\n\r\n" not in client.buffer:
            await client.have(len(client.buffer) + 1)
        head = bytes(client.buffer)
        assert head.startswith(b"HTTP/1.1 401 ")
        assert head.lower().count(b"www-authenticate: ") == 2


async def test_all_of_several(tmp_path: Path) -> None:
    jwt = ways(tmp_path)["idp"].jwt
    assert jwt is not None
    cookie = JwtAuth(jwks_file=jwt.jwks_file, issuer=ISSUER, audiences=[AUDIENCE], source="cookie:t")
    both = ways(tmp_path) | {"cookie": Auth(jwt=cookie), "both": Auth(all=["staff", "cookie"])}
    async with rig(auth=both, routes=[Route(upstream="main", auth="both")]) as test:
        right, staff = f"t={token()}", credentials("bob", "lovelace")
        assert (await test.get(authorization=staff, cookie=right))[0] == 200
        assert (await test.get(authorization=staff))[0] == 401
        assert (await test.get(cookie=right))[0] == 401
        assert (await test.get(authorization=staff, cookie=right + "x"))[0] == 401


async def test_a_page_to_log_in_is_the_answer_of_any(tmp_path: Path) -> None:
    login = b"HTTP/1.1 302 Go\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"
    more = ways(tmp_path) | {"any": Auth(any=["sso", "idp"])}
    async with asking(answering(login), more=more) as (test, _):
        assert (await test.get())[0] == 302
        assert (await test.get(authorization=f"Bearer {token()}"))[0] == 200
