"""Guests share the passes of the event loop: a few time slices in each, however many guests there are."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

from blitz.config import Config, Plugin, Route, Timeouts
from blitz.server.deadline import MAX_AT_ONCE, MAX_LOOKS, TICK, DeadlineWheel, Timer

from .harness import Client, Rig, answering, rig, until
from .test_plugins import HEAD, OK, REQUEST

LOOPING = 40
EXPIRING = 20 * MAX_AT_ONCE
PASSES = 200
LOOP = f"(module {HEAD} {REQUEST} (loop $l (br $l)) (i32.const 0)))"
# About a millisecond, which is less than a slice: it never yields by itself for long.
BUSY = """(local $n i32) (local.set $n (i32.const 1000000))
  (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"""
GET = b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n"
ROUTES = [Route(upstream="main", path_prefix="/guest"), Route(upstream="main", plugins=[])]
END = Timeouts(drain=0.1)

Make = Callable[..., Plugin]


@pytest.fixture
def guest(tmp_path: Path) -> Make:
    def make(wat: str, **settings: Any) -> Plugin:
        file = tmp_path / "guest.wasm"
        file.write_bytes(wasmtime.wat2wasm(wat))
        return Plugin(name="guest", file=str(file), **{"timeout": 60, "max_instances": LOOPING, **settings})

    return make


def guests_of(test: Rig) -> int:
    return test.gateway.statistics().plugins["guest"].live


async def slices_of_passes(test: Rig, passes: int) -> list[int]:
    """How many time slices guests used up in each of so many passes."""
    found = []
    before = test.gateway.statistics().guests.pended
    for _ in range(passes):
        await trio.lowlevel.cancel_shielded_checkpoint()
        now = test.gateway.statistics().guests.pended
        found.append(now - before)
        before = now
    return found


async def send_at_once(test: Rig, count: int, path: bytes) -> list[Client]:
    """So many connections, each with a request that nobody has looked at yet when this returns."""
    clients = [await test.connect() for _ in range(count)]
    await trio.testing.wait_all_tasks_blocked()
    for client in clients:
        os.write(client.stream.socket.fileno(), GET % path)  # without a pass of the loop in between
    return clients


async def reset_all(clients: list[Client]) -> None:
    for client in clients:
        client.stream.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
        await client.stream.aclose()


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_first_slices_are_a_few_per_pass_like_all_others(parser: str, guest: Make) -> None:
    async with rig(answering(OK), parser=parser, plugins=[guest(LOOP)], routes=ROUTES, timeouts=END) as test:
        await send_at_once(test, LOOPING, b"guest")
        slices = []
        with trio.fail_after(40):  # everybody has a slice: nobody is passed over
            while test.gateway._context.turns.held or guests_of(test) < LOOPING:
                slices += await slices_of_passes(test, PASSES // 10)
        slices += await slices_of_passes(test, PASSES)
        # We are now before, now behind those whose turn it is, so that two passes may show as one.
        assert max(slices) <= LOOPING // 4
        assert sum(slices) >= LOOPING
        assert test.gateway.faults() == ()


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_request_without_guests_waits_for_a_few_slices_and_not_for_all(
    parser: str, guest: Make
) -> None:
    async with rig(answering(OK), parser=parser, plugins=[guest(LOOP)], routes=ROUTES, timeouts=END) as test:
        clean = await test.connect()
        await clean.send(GET % b"clean")
        await clean.answer()
        await send_at_once(test, LOOPING, b"guest")
        for _ in range(20):
            before = test.gateway.statistics().guests.pended
            await clean.send(GET % b"clean")
            assert (await clean.answer())[0] == 200
            # An exchange takes some passes: the request, the upstream's (it lives in this loop), the answer.
            assert test.gateway.statistics().guests.pended - before <= LOOPING


async def test_a_quick_guest_is_not_behind_all_that_loop(guest: Make, tmp_path: Path) -> None:
    file = tmp_path / "quick.wasm"
    file.write_bytes(wasmtime.wat2wasm(f"(module {HEAD} {REQUEST} (i32.const 0)))"))
    quick = Plugin(name="quick", file=str(file))
    routes = [
        Route(upstream="main", path_prefix="/guest", plugins=["guest"]),
        Route(upstream="main", plugins=["quick"]),
    ]
    async with rig(answering(OK), plugins=[guest(LOOP), quick], routes=routes, timeouts=END) as test:
        await send_at_once(test, LOOPING, b"guest")
        await until(lambda: test.gateway.statistics().guests.pended > 2 * LOOPING)
        client = await test.connect()
        for _ in range(10):
            before = test.gateway.statistics().guests.pended
            await client.send(GET % b"quick")
            assert (await client.answer())[0] == 200
            assert test.gateway.statistics().guests.pended - before <= 2 * LOOPING


async def test_guests_that_end_within_their_slice_have_a_budget_too(guest: Make) -> None:
    plugin = guest(f"(module {HEAD} {REQUEST} {BUSY} (i32.const 0)))", warm=LOOPING)
    async with rig(answering(OK), parser="h11", plugins=[plugin], routes=ROUTES, timeouts=END) as test:
        clients = await send_at_once(test, LOOPING, b"guest")
        ended = []
        before = 0
        while before < LOOPING:
            await trio.lowlevel.cancel_shielded_checkpoint()
            now = test.gateway.statistics().plugins["guest"].calls
            ended.append(now - before)
            before = now
        assert max(ended) <= LOOPING // 2
        for client in clients:
            assert (await client.answer())[0] == 200
        assert test.gateway.faults() == ()


async def test_who_leaves_the_line_leaves_nothing_behind(guest: Make) -> None:
    async with rig(answering(OK), plugins=[guest(LOOP)], routes=ROUTES, timeouts=END) as test:
        clients = await send_at_once(test, LOOPING, b"guest")
        turns = test.gateway._context.turns
        await until(lambda: turns.held)
        await reset_all(clients[::2])
        await until(lambda: test.gateway.statistics().plugins["guest"].live <= LOOPING // 2)
        for connection in list(test.gateway._context.connections):
            connection.cancel()
        await until(lambda: test.gateway.statistics().plugins["guest"].live == 0)
        assert not turns.waiting
        client = await test.connect()
        await client.send(GET % b"clean")
        assert (await client.answer())[0] == 200


async def test_cleanups_are_a_few_per_pass(guest: Make) -> None:
    cleanup = f'(func (export "cleanup") (result i32) {BUSY} (i32.const 0))'
    plugin = guest(f"(module {HEAD} {cleanup} {REQUEST} (i32.const 0)))", warm=LOOPING)
    async with rig(answering(OK), plugins=[plugin], routes=ROUTES, timeouts=END) as test:
        engine = test.gateway._engine
        assert engine.statistics().instances_live >= LOOPING
        async with trio.open_nursery() as nursery:
            ended = []

            async def watch() -> None:
                before = engine.statistics().instances_live
                while before:
                    await trio.lowlevel.checkpoint()
                    now = engine.statistics().instances_live
                    ended.append(before - now)
                    before = now

            nursery.start_soon(watch)
            await trio.lowlevel.checkpoint()
            await test.gateway.reload(
                Config(routes=[Route(upstream="main")], upstreams=test.config.upstreams)
            )
        assert sum(ended) >= LOOPING
        # A cleanup takes about a millisecond, and so long is the budget of a pass.
        assert max(ended) <= LOOPING // 2


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_connections_that_expire_together_end_a_few_per_pass(parser: str) -> None:
    for keepalive in (0.3, 2, 20):
        ended = await ends_per_pass(parser, keepalive)
        if ended:
            break
    assert sum(ended) == EXPIRING
    assert max(ended) <= 4 * MAX_AT_ONCE


async def ends_per_pass(parser: str, keepalive: float) -> list[int]:
    """How many of EXPIRING idle connections ended in each pass; none: some ended before all were idle."""
    timeouts = Timeouts(keepalive=keepalive, drain=0.1)
    async with rig(answering(OK), parser=parser, timeouts=timeouts) as test:
        clients = [await test.connect() for _ in range(EXPIRING)]
        for client in clients:
            await client.send(GET % b"a")
        for client in clients:
            assert (await client.answer())[0] == 200
        connections = test.gateway._context.connections
        ended = []
        before = len(connections)
        if before < EXPIRING:
            return []
        while before:
            await trio.lowlevel.checkpoint()
            ended.append(before - len(connections))
            before = len(connections)
        return ended


async def test_connections_that_wait_when_a_drain_begins_are_woken_a_few_at_a_time() -> None:
    count = 20 * MAX_AT_ONCE
    async with rig(answering(OK), timeouts=Timeouts(drain=5)) as test:
        clients = [await test.connect() for _ in range(count)]
        for client in clients:
            await client.send(GET % b"a")
            await client.answer()
        face = test.gateway._context.fast_path._face
        await until(lambda: face.clients == count)
        left = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.drain)
            before = count
            while before:
                await trio.lowlevel.checkpoint()
                left.append(before - int(face.clients))
                before = int(face.clients)
        assert sum(left) == count
        assert max(left) <= 2 * MAX_AT_ONCE


async def test_a_drain_cuts_off_a_few_per_pass() -> None:
    async def never(_: object) -> None:
        await trio.sleep_forever()

    async with rig(never) as test:
        count = 8 * MAX_AT_ONCE
        for _ in range(count):
            await (await test.connect()).send(GET % b"a")
        await until(lambda: test.gateway.statistics().in_flight == count)
        cut = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.drain, 0.1)
            before = 0
            with trio.fail_after(20):
                while before < count:
                    await trio.lowlevel.checkpoint()
                    _, now = test.gateway.drain_statistics()
                    cut.append(now - before)
                    before = now
        assert max(cut) <= 2 * MAX_AT_ONCE  # tasks of a pass run in any order: two passes may be seen as one


async def test_timers_that_were_put_off_are_looked_at_a_part_at_a_time() -> None:
    wheel = DeadlineWheel()
    timers = [Timer(wheel, lambda: None) for _ in range(3 * MAX_LOOKS)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        for timer in timers:
            timer.arm(2 * TICK, "a test")
        look = timers[0]._next_look
        for timer in timers:
            timer.arm(60, "a test")
        looked = []
        before = 0
        with trio.fail_after(20):
            while before < len(timers):
                await trio.lowlevel.checkpoint()
                now = sum(timer._next_look != look for timer in timers)
                looked.append(now - before)
                before = now
        nursery.cancel_scope.cancel()
    assert max(looked) <= 2 * MAX_LOOKS
    assert not any(timer.expired for timer in timers)
