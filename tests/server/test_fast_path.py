"""The fast path decides each exchange anew: what a connection asked before, or ran on, never counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

import blitz
from blitz.config import Answer, Http, Plugin, Route, Timeouts
from blitz.http.heads import span_bytes
from blitz.server import fast_slots, fast_steps
from blitz.server.route import find_route

from .harness import Client, Rig, Served, answering, rig, until
from .test_plugins import HEAD, REQUEST

Make = Callable[..., Plugin]
LOOP = "(loop $l (br $l)) (i32.const 0))"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def guest(tmp_path: Path) -> Make:
    def make(body: str, imports: str = "", **settings: Any) -> Plugin:
        path = tmp_path / "guest.wasm"
        path.write_bytes(wasmtime.wat2wasm(f"(module {imports} {HEAD} {body})"))
        return Plugin(name="guest", file=str(path), **settings)

    return make


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


async def test_a_request_behind_a_short_one_is_routed_by_itself() -> None:
    routes = [Route(path_prefix="/open", upstream="main"), Route(path_prefix="/shut", answer=Answer(403))]
    async with rig(answering(OK), routes=routes) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/open"))
            assert (await client.answer())[0] == 200
        for path, status in [("/shut", 403), ("/open", 200), ("/open", 200), ("/nowhere", 404)]:
            await client.send(get(path))
            assert (await client.answer())[0] == status, path


async def test_a_body_behind_a_short_request_is_routed_by_itself() -> None:
    routes = [Route(path_prefix="/open", upstream="main"), Route(path_prefix="/shut", answer=Answer(403))]
    async with rig(answering(OK), routes=routes) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/open"))
            assert (await client.answer())[0] == 200
        await client.send(b"POST /shut HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.answer())[0] == 403


async def one_after_the_other(served: Served) -> None:
    """Answer at once; a request for /stall never."""
    while True:
        if b" /stall " in await served.head():
            await trio.sleep_forever()
        await served.send(OK)


async def on_the_fast_path(test: Rig) -> Client:
    """A connection that the fast path has served: the first exchange opens the upstream connection."""
    client = await test.connect()
    for _ in range(3):
        await client.send(get("/"))
        assert (await client.answer())[0] == 200
    return client


async def test_a_reload_that_ends_the_fast_path_reaches_connections_in_it() -> None:
    async with rig(one_after_the_other) as test:
        client = await on_the_fast_path(test)
        without = blitz.Config(
            routes=test.config.routes,
            upstreams=test.config.upstreams,
            timeouts=Timeouts(first_byte=0.1),
            http=Http(parser="h11"),
        )
        await test.gateway.reload(without)
        with trio.fail_after(20):
            await client.send(get("/stall"))
            assert (await client.answer())[0] == 504


async def test_an_answer_during_a_drain_says_close() -> None:
    release, asked = trio.Event(), trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b" /slow " in await served.head():
                asked.set()
                await release.wait()
            await served.send(OK)

    async with rig(script) as test:
        client = await on_the_fast_path(test)
        await client.send(get("/slow"))
        await asked.wait()
        test.nursery.start_soon(test.gateway.drain)
        await trio.testing.wait_all_tasks_blocked()
        release.set()
        status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (200, "close")
        assert await client.closed()


# ------------------------------------------------------------ what the fast path shares with the general path


async def test_exchanges_of_the_fast_path_are_counted_and_seen() -> None:
    async with rig(one_after_the_other, timeouts=Timeouts(drain=0.2)) as test:
        client = await on_the_fast_path(test)
        assert test.gateway.statistics().counters.exchanges == 3
        await client.send(get("/stall"))
        await until(lambda: test.gateway.statistics().in_flight == 1)
        assert test.gateway.statistics().counters.exchanges == 4


async def test_an_instance_is_replaced_after_max_requests_on_the_fast_path(guest: Make) -> None:
    plugin = guest(f"{REQUEST} (i32.const 0))", max_requests=3)
    async with rig(answering(OK), plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(10):
            await client.send(get("/"))
            assert (await client.answer())[0] == 200
        statistics = test.gateway.statistics().plugins["guest"]
        assert (statistics.calls, statistics.made, statistics.live) == (10, 4, 1)


async def test_a_plugin_that_answers_on_the_fast_path_spares_the_upstream(guest: Make) -> None:
    imports = '(import "env" "set_status" (func $status (param i32)))'
    plugin = guest(f"{REQUEST} (call $status (i32.const 403)) (i32.const 1))", imports=imports)
    async with rig(answering(OK), plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/"))
            status, fields, _ = await client.answer()
            assert status == 403
            assert "date" in fields
        assert not test.upstream.connections


async def test_a_guest_that_loops_on_the_fast_path_is_cancelled_and_others_are_served(guest: Make) -> None:
    plugin = guest(f"{REQUEST} {LOOP}", timeout=0.2)
    routes = [
        Route(path_prefix="/loop", upstream="main", plugins=["guest"]),
        Route(path_prefix="/", upstream="main", plugins=[]),
    ]
    async with rig(answering(OK), plugins=[plugin], routes=routes) as test:
        served = await on_the_fast_path(test)
        loops = [await test.connect() for _ in range(8)]
        for client in loops:
            await client.send(get("/loop"))
        for _ in range(20):
            await served.send(get("/"))
            assert (await served.answer())[0] == 200
        for client in loops:
            with trio.fail_after(20):
                assert (await client.answer())[0] == 500


async def test_hosts_and_clients_of_a_trusted_proxy_are_told_anew_for_each_request() -> None:
    seen: list[bytes] = []

    async def script(served: Served) -> None:
        while True:
            seen.append(await served.head())
            await served.send(OK)

    async with rig(script, main={"host": "inner.test"}, trusted_proxies=["127.0.0.1"]) as test:
        client = await test.connect()
        for n in range(1, 5):
            lines = f"GET / HTTP/1.1\r\nHost: outer{n}.test\r\nX-Forwarded-For: 192.0.2.{n}\r\n\r\n"
            await client.send(lines.encode())
            assert (await client.answer())[0] == 200
        for n, head in enumerate(seen, start=1):
            fields = head.lower()
            assert b"host: inner.test\r\n" in fields
            assert f"x-forwarded-host: outer{n}.test\r\n".encode() in fields
            assert f"x-forwarded-for: 192.0.2.{n}".encode() in fields


async def test_a_connection_that_others_wait_for_goes_from_the_fast_path_to_them() -> None:
    release = trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b" /slow " in await served.head():
                await release.wait()
            await served.send(OK)

    async with rig(script, main={"max_connections": 1}) as test:
        first = await on_the_fast_path(test)
        second = await test.connect()
        await first.send(get("/slow"))
        await until(lambda: test.gateway.statistics().in_flight == 1)
        await second.send(get("/"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        release.set()
        with trio.fail_after(20):
            assert (await first.answer())[0] == (await second.answer())[0] == 200


async def test_waits_of_the_fast_path_end_at_their_deadlines() -> None:
    async with rig(one_after_the_other, timeouts=Timeouts(keepalive=0.2, first_byte=0.3)) as test:
        waiting, stalled = await on_the_fast_path(test), await on_the_fast_path(test)
        await stalled.send(get("/stall"))
        with trio.fail_after(20):
            assert (await stalled.answer())[0] == 504
            assert await waiting.closed()
        assert test.gateway.statistics().counters.timeouts == 2


async def test_a_reload_is_seen_by_the_next_request_of_a_connection_on_the_fast_path() -> None:
    async with rig(one_after_the_other) as test:
        client = await on_the_fast_path(test)
        moved = blitz.Config(routes=[Route(answer=Answer(410))], upstreams=test.config.upstreams)
        await test.gateway.reload(moved)
        await client.send(get("/"))
        assert (await client.answer())[0] == 410


async def test_an_internal_error_ends_one_connection_and_not_the_fast_path(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(router: Any, request: Any, listener: str) -> Any:
        if b"/broken" in span_bytes(request, request.target):
            raise RuntimeError("broken")
        return find_route(router, request, listener)

    monkeypatch.setattr(fast_steps, "find_route", broken)
    routes = [Route(path_prefix="/other", upstream="main"), Route(path_prefix="/", upstream="main")]
    async with rig(answering(OK), routes=routes) as test:
        others = await on_the_fast_path(test)
        client = await on_the_fast_path(test)
        await client.send(get("/broken"))
        with trio.fail_after(20):
            assert await client.closed()
        await others.send(get("/"))
        assert (await others.answer())[0] == 200
        assert test.gateway.statistics().counters.internal_errors == 1
    assert "internal error on the fast path" in caplog.text


async def test_idle_upstream_connections_end_when_only_the_fast_path_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("blitz.housekeeping.HOUSEKEEPING_INTERVAL", 0.05)
    async with rig(one_after_the_other, main={"idle_timeout": 0.5}) as test:
        await on_the_fast_path(test)
        (endpoint,) = test.gateway._context.runtime.clusters["main"].endpoints
        assert (endpoint.live, endpoint.idle) == (1, 1)
        await until(lambda: (endpoint.live, endpoint.idle) == (0, 0))


async def test_what_a_busy_moment_needed_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_slots, "MAX_IDLE_SLOTS", 16)
    release = trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b" /slow " in await served.head():
                await release.wait()
            await served.send(OK)

    async with rig(script) as test:
        clients = []
        for _ in range(50):  # each on a connection of its own that the fast path may use
            clients.append(await on_the_fast_path(test))
            await clients[-1].send(get("/slow"))
            await until(lambda: test.gateway.statistics().in_flight == len(clients))
        fast_path = test.gateway._context.fast_path
        busy, in_use = fast_path.slots
        release.set()
        for client in clients:
            assert (await client.answer())[0] == 200
        await until(lambda: fast_path.slots == (16, 0))
        assert busy >= in_use > 16
