"""All hostile guests in one gateway, and a clean route beside them that nobody disturbs."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import blitz
from blitz.config import Config, Plugin, Route, Upstream
from blitz.errors import BlitzError
from tests.conftest import compile_wat
from tests.server.harness import Rig, rig

from .guests import GUESTS, HostileGuest
from .modules import debug_bombs, itanium, trapping

# What the gateway answers, by outcome. A guest that is cancelled or fails is the gateway's 500.
STATUS = {"trap": 500, "timeout": 500, "verdict": 500, "passes": 200, "logs": 200}
# Seconds of one call. Busy guests take turns, so those that come to an end need time among the others.
TIMEOUT, PATIENCE = 0.1, 10.0


def running_guests() -> list[HostileGuest]:
    """Those that load and start; cleanup's misbehaviour comes when the gateway ends."""
    return [guest for guest in GUESTS if guest.outcome in STATUS or guest.outcome.startswith("cleanup-")]


def plugin(directory: Path, guest: HostileGuest) -> Plugin:
    path = directory / f"{guest.name}.wasm"
    path.write_bytes(guest.wasm)
    timeout = PATIENCE if guest.outcome in ("passes", "logs") else TIMEOUT
    return Plugin(name=guest.name, file=str(path), timeout=timeout, memory=2**21)


async def attack(test: Rig, guest: HostileGuest, times: int) -> None:
    for _ in range(times):
        status, _, body = await test.get(f"/{guest.name}/")
        assert status == STATUS.get(guest.outcome, 200), (guest.name, status, body)


@pytest.mark.slow
async def test_a_clean_route_among_all_of_them(tmp_path: Path) -> None:
    guests = running_guests()
    routes = [Route(upstream="main", path_prefix=f"/{guest.name}/", plugins=[guest.name]) for guest in guests]
    routes.append(Route(upstream="main", plugins=[]))
    served = 0
    async with rig(plugins=[plugin(tmp_path, guest) for guest in guests], routes=routes) as test:

        async def neighbour(stop: trio.Event) -> None:
            nonlocal served
            client = await test.connect()
            while not stop.is_set():
                await client.send(b"GET /clean HTTP/1.1\r\nHost: test\r\n\r\n")
                status, _, body = await client.answer()
                assert (status, body.split(b"\n")[0]) == (200, b"GET /clean")
                served += 1

        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(neighbour, stop)
            async with trio.open_nursery() as attackers:
                for guest in guests:
                    attackers.start_soon(attack, test, guest, 3)
            stop.set()
    assert served > 10


# Its start section is well-behaved where the plugin is tried out, and does this later.
LATER = {
    "asks for a string": "(call $get_property (i32.const 0) (i32.const 16) (i32.const 11))",
    "asks with a bad pointer": "(call $get_property (i32.const -1) (i32.const 16) (i32.const 11))",
    "traps": "unreachable",
    "is endless": "(loop $l (br $l))",
    "recurses": "(call $start)",
}


@pytest.mark.parametrize("later", [pytest.param(code, id=name) for name, code in LATER.items()])
async def test_a_start_section_may_do_otherwise_each_time(tmp_path: Path, later: str) -> None:
    text = f"""(module
      (import "env" "kv_incr" (func $kv_incr (param i32 i32 i64 i64) (result i64)))
      (import "wbg" "__wbg_getproperty_0123456789abcdef" (func $get_property (param i32 i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 16) "plugin.name")
      (func (export "__wbindgen_malloc") (param i32 i32) (result i32) (i32.const 1024))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
      (func $start
        (if (i64.gt_s (call $kv_incr (i32.const 16) (i32.const 1) (i64.const 1) (i64.const 0)) (i64.const 2))
          (then {later})))
      (start $start))"""
    (tmp_path / "fickle.wasm").write_bytes(compile_wat(text))
    fickle = Plugin(name="fickle", file=str(tmp_path / "fickle.wasm"), instances="per-request", timeout=0.1)
    routes = [
        Route(upstream="main", path_prefix="/f/", plugins=["fickle"]),
        Route(upstream="main", plugins=[]),
    ]
    async with rig(plugins=[fickle], routes=routes) as test:
        seen = [(await test.get("/f/"))[0] for _ in range(5)]
        assert set(seen) <= {200, 500}
        assert later.startswith("(call $get_property (i32.const 0)") == (seen[-1] == 200)
        assert (await test.get("/clean"))[0] == 200


async def test_traps_in_modules_made_for_it_hold_nobody_up(tmp_path: Path) -> None:
    """Names that double, and debug information: where either is read at a trap, one takes seconds."""
    bombs = dict(debug_bombs(6))
    modules = {
        "doubling": trapping([itanium(20)] * 22),
        "causes": trapping([b"\n    0: " * 9_000] * 22),
        "ranges": trapping([b"f"] * 22, after=bombs["units that share ranges"]),
        "nested": trapping([b"f"] * 22, after=bombs["entries that lie in one another"]),
    }
    plugins = []
    for name, wasm in modules.items():
        (tmp_path / f"{name}.wasm").write_bytes(wasm)
        plugins.append(Plugin(name=name, file=str(tmp_path / f"{name}.wasm")))
    routes = [Route(upstream="main", path_prefix=f"/{name}/", plugins=[name]) for name in modules]
    async with rig(plugins=plugins, routes=[*routes, Route(upstream="main", plugins=[])]) as test:
        with trio.fail_after(PATIENCE):
            for name in modules:
                for _ in range(5):
                    status, _, _ = await test.get(f"/{name}/")
                    assert status in (500, 503)
                status, _, _ = await test.get("/clean")
                assert status == 200
        frames = {fault.plugin: fault.frames for fault in test.gateway.faults() if fault.kind == "trap"}
        assert set(frames) == set(modules) and all(frames.values())


@pytest.mark.parametrize(
    "guest",
    [
        pytest.param(guest, id=guest.name)
        for guest in GUESTS
        if guest.outcome == "refused" or guest.outcome.startswith("start-")
    ],
)
async def test_one_that_does_not_start_is_refused_at_load(tmp_path: Path, guest: HostileGuest) -> None:
    config = Config(
        listen=["127.0.0.1:0"],
        upstreams={"main": Upstream(endpoints=["http://127.0.0.1:9"])},
        routes=[Route(upstream="main")],
        plugins=[plugin(tmp_path, guest)],
    )
    with pytest.raises((ExceptionGroup, BlitzError)) as caught:
        async with blitz.open_gateway(config):
            pass
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):  # one for each nursery that it went through
        (error,) = error.exceptions
    text = "longer than 100 ms" if guest.outcome == "start-timeout" else guest.text
    assert isinstance(error, BlitzError)
    assert text in str(error)
