"""A plugin that changes path or host behind the router leads nobody past another route's plugins.

The referee is the router itself: what the upstream gets leads, however it is read, to the route whose plugins
have run.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from blitz.config import Answer, Plugin, Route
from blitz.errors import ClientError
from blitz.routing.match import Router, Rule

from .harness import Client, Served, rig, until
from .test_plugins import HEAD, MARK, OK, REQUEST

ENGINES = pytest.mark.parametrize("parser", ["auto", "h11"])

IMPORTS = """
  (import "blitz" "get_header" (func $get_header (param i32 i32 i32 i32) (result i32)))
  (import "blitz" "set_path" (func $set_path (param i32 i32)))"""
# x-to and x-host say where the request is to go.
MOVER = f"""
  (data (i32.const 32) "x-to") (data (i32.const 40) "x-host") (data (i32.const 48) "host")
  {REQUEST} (local $n i32)
    (local.set $n (call $get_header (i32.const 32) (i32.const 4) (i32.const 1024) (i32.const 30000)))
    (if (i32.ge_s (local.get $n) (i32.const 0))
      (then (call $set_path (i32.const 1024) (local.get $n))))
    (local.set $n (call $get_header (i32.const 40) (i32.const 6) (i32.const 1024) (i32.const 30000)))
    (if (i32.ge_s (local.get $n) (i32.const 0))
      (then (call $set_header (i32.const 48) (i32.const 4) (i32.const 1024) (local.get $n))))
    (i32.const 0))"""
GUARD = f"{REQUEST} {MARK} (i32.const 0))"
PASS = f"{REQUEST} (i32.const 0))"
MARKED = b"x-guest: was here"


@pytest.fixture
def guest(tmp_path: Path) -> Any:
    def make(name: str, body: str, imports: str = "", **settings: Any) -> Plugin:
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wasmtime.wat2wasm(f"(module {imports} {HEAD} {body})"))
        return Plugin(name=name, file=str(path), response_body="none", **settings)

    return make


def site(guest: Any, order: int, **mover: Any) -> dict[str, Any]:
    """/ has three plugins, the mover at the place that *order* gives it; /admin has a guard."""
    plugins = [
        guest("first", PASS, order=1),
        guest("last", PASS, order=3),
        guest("mover", MOVER, IMPORTS, order=order, **mover),
        guest("guard", GUARD, order=9),
    ]
    routes = [
        Route(name="open", upstream="main", plugins=["first", "mover", "last"]),
        Route(name="admin", path_prefix="/admin", upstream="main", plugins=["first", "guard"]),
        Route(name="shut", path_prefix="/shut", answer=Answer(status=403), plugins=[]),
    ]
    return {"plugins": plugins, "routes": routes}


ROUTER = Router([Rule(b"", b"/", "open"), Rule(b"", b"/admin", "admin"), Rule(b"", b"/shut", "shut")])


def route_of(path: str) -> str:
    try:
        return ROUTER.find(b"test", path.encode()) or "none"
    except ClientError:
        return "several"


PATHS = [
    *(
        "/admin/secret",
        "/admin",
        "/admin?x",
        "/shut",
        "/x",
        "/x?/admin",
        "/start?other",
        "/x/a%2fb",
        "/x//y;a",
    ),
    *(
        "/%61dmin",
        "//admin/x",
        "/x/../admin",
        "/admin%2fx",
        "/x/..;/admin",
        "/x%2f..%2fadmin",
        "/Admin",
        "/../admin",
    ),
    *("/admin;a", "/%2561dmin", "/admin.", "/x%5c..%5cadmin", "/./admin", "/shut/../x"),
]


def random_path(chance: random.Random) -> str:
    pieces = ["/", "/", "%2f", "/../", "/./", "//", ";a/", "x", "admin", "admin", "%61dmin", "shut", "%2e%2e"]
    pieces += ["%5c", "?"]
    return "/" + "".join(chance.choices(pieces, k=chance.randint(1, 6)))


async def play(client: Client, to: str) -> tuple[int, bytes]:
    await client.send(f"GET /start HTTP/1.1\r\nHost: test\r\nX-To: {to}\r\n\r\n".encode())
    status, _, body = await client.answer()
    return status, body


@ENGINES
@pytest.mark.parametrize("order", [0, 2, 4], ids=["before", "between", "behind"])
@pytest.mark.parametrize("failure", ["closed", "open"])
async def test_nobody_is_led_past_the_plugins_of_another_route(
    parser: str, guest: Any, order: int, failure: str
) -> None:
    chance = random.Random(order)
    paths = [*PATHS, *(random_path(chance) for _ in range(40))]
    seen = set()
    async with rig(parser=parser, **site(guest, order, failure=failure)) as test:
        client = await test.connect()
        for path in paths:
            status, body = await play(client, path)
            route = route_of(path)
            seen.add(route)
            if route == "open":
                assert (status, body.split(b"\n")[0]) == (200, f"GET {path}".encode())
            else:
                assert (status, b"GET" in body) == (500, False), path
        assert (await play(client, "/x"))[0] == 200  # the connection went on
        fault = test.gateway.faults()[0]
        assert (fault.plugin, fault.kind, fault.route) == ("mover", "reroute", "open")
        assert "to route admin" in fault.message and "reroute = true" in fault.message
        assert all(fault.kind == "reroute" for fault in test.gateway.faults())
    assert seen == {"open", "admin", "shut", "several"}


@ENGINES
@pytest.mark.parametrize("order", [0, 2, 4], ids=["before", "between", "behind"])
async def test_with_leave_the_plugins_of_the_new_route_run_too(parser: str, guest: Any, order: int) -> None:
    chance = random.Random(order)
    paths = [*PATHS, *(random_path(chance) for _ in range(40))]
    async with rig(parser=parser, **site(guest, order, reroute=True)) as test:
        client = await test.connect()
        for path in paths:
            status, body = await play(client, path)
            expected = {
                "open": (200, False),
                "admin": (200, True),
                "shut": (403, False),
                "several": (500, False),
            }
            assert (status, MARKED in body) == expected[route_of(path)], path
            if status == 200:
                assert body.startswith(f"GET {path}\n".encode())
        calls = {name: plugin.calls for name, plugin in test.gateway.statistics().plugins.items()}
        assert (
            calls["first"] == calls["mover"] == calls["last"] == len(paths)
        )  # each once, also where both have it


@ENGINES
async def test_leave_for_one_plugin_is_none_for_another(parser: str, guest: Any) -> None:
    plugins = [
        guest("bad", MOVER, IMPORTS, order=1),
        guest("good", MOVER.replace("x-to", "x-at"), IMPORTS, order=2, reroute=True),
    ]
    routes = [Route(upstream="main"), Route(path_prefix="/admin", upstream="main", plugins=[])]
    head = "GET /start HTTP/1.1\r\nHost: test\r\n{}\r\n"
    # On every route they would run before a route is chosen.
    async with rig(parser=parser, plugins=plugins, routes=routes) as test:
        client = await test.connect()
        for fields, status in [
            ("X-At: /admin/x\r\n", 200),
            ("X-To: /admin/x\r\n", 500),
            ("X-To: /admin/x\r\nX-At: /admin/y\r\n", 500),
            ("X-To: /x\r\nX-At: /admin/y\r\n", 500),
            ("X-To: /start?q\r\nX-At: /admin/y\r\n", 200),  # that is the path that it had
        ]:
            await client.send(head.format(fields).encode())
            assert (await client.answer())[0] == status, fields
        assert {fault.plugin for fault in test.gateway.faults()} == {"bad"}


@ENGINES
@pytest.mark.parametrize("reroute", [False, True])
async def test_a_host_set_late_leads_nobody_past_either(parser: str, guest: Any, reroute: bool) -> None:
    plugins = [guest("mover", MOVER, IMPORTS, order=1, reroute=reroute), guest("guard", GUARD, order=2)]
    routes = [
        Route(upstream="main", plugins=["mover"]),
        Route(host="admin.test", upstream="main", plugins=["guard"]),
        Route(host="*.wild.test", upstream="main", plugins=["guard"]),
    ]
    async with rig(parser=parser, plugins=plugins, routes=routes) as test:
        client = await test.connect()
        for host in [
            "admin.test",
            "ADMIN.test",
            "admin.test:8080",
            "admin.test.",
            "a.wild.test",
            "other",
            "Test:1",
        ]:
            await client.send(f"GET / HTTP/1.1\r\nHost: test\r\nX-Host: {host}\r\n\r\n".encode())
            status, _, body = await client.answer()
            if host in ("other", "Test:1"):
                assert (status, MARKED in body) == (200, False)
            else:
                assert (status, MARKED in body) == ((200, True) if reroute else (500, False)), host


@ENGINES
async def test_plugins_before_routing_may_lead_anywhere(parser: str, guest: Any) -> None:
    routes = [
        Route(upstream="main", plugins=["mover"]),
        Route(path_prefix="/admin", upstream="main", plugins=["mover", "guard"]),
    ]
    plugins = [guest("mover", MOVER, IMPORTS, order=1), guest("guard", GUARD, order=2)]
    async with rig(parser=parser, plugins=plugins, routes=routes, before_routing=["mover"]) as test:
        client = await test.connect()
        for path, marked in [("/admin/x", True), ("/x", False)]:
            status, body = await play(client, path)
            assert (status, MARKED in body) == (200, marked)


@ENGINES
async def test_a_single_prefix_is_a_route_to_leave_as_well(parser: str, guest: Any) -> None:
    for leave, expected in [(False, 500), (True, 404)]:
        plugins = [guest("mover", MOVER, IMPORTS, type="authentication", reroute=leave)]
        routes = [Route(path_prefix="/start", upstream="main")]
        async with rig(parser=parser, plugins=plugins, routes=routes) as test:
            client = await test.connect()
            assert (await play(client, "/start/x"))[0] == 200
            assert (await play(client, "/other"))[0] == expected
            assert (await play(client, "/start"))[0] == 200


@ENGINES
async def test_the_new_routes_plugins_see_the_body(parser: str, guest: Any) -> None:
    body_import = '(import "blitz" "get_body" (func $get_body (param i32 i32) (result i32)))'
    reader = f"""{REQUEST}
        (if (i32.eq (call $get_body (i32.const 1024) (i32.const 100)) (i32.const 5)) (then {MARK}))
        (i32.const 0))"""
    plugins = [
        guest("mover", MOVER, IMPORTS, order=1, reroute=True),
        guest("reader", reader, body_import, order=2),
    ]
    routes = [
        Route(upstream="main", plugins=["mover"]),
        Route(path_prefix="/admin", upstream="main", plugins=["reader"]),
    ]
    async with rig(parser=parser, plugins=plugins, routes=routes) as test:
        client = await test.connect()
        head = "POST / HTTP/1.1\r\nHost: test\r\nX-To: /admin\r\nContent-Length: 5\r\n\r\nhello"
        await client.send(head.encode())
        status, _, body = await client.answer()
        assert (status, MARKED in body) == (200, True)
        assert body.startswith(b"POST /admin\n") and body.endswith(b"\n\nhello")


async def test_two_that_lead_to_each_others_route_come_to_an_end(guest: Any) -> None:
    go_b = MOVER.replace("x-to", "x-b1")
    go_a = MOVER.replace("x-to", "x-a1")
    plugins = [
        guest("to_b", go_b, IMPORTS, order=1, reroute=True),
        guest("to_a", go_a, IMPORTS, order=2, reroute=True),
    ]
    routes = [
        Route(path_prefix="/a", upstream="main", plugins=["to_b"]),
        Route(path_prefix="/b", upstream="main", plugins=["to_a"]),
    ]
    async with rig(plugins=plugins, routes=routes) as test:
        _, _, body = await test.get("/a", x_b1="/b", x_a1="/a/again")
        assert body.startswith(b"GET /a/again\n")


@pytest.mark.parametrize(("to", "on_the_fast_path"), [("/stall/x", 1), ("/admin/stall", 0)])
async def test_a_change_that_stays_on_the_route_stays_on_the_fast_path(
    guest: Any, to: str, on_the_fast_path: int
) -> None:
    release = trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b"stall" in (await served.head()).partition(b"\r\n")[0]:
                await release.wait()
            await served.send(OK)

    async with rig(script, **site(guest, 2, reroute=True)) as test:
        client = await test.connect()
        for path in ["/x", "/y", "/z"]:  # the first opens the upstream connection that the fast path borrows
            assert (await play(client, path))[0] == 200
        await client.send(f"GET /start HTTP/1.1\r\nHost: test\r\nX-To: {to}\r\n\r\n".encode())
        await until(lambda: test.gateway.statistics().in_flight == 1)
        assert test.gateway._context.fast_path.in_flight == on_the_fast_path
        release.set()
        assert (await client.answer())[0] == 200
