"""Guests in a running gateway: verdicts, the body rule, failure policies, runaways. One guest a behaviour."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

import blitz
from blitz.config import Plugin

from .harness import Served, answering, echo, rig

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

REQUEST = '(func (export "process_request") (param i32 i32 i32 i32) (result i32)'
RESPONSE = '(func (export "process_response") (param i32 i32 i32) (result i32)'
HEAD = """
  (import "blitz" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (import "blitz" "set_status" (func $set_status (param i32)))
  (memory (export "memory") 20)
  (global $next (mut i32) (i32.const 65536))
  (func (export "blitz_alloc") (param $n i32) (result i32) (local $p i32)
    (local.set $p (global.get $next))
    (global.set $next (i32.add (global.get $next) (local.get $n)))
    (local.get $p))
  (func (export "blitz_free") (param i32 i32) (global.set $next (i32.const 65536)))
  (data (i32.const 0) "x-guest")
  (data (i32.const 16) "was here")
"""
MARK = "(call $set_header (i32.const 0) (i32.const 7) (i32.const 16) (i32.const 8))"


@pytest.fixture
def guest(tmp_path: Path) -> Any:
    """guest(body, **settings) -> Plugin: a module with HEAD and *body*."""

    def make(body: str, *, name: str = "guest", imports: str = "", **settings: Any) -> Plugin:
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wasmtime.wat2wasm(f"(module {imports} {HEAD} {body})"))
        settings.setdefault("response_body", "none")
        return Plugin(name=name, file=str(path), **settings)

    return make


async def test_edits_of_both_hooks_apply(guest: Any) -> None:
    plugin = guest(f"{REQUEST} {MARK} (i32.const 0)) {RESPONSE} {MARK} (i32.const 0))")
    async with rig(plugins=[plugin]) as test:
        _, fields, body = await test.get()
        assert "x-guest: was here" in body.decode().split("\n")
        assert fields["x-guest"] == "was here"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    "answer", [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_a_status_without_a_body_leaves_the_upstreams_body_behind(
    guest: Any, status: int, answer: bytes
) -> None:
    plugin = guest(f"{RESPONSE} (call $set_status (i32.const {status})) (i32.const 0))")
    async with rig(answering(answer), plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            got, fields, _ = await client.answer()
            assert (got, client.buffer) == (status, b"")
            assert "transfer-encoding" not in fields
            assert status == 304 or "content-length" not in fields


async def test_verdict_1_answers_without_the_upstream(guest: Any) -> None:
    plugin = guest(f"{REQUEST} {MARK} (call $set_status (i32.const 403)) (i32.const 1))")
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            status, fields, body = await client.answer()
            assert (status, fields["x-guest"], body) == (403, "was here", b"")
        assert not test.upstream.connections


async def test_an_answered_request_with_a_body_never_becomes_another_request(guest: Any) -> None:
    plugin = guest(f"{REQUEST} (i32.const 1))")
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        raw = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % (len(smuggled) + 1)
        await client.send(raw + smuggled)
        status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (200, "close")
        assert await client.closed()


@pytest.mark.parametrize(("failure", "status"), [("closed", 500), ("open", 200)])
@pytest.mark.parametrize("fault", ["unreachable", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"])
async def test_a_trap_meets_the_failure_policy(guest: Any, failure: str, status: int, fault: str) -> None:
    plugin = guest(f"{REQUEST} {MARK} {fault} (i32.const 0))", failure=failure)
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            got, _, body = await client.answer()
            assert got == status
            assert b"x-guest" not in body
        assert test.gateway.statistics().plugins["guest"].faults == 3
        assert test.gateway.statistics().counters.plugin_faults == 3


@pytest.mark.parametrize(("failure", "status"), [("closed", 500), ("open", 200)])
async def test_an_endless_loop_is_cancelled_and_nobody_else_waits(
    guest: Any, failure: str, status: int
) -> None:
    loop = guest(
        f"{REQUEST} (loop $l (br_if $l (i32.eq (i32.load8_u (i32.add (local.get 2) (i32.const 1)))"
        f" (i32.const 108)))) (i32.const 0))",
        failure=failure,
        timeout=0.3,
    )
    async with rig(plugins=[loop]) as test:
        good = await test.connect()
        await good.send(GET)
        assert (await good.answer())[0] == 200
        finished = False
        served = 0

        async def runaway() -> None:
            nonlocal finished
            client = await test.connect()
            await client.send(b"GET /loop HTTP/1.1\r\nHost: test\r\n\r\n")
            assert (await client.answer())[0] == status
            finished = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(runaway)
            while not finished:
                await good.send(GET)
                assert (await good.answer())[0] == 200
                served += 1
        assert served > 5


async def test_a_call_that_waited_for_others_is_not_cancelled_for_it(guest: Any) -> None:
    # It is over as soon as it runs again after its first slice: it needs 20 ms on the clock, not of work.
    patient = guest(
        f"{REQUEST} (local $start i64) (local.set $start (call $now))"
        " (loop $l (br_if $l (i64.lt_u (i64.sub (call $now) (local.get $start)) (i64.const 20))))"
        " (i32.const 0))",
        imports='(import "blitz" "now_ms" (func $now (result i64)))',
        timeout=0.01,
    )

    async def hogs() -> None:
        while True:
            time.sleep(0.05)  # noqa: ASYNC251 (what a busy machine does to the event loop)
            await trio.lowlevel.checkpoint()

    async with rig(plugins=[patient]) as test, trio.open_nursery() as nursery:
        nursery.start_soon(hogs)
        for _ in range(3):
            assert (await test.get())[0] == 200
        nursery.cancel_scope.cancel()


async def test_a_loop_in_init_refuses_the_plugin(guest: Any) -> None:
    plugin = guest(
        f'(func (export "init") (result i32) (loop $l (br $l)) (i32.const 0)) {REQUEST} (i32.const 0))',
        timeout=0.1,
    )
    with pytest.raises((blitz.PluginLoadError, ExceptionGroup)) as caught:
        async with rig(plugins=[plugin]):
            pass
    assert caught.group_contains(blitz.PluginLoadError, match="init ran longer than 100 ms")


READ_BODY = """
  (import "blitz" "get_body" (func $get_body (param i32 i32) (result i32)))
"""
COPY_BODY = """
  (import "blitz" "get_body" (func $get_body (param i32 i32) (result i32)))
  (import "blitz" "set_body" (func $set_body (param i32 i32)))
"""


async def test_a_body_nobody_reads_is_not_collected(guest: Any) -> None:
    plugin = guest(f"{REQUEST} (i32.const 0))")
    arrived = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        assert await served.exactly(4) == b"half"
        arrived.set()
        await served.exactly(4)
        await served.send(OK)

    async with rig(script, plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf")
        with trio.fail_after(20):
            await arrived.wait()
        await client.send(b"half")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_plugin_reads_the_whole_body_and_the_upstream_gets_it(guest: Any, framing: str) -> None:
    # Answers 200 when get_body gives 6 bytes, else an error.
    plugin = guest(
        f"{REQUEST} (i32.sub (i32.const 0)"
        " (i32.ne (call $get_body (i32.const 1024) (i32.const 100)) (i32.const 6))))",
        imports=READ_BODY,
    )
    raw = b"POST / HTTP/1.1\r\nHost: test\r\n"
    if framing == "length":
        parts = [raw + b"Content-Length: 6\r\n\r\nabc", b"def"]
    else:
        parts = [raw + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"]
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        for part in parts:
            await client.send(part)
            await trio.sleep(0.01)
        status, _, echoed = await client.answer()
        assert status == 200
        assert echoed.endswith(b"\n\nabcdef")


async def test_a_reader_gets_the_first_max_body_and_the_rest_streams_past(guest: Any) -> None:
    plugin = guest(
        f"{REQUEST} (i32.sub (i32.const 0)"
        " (i32.ne (call $get_body (i32.const 1024) (i32.const 0)) (i32.const 10))))",
        imports=READ_BODY,
        max_body=10,
    )
    body = bytes(range(256)) * 4000
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body))
        await client.send(body)
        status, _, echoed = await client.answer()
        assert status == 200
        assert echoed.partition(b"\n\n")[2] == body


async def test_a_writer_must_see_the_whole_body(guest: Any) -> None:
    plugin = guest(f"{REQUEST} (i32.const 0))", imports=COPY_BODY, max_body=10)
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello world")
        assert (await client.answer())[0] == 413


async def test_set_body_replaces_request_and_answer(guest: Any) -> None:
    replace = "(call $set_body (i32.const 16) (i32.const 8))"
    plugin = guest(
        f"{REQUEST} {replace} (i32.const 0)) {RESPONSE} {replace} (i32.const 0))",
        imports=COPY_BODY,
        response_body="full",
    )
    seen: list[bytes] = []

    async def script(served: Served) -> None:
        seen.append(await served.head())
        seen.append(await served.exactly(8))
        await served.send(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nhello')

    async with rig(script, plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        status, fields, body = await client.answer()
        assert (status, body) == (200, b"was here")
        assert "etag" not in fields
        assert b"content-length: 8" in seen[0].lower()
        assert seen[1] == b"was here"


async def test_a_body_for_a_request_without_one_leaves_the_client_connection_as_it_is(guest: Any) -> None:
    set_body = '(import "blitz" "set_body" (func $set_body (param i32 i32)))'
    plugin = guest(
        f"{REQUEST} (call $set_body (i32.const 16) (i32.const 8)) (i32.const 0))", imports=set_body
    )
    async with rig(plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            status, fields, body = await client.answer()
            assert (status, fields.get("connection")) == (200, None)
            assert body.endswith(b"\nwas here")
        await client.send(GET * 3)
        for _ in range(3):
            assert (await client.answer())[2].endswith(b"\nwas here")


async def test_process_response_gets_the_body_as_its_argument(guest: Any) -> None:
    plugin = guest(
        f"{RESPONSE} (i32.sub (i32.const 0) (i32.or (i32.ne (local.get 2) (i32.const 5))"
        " (i32.ne (i32.load8_u (local.get 1)) (i32.const 104)))))",
        response_body="full",
    )
    async with rig(answering(OK), plugins=[plugin]) as test:
        assert (await test.get())[2] == b"hello"


async def test_an_event_stream_is_never_collected(guest: Any) -> None:
    plugin = guest(f"{RESPONSE} (i32.const 0))", response_body="full")
    release = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await release.wait()

    async with rig(script, plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(GET)
        with trio.fail_after(20):
            assert (await client.head())[0] == 200
            while b"data: 1\n\n" not in client.buffer:
                client.buffer += await client.stream.receive_some()
        release.set()


async def test_response_hooks_see_answers_of_the_gateway_itself(guest: Any) -> None:
    plugin = guest(f"{RESPONSE} {MARK} (i32.const 0))")

    async def script(served: Served) -> None:
        await served.head()

    async with rig(script, plugins=[plugin]) as test:
        status, fields, _ = await test.get()
        assert (status, fields["x-guest"]) == (502, "was here")


async def test_the_order_of_the_chain_is_an_onion(guest: Any, tmp_path: Path) -> None:
    def marking(letter: str, order: int) -> Plugin:
        path = tmp_path / f"{letter}.wasm"
        add = '(import "blitz" "add_header" (func $add (param i32 i32 i32 i32)))'
        call = "(call $add (i32.const 0) (i32.const 7) (i32.const 32) (i32.const 1))"
        path.write_bytes(
            wasmtime.wat2wasm(
                f'(module {add} {HEAD} (data (i32.const 32) "{letter}")'
                f"{REQUEST} {call} (i32.const 0)) {RESPONSE} {call} (i32.const 0)))"
            )
        )
        return Plugin(name=letter, file=str(path), order=order, response_body="none")

    async with rig(plugins=[marking("b", 2), marking("a", 1), marking("c", 3)]) as test:
        client = await test.connect()
        await client.send(GET)
        while not client.buffer.endswith(b"\n\n"):
            client.buffer += await client.stream.receive_some()
        head, _, rest = bytes(client.buffer).partition(b"\r\n\r\n")
        answer = [line[-1:] for line in head.split(b"\r\n") if line.startswith(b"x-guest")]
        request = [line[-1:] for line in rest.split(b"\n") if line.startswith(b"x-guest")]
        assert (request, answer) == ([b"a", b"b", b"c"], [b"c", b"b", b"a"])


async def test_a_busy_single_instance_makes_others_wait_not_fail(guest: Any) -> None:
    plugin = guest(f"{REQUEST} (i32.const 0)) {RESPONSE} (i32.const 0))", instances="single")
    async with rig(plugins=[plugin]) as test:
        async with trio.open_nursery() as nursery:

            async def one() -> None:
                assert (await test.get())[0] == 200

            for _ in range(20):
                nursery.start_soon(one)
        assert test.gateway.statistics().plugins["guest"].live == 1


async def test_a_reload_lets_exchanges_end_on_what_they_started_with(guest: Any) -> None:
    marker = guest(f"{RESPONSE} {MARK} (i32.const 0))", name="marker")
    release, arrived = trio.Event(), trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        arrived.set()
        await release.wait()
        await served.send(OK)
        await echo(served)

    async with rig(script, plugins=[marker]) as test:
        client = await test.connect()
        await client.send(GET)
        await arrived.wait()
        config = test.config
        await test.gateway.reload(blitz.Config(routes=config.routes, upstreams=config.upstreams))
        release.set()
        _, fields, _ = await client.answer()
        assert fields["x-guest"] == "was here"
        await client.send(GET)
        assert "x-guest" not in (await client.answer())[1]
        assert test.gateway.generation == 2


async def test_a_connection_given_back_after_a_reload_is_closed() -> None:
    release, arrived, closed = trio.Event(), trio.Event(), trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        arrived.set()
        await release.wait()
        await served.send(OK)
        assert not await served.stream.receive_some()
        closed.set()

    async with rig(script) as test:
        client = await test.connect()
        await client.send(GET)
        await arrived.wait()
        await test.gateway.reload(blitz.Config(routes=test.config.routes, upstreams=test.config.upstreams))
        release.set()
        assert (await client.answer())[2] == b"hello"
        with trio.fail_after(20):
            await closed.wait()


async def test_a_bad_reload_changes_nothing(guest: Any, tmp_path: Path) -> None:
    marker = guest(f"{RESPONSE} {MARK} (i32.const 0))", name="marker")
    async with rig(plugins=[marker]) as test:
        bad = tmp_path / "bad.wasm"
        bad.write_bytes(b"not wasm at all")
        config = test.config
        with pytest.raises(blitz.PluginLoadError):
            await test.gateway.reload(
                blitz.Config(
                    routes=config.routes,
                    upstreams=config.upstreams,
                    plugins=[Plugin(name="bad", file=str(bad))],
                )
            )
        assert (await test.get())[1]["x-guest"] == "was here"
        assert test.gateway.generation == 1
