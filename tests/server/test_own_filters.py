"""Filters of the gateway's own in the way of an exchange: their order, plugins behind them, logs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from blitz.config import Auth, Cors, JwtAuth, Log, Plugin, RateLimit, Route

from ..builtin.issuer import AUDIENCE, ISSUER, claims, jwks, key, token
from .harness import rig
from .test_jwt import bearer
from .test_plugins import HEAD, REQUEST

PARSERS = ["auto", "h11", "auto+tls"]
GET_PROPERTY = '(import "blitz" "get_property" (func $property (param i32 i32 i32 i32) (result i32)))'


def idp(tmp_path: Path, **settings: Any) -> dict[str, Auth]:
    (tmp_path / "keys").write_bytes(jwks(key()))
    return {
        "idp": Auth(
            jwt=JwtAuth(
                **(
                    {"jwks_file": str(tmp_path / "keys"), "issuer": ISSUER, "audiences": [AUDIENCE]}
                    | settings
                )
            )
        )
    }


def guest(tmp_path: Path, body: str, name: str = "guest", **settings: Any) -> Plugin:
    path = tmp_path / f"{name}.wasm"
    path.write_bytes(wasmtime.wat2wasm(f"(module {GET_PROPERTY} {HEAD} {body})"))
    return Plugin(name=name, file=str(path), **settings)


def telling(*properties: str) -> str:
    """A hook that tells the upstream each property in a field ``x-p<number>``."""
    data, calls = "", ""
    for number, name in enumerate(properties):
        at = 1024 + 64 * number
        data += f'(data (i32.const {at}) "{name}") (data (i32.const {at + 48}) "x-p{number}")'
        value = f"(call $property (i32.const {at}) (i32.const {len(name)}) (i32.const 8192) (i32.const 4096))"
        calls += f"""(local.set $n {value})
          (if (i32.ge_s (local.get $n) (i32.const 0)) (then
            (call $set_header (i32.const {at + 48}) (i32.const 4) (i32.const 8192) (local.get $n))))"""
    return f"{data} {REQUEST} (local $n i32) {calls} (i32.const 0))"


@pytest.mark.parametrize("parser", PARSERS)
async def test_plugins_see_who_the_client_is(tmp_path: Path, parser: str) -> None:
    body = telling("identity", "jwt.sub", "jwt.roles", "jwt.exp", "jwt.nobody", "jwt.")
    payload = claims(roles=["a", "b"], sub="ada \u00e9")
    routes = [Route(upstream="main", auth="idp"), Route(upstream="main", path_prefix="/open")]
    settings = {"auth": idp(tmp_path), "plugins": [guest(tmp_path, body)], "routes": routes}
    async with rig(parser=parser, **settings) as test:
        status, _, said = await test.get(authorization=bearer(token(payload)))
        assert status == 200
        fields = dict(line.split(b": ", 1) for line in said.split(b"\n\n")[0].split(b"\n")[1:])
        assert fields[b"x-p0"] == fields[b"x-p1"] == "ada \u00e9".encode()
        assert fields[b"x-p2"] == b'["a","b"]'
        assert fields[b"x-p3"] == str(payload["exp"]).encode()
        assert b"x-p4" not in fields
        assert b"x-p5" not in fields
        # Where nobody asks who it is, plugins are told nothing, whatever was known on the connection.
        _, _, said = await test.get("/open", authorization=bearer(token(payload)))
        assert b"x-p0" not in said


async def test_a_plugin_that_refuses_stands_behind_auth(tmp_path: Path) -> None:
    """The gateway says who it is, the plugin whether that will do. No token: the plugin is not asked."""
    body = f"{REQUEST} (call $set_status (i32.const 418)) (i32.const 1))"
    settings = {"auth": idp(tmp_path), "plugins": [guest(tmp_path, body)]}
    async with rig(routes=[Route(upstream="main", auth="idp")], **settings) as test:
        assert (await test.get())[0] == 401
        assert (await test.get(authorization=bearer(token())))[0] == 418
        assert test.gateway.statistics().plugins["guest"].calls == 1


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_the_order_is_cors_auth_rate_limit(tmp_path: Path, parser: str) -> None:
    route = Route(
        upstream="main",
        auth="idp",
        cors=Cors(origins=["https://app.example"]),
        rate_limit=RateLimit(rate="1/m", key="identity"),
    )
    async with rig(parser=parser, auth=idp(tmp_path), routes=[route]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(
                b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n"
                b"Access-Control-Request-Method: GET\r\n\r\n"
            )
            assert (await client.answer())[0] == 204
            assert (await test.get(origin="https://app.example"))[0] == 401
        given = {"authorization": bearer(token()), "origin": "https://app.example"}
        assert (await test.get(**given))[0] == 200
        status, fields, _ = await test.get(**given)
        assert status == 429
        assert fields["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_request_that_is_led_to_a_route_meets_its_filters(tmp_path: Path, parser: str) -> None:
    call = "(call $set_path (i32.const 1024) (i32.const 6))"
    mover = f'(data (i32.const 1024) "/inner") {REQUEST} {call} (i32.const 0))'
    path = tmp_path / "mover.wasm"
    imports = '(import "blitz" "set_path" (func $set_path (param i32 i32)))'
    path.write_bytes(wasmtime.wat2wasm(f"(module {imports} {HEAD} {mover})"))
    for before in (["mover"], []):
        plugin = Plugin(name="mover", file=str(path), reroute=True, type="request_transformation")
        routes = [Route(upstream="main"), Route(upstream="main", path_prefix="/inner", auth="idp")]
        settings = {"auth": idp(tmp_path), "plugins": [plugin], "routes": routes, "before_routing": before}
        async with rig(parser=parser, **settings) as test:
            client = await test.connect()
            for _ in range(3):
                await client.send(b"GET /outer HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await client.answer())[0] == 401
                await client.send(
                    f"GET /outer HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer(token())}\r\n\r\n".encode()
                )
                status, _, said = await client.answer()
                assert (status, said.split(b"\n")[0]) == (200, b"GET /inner HTTP/1.1"[:10])


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_no_spelling_of_a_path_leads_past_auth(tmp_path: Path, parser: str) -> None:
    routes = [Route(upstream="main"), Route(upstream="main", path_prefix="/admin", auth="idp")]
    async with rig(parser=parser, auth=idp(tmp_path), routes=routes) as test:
        client = await test.connect()
        for path in (
            "/admin",
            "/%61dmin",
            "//admin",
            "/x/../admin",
            "/x/..%2fadmin",
            "/admin%2fx",
            "/admin;a",
            "/x\\..\\admin",
        ):
            await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            status, _, said = await client.answer()
            assert status in (400, 401, 404), path
            assert b"GET" not in said
            if status == 400:
                client = await test.connect()
        await client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("kind", ["json", "common", "combined"])
async def test_the_access_log_names_the_client_and_hides_the_token(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text, wrong = token(claims(sub='ada "x" y')), token() + "x"
    settings = {"auth": idp(tmp_path, source="query:t"), "log": Log(access=kind)}
    async with rig(routes=[Route(upstream="main", auth="idp")], **settings) as test:
        assert (await test.get(f"/?a=1&t={text}&b=2"))[0] == 200
        assert (await test.get(f"/?%74={wrong}"))[0] == 401
    lines = capfd.readouterr().out
    assert "/?a=1&t=***&b=2" in lines
    assert "/?%74=***" in lines
    shown = {"json": 'ada \\"x\\" y', "common": r"ada\x20\x22x\x22\x20y"}
    assert shown.get(kind, shown["common"]) in lines
    for secret in (text, wrong, text.rpartition(".")[2]):
        assert secret not in lines
        assert secret not in caplog.text


async def test_only_routes_with_filters_leave_the_fast_path(tmp_path: Path) -> None:
    limit = RateLimit(rate="1000/s")
    routes = [
        Route(upstream="main"),
        Route(upstream="main", path_prefix="/in", auth="idp", rate_limit=limit),
        Route(upstream="main", path_prefix="/known", auth="idp"),  # see test_known_clients.py
    ]
    async with rig(auth=idp(tmp_path), routes=routes) as test:
        context = test.gateway._context
        entries = {rule.name: rule for rule in context.runtime.short_entries}
        assert set(entries) == {b"route-0", b"route-2"}
        client = await test.connect()
        for _ in range(3):
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.answer())[0] == 200
            await client.send(
                f"GET /in HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer(token())}\r\n\r\n".encode()
            )
            assert (await client.answer())[0] == 200
