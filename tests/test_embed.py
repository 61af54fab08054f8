"""Plugins without a gateway: a request in, what becomes of it out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import blitz
from blitz.config import Plugin
from blitz.examine import inspect_plugin

from .cli.commands import PLUGINS

AUTH = PLUGINS / "auth_custom.wasm"
LOGGER = PLUGINS / "request_logger.wasm"
KEYS = {"keys": ["alice:key-of-alice"]}
REQUEST = '(func (export "process_request") (param i32 i32 i32 i32) (result i32)'
MEMORY = """
  (memory (export "memory") 1)
  (func (export "blitz_alloc") (param i32) (result i32) (i32.const 1024))
"""
LOOP = "(loop $l (br $l)) (i32.const 0))"

Write = Callable[[str], Path]


@pytest.fixture
def module(tmp_path: Path, wat: Callable[[str], bytes]) -> Write:
    """module(body) -> path of a .wasm with a memory and an allocator."""

    def write(body: str) -> Path:
        path = tmp_path / "guest.wasm"
        path.write_bytes(wat(f"(module {body})"))
        return path

    return write


def request(*fields: tuple[str, str], method: str = "GET", body: bytes = b"") -> blitz.Request:
    return blitz.Request(method, "/hello?a=1", fields, body, client="192.0.2.7")


async def test_a_request_passes_with_the_edits_of_every_plugin() -> None:
    auth = Plugin(name="auth", file=str(AUTH), config=KEYS)
    async with blitz.open_chain([LOGGER, auth]) as chain:
        passed = await chain.process_request(request(("x-api-key", "key-of-alice"), ("x-other", "stays")))
    assert isinstance(passed, blitz.Continue)
    assert (passed.request.method, passed.request.target) == ("GET", "/hello?a=1")
    assert passed.request.headers == [(b"x-other", b"stays"), (b"x-authenticated-identity", b"alice")]


async def test_a_plugin_may_answer() -> None:
    async with blitz.open_chain([AUTH], config=KEYS) as chain:
        refused = await chain.process_request(request())
    assert isinstance(refused, blitz.Respond)
    assert refused.response.status == 401
    assert refused.response.body == b"unauthorized: a credential is needed\n"
    assert (b"cache-control", b"no-store") in refused.response.headers


async def test_the_same_instances_see_request_and_response(module: Write) -> None:
    # Counts its own calls: the response gets the number of the request.
    file = module(f"""
      (import "blitz" "set_status" (func $set_status (param i32)))
      {MEMORY} (global $calls (mut i32) (i32.const 200))
      {REQUEST} (global.set $calls (i32.add (global.get $calls) (i32.const 1))) (i32.const 0))
      (func (export "process_response") (param i32 i32 i32) (result i32)
        (call $set_status (global.get $calls)) (i32.const 0))""")
    async with blitz.open_chain([file]) as chain:
        with chain.exchange(request()) as one, chain.exchange(request()) as other:
            assert isinstance(await one.request(), blitz.Continue)
            assert isinstance(await other.request(), blitz.Continue)
            assert (await one.response(blitz.Response(500))).status == 201
            assert (await other.response(blitz.Response(500))).status == 201  # an instance of its own


async def test_bodies_are_read_and_replaced(module: Write) -> None:
    file = module(f"""
      (import "blitz" "get_body" (func $get_body (param i32 i32) (result i32)))
      (import "blitz" "set_body" (func $set_body (param i32 i32)))
      {MEMORY} {REQUEST} (local $size i32)
        (local.set $size (call $get_body (i32.const 2048) (i32.const 100)))
        (i32.store8 (i32.const 2048) (i32.const 65))
        (call $set_body (i32.const 2048) (local.get $size))
        (i32.const 0))""")
    async with blitz.open_chain([file]) as chain:
        passed = await chain.process_request(request(method="POST", body=b"a body"))
        assert isinstance(passed, blitz.Continue)
        assert passed.request.body == b"A body"


@pytest.mark.parametrize("failure", ["open", "closed"])
async def test_a_fault_meets_the_failure_policy(module: Write, failure: str) -> None:
    file = module(f"{MEMORY} {REQUEST} unreachable)")
    async with blitz.open_chain([file], failure=failure) as chain:
        for _ in range(3):
            if failure == "open":
                assert isinstance(await chain.process_request(request()), blitz.Continue)
            else:
                with pytest.raises(blitz.PluginTrap, match="guest failed in process_request"):
                    await chain.process_request(request())


async def test_a_loop_ends_at_its_timeout_while_others_run(module: Write) -> None:
    file = module(f"{MEMORY} {REQUEST} {LOOP}")
    ticks = 0
    async with blitz.open_chain([file], timeout="600ms") as chain, trio.open_nursery() as nursery:

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.sleep(0.01)
                ticks += 1

        nursery.start_soon(tick)
        with pytest.raises(blitz.PluginTimeout, match="it ran longer than 600 ms"):
            await chain.process_request(request())
        nursery.cancel_scope.cancel()
    assert ticks >= 5


async def test_a_cancelled_request_frees_its_guest(module: Write) -> None:
    file = module(f"{MEMORY} {REQUEST} {LOOP}")
    # Leaving the block frees the plugins, which fails when an instance is still there.
    async with blitz.open_chain([file], timeout="60s") as chain:
        with trio.move_on_after(0.05) as scope:
            await chain.process_request(request())
        assert scope.cancelled_caught


async def test_a_cancelled_start_leaves_nothing(module: Write) -> None:
    file = module(f'{MEMORY} (func (export "init") (result i32) {LOOP} {REQUEST} (i32.const 0))')
    with trio.move_on_after(0.3) as scope:
        async with blitz.open_chain([file], timeout="60s"):
            pytest.fail("a loop in init ended")
    assert scope.cancelled_caught


async def test_what_cannot_run_is_refused(module: Write, tmp_path: Path) -> None:
    with pytest.raises(blitz.PluginLoadError, match="has no hook"):
        async with blitz.open_chain([module(MEMORY)]):
            pass
    with pytest.raises(blitz.ConfigError, match="no such file"):
        async with blitz.open_chain([tmp_path / "nowhere.wasm"]):
            pass
    with pytest.raises(blitz.ConfigError, match="has the unit"):
        async with blitz.open_chain([AUTH], timeout="5 parsecs"):
            pass


async def test_a_clock_is_there_and_can_be_denied(module: Write) -> None:
    file = module(f"""
      (import "blitz" "now_ms" (func $now_ms (result i64)))
      (import "blitz" "set_status" (func $set_status (param i32)))
      {MEMORY} {REQUEST}
        (call $set_status (i32.add (i32.const 200) (i64.gt_s (call $now_ms) (i64.const 1700000000000))))
        (i32.const 1))""")
    with pytest.raises(blitz.PluginLoadError, match='denied; to allow it, take "clock" out of deny'):
        async with blitz.open_chain([file], deny=["clock"]):
            pass
    with pytest.raises(blitz.ConfigError, match='denied; to allow it, take "clock" out of deny'):
        async with blitz.open_chain([AUTH], deny=["clock"]):
            pass
    async with blitz.open_chain([file]) as chain:
        answered = await chain.process_request(request())
        assert isinstance(answered, blitz.Respond)
        assert answered.response.status == 201  # it is later than November 2023


@pytest.mark.parametrize("field", [("na me", "x"), ("x", "a\r\nb: c"), ("", "x")])
async def test_a_request_that_is_not_http_is_refused(field: tuple[str, str]) -> None:
    async with blitz.open_chain([AUTH], config=KEYS) as chain:
        with pytest.raises(ValueError, match="is not valid HTTP"):
            await chain.process_request(request(field))


async def test_chains_share_nothing() -> None:
    limit = {"requests_per_minute": 1, "burst": 1}
    limiter = PLUGINS / "rate_limiter.wasm"
    async with (
        blitz.open_chain([limiter], config=limit) as one,
        blitz.open_chain([limiter], config=limit) as two,
    ):
        for chain in (one, two):
            assert isinstance(await chain.process_request(request()), blitz.Continue)
            assert isinstance(await chain.process_request(request()), blitz.Respond)


async def test_one_that_sees_parts_of_bodies_is_refused(module: Write) -> None:
    chunk = '(func (export "process_response_chunk") (param i32 i32 i32) (result i32) (i32.const 0))'
    with pytest.raises(blitz.PluginLoadError, match="hooks on parts of bodies"):
        async with blitz.open_chain([module(f"{MEMORY} {chunk}")]):
            pass


def test_inspecting_a_module_names_its_hooks_on_streams(module: Write) -> None:
    chunk = '(func (export "process_request_chunk") (param i32 i32 i32) (result i32) (i32.const 0))'
    end = '(func (export "process_end") (param i32 i32))'
    found = inspect_plugin(str(module(f"{MEMORY} {chunk} {end}")))
    assert (found.refused, found.hooks) == ("", ("process_request_chunk", "process_end"))
