"""What routes ask besides host and path, on the fast path and outside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import wasmtime

from blitz.config import Answer, Config, Listener, Plugin, Route
from blitz.config.route_keys import Wanted
from blitz.gateway_context import open_gateway

from .harness import Client, rig
from .test_plugins import HEAD, REQUEST

pytestmark = pytest.mark.parametrize("parser", ["auto", "h11"])


def says(text: str, **match: object) -> Route:
    return Route(answer=Answer(body=text), **match)  # type: ignore[arg-type]


ROUTES = [
    says("any"),
    says("host", hosts=["a.org", "*.a.org"]),
    says("exact", path="/exact"),
    says("post", methods=["POST"], path_prefix="/form"),
    says("v2", headers={"X-Version": "2"}),
    says("beta", query={"beta": Wanted(present=True)}),
    says("only", path="/only", methods=["PUT"], host="only.org"),
]


async def ask(test: object, head: str) -> tuple[int, dict[str, str], bytes]:
    client = await test.connect()  # type: ignore[attr-defined]
    await client.send((head + "\r\n\r\n").encode())
    answer: tuple[int, dict[str, str], bytes] = await client.answer()
    return answer


CASES = [
    ("GET / HTTP/1.1\r\nHost: x", "any"),
    ("GET / HTTP/1.1\r\nHost: www.a.org", "host"),
    ("GET /exact?x HTTP/1.1\r\nHost: x", "exact"),
    ("GET /exact/x HTTP/1.1\r\nHost: x", "any"),
    ("GET /form HTTP/1.1\r\nHost: x", "any"),
    ("POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 0", "post"),
    ("GET / HTTP/1.1\r\nHost: x\r\nx-version: 2", "v2"),
    ("GET /?beta HTTP/1.1\r\nHost: x", "beta"),
]


async def test_each_request_finds_its_route(parser: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        for head, expected in CASES:
            assert (await ask(test, head))[2] == expected.encode(), head


async def test_what_may_mean_two_routes_is_refused(parser: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        for head in (
            "GET /exact/ HTTP/1.1\r\nHost: x",
            "GET / HTTP/1.1\r\nHost: x\r\nX-Version: 2\r\nX-Version: 3",
            "GET / HTTP/1.1\r\nHost: x\r\nX.Version: 2",
            "GET /?a;beta HTTP/1.1\r\nHost: x",
            "POST /a/..;/form HTTP/1.1\r\nHost: x\r\nContent-Length: 0",
        ):
            assert (await ask(test, head))[0] == 400, head


async def test_only_the_method_fails_is_405_with_the_methods_that_do_not(parser: str) -> None:
    routes = [says("read", methods=["GET"], path="/a"), says("write", methods=["PUT"], path="/a")]
    async with rig(parser=parser, routes=routes) as test:
        status, fields, _ = await ask(test, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0")
        assert (status, fields["allow"]) == (405, "GET, HEAD, PUT")
        assert (await ask(test, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 0"))[0] == 404


async def test_a_route_of_one_listener(parser: str) -> None:
    config = Config(
        listen=[Listener(address="127.0.0.1:0", name="inner"), "127.0.0.1:0"],
        routes=[says("inner", listen="inner"), says("outer")],
    )
    async with open_gateway(config) as gateway:
        for address, expected in zip(gateway.addresses, (b"inner", b"outer"), strict=True):
            stream = await trio.open_tcp_stream(*address)
            async with stream:
                client = Client(stream)
                for _ in range(2):
                    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert (await client.answer())[2] == expected


# Sets x-version to 2 behind the choice of a route.
GUEST = f"""(module {HEAD} (data (i32.const 32) "x-version2") {REQUEST}
  (call $set_header (i32.const 32) (i32.const 9) (i32.const 41) (i32.const 1)) (i32.const 0)))"""


async def test_a_plugin_leads_no_request_past_a_route_by_what_it_asks(parser: str, tmp_path: Path) -> None:
    file = tmp_path / "p.wasm"
    file.write_bytes(wasmtime.wat2wasm(GUEST))
    plugins = [Plugin(name="p", file=str(file))]
    routes = [says("any", plugins=["p"]), says("v2", headers={"x-version": "2"}, plugins=[])]
    async with rig(parser=parser, routes=routes, plugins=plugins) as test:
        assert (await test.get("/"))[0] == 500
