"""Routes are chosen by what a path means, on the fast path and outside it; the upstream gets what came."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import wasmtime

from blitz.config import Answer, Plugin, Route

from .harness import rig

pytestmark = pytest.mark.parametrize("parser", ["auto", "h11"])

ROUTES = [
    Route(upstream="main"),
    Route(path_prefix="/admin", answer=Answer(status=403, body="closed")),
]


SPELLINGS = [
    *("/public/../admin", "/public/%2e%2e/admin/x", "//admin", "/%61dmin", "/./admin", "/Admin", "/admin."),
    *("/x%2f..%2fadmin", "/x/..;/admin", "/admin//../x", "/../admin", "/%2e%2e/x", "/admin%2fx", "/admin;x"),
]


@pytest.mark.parametrize("target", ["/admin", "/admin/", "/admin/x%20y", "/admin?x"])
async def test_a_path_is_found_under_its_route(parser: str, target: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        assert (await test.get(target))[0] == 403
        assert test.upstream.connections == []


@pytest.mark.parametrize("target", SPELLINGS)
async def test_two_meanings_are_refused_and_the_gateway_goes_on(parser: str, target: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        client = await test.connect()
        await client.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (400, "close")
        assert await client.closed()
        assert test.upstream.connections == []
        assert (await test.get("/"))[0] == 200


async def test_a_refused_head_request_gets_no_body(parser: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        client = await test.connect()
        await client.send(b"HEAD /../admin HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.answer("HEAD"))[0] == 400
        assert await client.closed()


@pytest.mark.parametrize("target", ["/a/../b", "/a%2fb/./c", "/%61//b", "/a;v=1/b?x=/../admin"])
async def test_the_upstream_gets_the_path_as_it_came(parser: str, target: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        status, _, body = await test.get(target)
        assert status == 200
        assert body.startswith(f"GET {target}\n".encode())


# Sends /old to /new, and lets everything else pass.
MOVES = """(module
  (import "blitz" "set_path" (func $set_path (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/new")
  (func (export "blitz_buffer") (result i32) i32.const 1024)
  (func (export "blitz_buffer_size") (result i32) i32.const 4096)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (if (i32.eq (i32.load (local.get 2)) (i32.const 0x646c6f2f))
      (then (call $set_path (i32.const 0) (i32.const 4))))
    i32.const 0))"""
NEW = Route(path_prefix="/new", answer=Answer(status=203, body="new"))
UNRELATED = Route(host="elsewhere.test", answer=Answer(status=202, body="elsewhere"))


def mover(tmp_path: Path, said: str | None) -> Plugin:
    path = tmp_path / "mover.wasm"
    path.write_bytes(wasmtime.wat2wasm(MOVES))
    return Plugin(name="mover", file=str(path), type=said)


@pytest.mark.parametrize("more", [(), (UNRELATED,)], ids=["", "an-unrelated-route"])
async def test_what_runs_before_routing_chooses_the_route_whatever_routes_there_are(
    parser: str, tmp_path: Path, more: tuple[Route, ...]
) -> None:
    plugin = mover(tmp_path, "request_preprocessing")
    async with rig(parser=parser, routes=[Route(upstream="main"), NEW, *more], plugins=[plugin]) as test:
        assert (await test.get("/old"))[0] == 203
        assert (await test.get("/other"))[0] == 200


async def test_what_is_named_runs_before_routing_although_no_route_lists_it(
    parser: str, tmp_path: Path
) -> None:
    routes = [Route(upstream="main", plugins=[]), msgspec.structs.replace(NEW, plugins=[])]
    plugins = [mover(tmp_path, None)]
    async with rig(parser=parser, routes=routes, plugins=plugins, before_routing=["mover"]) as test:
        assert (await test.get("/old"))[0] == 203
