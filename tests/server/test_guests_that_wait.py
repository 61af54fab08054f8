"""Guests that sleep, and that send requests of their own: the gateway around them, over real sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from blitz.config import Limits, Plugin, Route, Timeouts, Upstream

from .harness import Client, FakeUpstream, Served, answering, rig, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PARSERS = pytest.mark.parametrize("parser", ["auto", "h11", "auto+tls"])
Make = Callable[..., Plugin]

IMPORTS = """
  (import "blitz" "sleep_ms" (func $sleep (param i32)))
  (import "blitz" "http_fetch"
    (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "blitz" "fetch_header" (func $header (param i32 i32 i32 i32) (result i32)))
  (import "blitz" "fetch_body" (func $body (param i32 i32) (result i32)))
  (import "blitz" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (import "blitz" "set_status" (func $set_status (param i32)))
  (import "blitz" "set_body" (func $set_body (param i32 i32)))
  (memory (export "memory") 4)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 8192))"""

# What came of the fetch is the answer: its status and body, or 250 - code for one that came to nothing.
ANSWER = """
  (if (i32.lt_s (local.get $n) (i32.const 0))
    (then (call $set_status (i32.sub (i32.const 250) (local.get $n))))
    (else (call $set_body (i32.const 65536) (call $body (i32.const 65536) (i32.const 65536)))
      (call $set_status (local.get $n))))
  (return (i32.const 1))"""


def fetch(
    target: str = "/check", headers: str = "", body: str = "", timeout: int = 0, name: str = "auth"
) -> str:
    at, data, arguments = 16384, "", ""
    for text in (name, "POST" if body else "GET", target, headers, body):
        octets = "".join(f"\\{byte:02x}" for byte in text.encode())
        data += f'(data (i32.const {at}) "{octets}")'
        arguments += f"(i32.const {at}) (i32.const {len(text.encode())}) "
        at += len(text.encode())
    return f"(local.set $n (call $fetch {arguments} (i32.const {timeout})))@{data}"


@pytest.fixture
def waiting(tmp_path: Path) -> Make:
    """waiting(code, **settings) -> Plugin: its process_request does *code*."""

    def make(code: str, hook: str = "process_request", **settings: Any) -> Plugin:
        code, _, data = code.partition("@")
        parameters = "i32 i32 i32 i32" if hook == "process_request" else "i32 i32 i32"
        path = tmp_path / f"{settings.get('name', 'guest')}.wasm"
        code = code + (ANSWER if data and "unreachable" not in code else "")
        path.write_bytes(
            wasmtime.wat2wasm(
                f"""(module {IMPORTS} {data} (func (export "{hook}") (param {parameters}) (result i32)
                  (local $n i32) {code} (i32.const 0)))"""
            )
        )
        settings = {"name": "guest", "response_body": "none"} | settings
        return Plugin(file=str(path), **settings)

    return make


class Auth:
    """An upstream for fetches beside the one of routes."""

    def __init__(self, script: Callable[[Served], Any]) -> None:
        self.fake = FakeUpstream(script)

    async def start(self, nursery: trio.Nursery) -> dict[str, Any]:
        await nursery.start(self.fake.run)
        return {"upstreams": {"auth": Upstream(endpoints=[self.fake.endpoint])}}


async def remember(heads: list[bytes], served: Served, answer: bytes = OK) -> None:
    while True:
        heads.append(await served.head())
        await served.send(answer)


@PARSERS
@pytest.mark.parametrize("hook", ["process_request", "process_response"])
async def test_a_guest_sleeps_and_the_exchange_goes_on(waiting: Make, parser: str, hook: str) -> None:
    plugin = waiting("(call $sleep (i32.const 30)) (call $sleep (i32.const 0))", hook, timeout=0.02)
    async with rig(answering(OK), parser=parser, plugins=[plugin]) as test:
        began = trio.current_time()
        for _ in range(2):
            assert (await test.get())[0] == 200
        assert trio.current_time() - began >= 0.06
        assert not test.gateway.faults()


@PARSERS
async def test_a_fetch_goes_to_the_upstream_and_its_answer_to_the_guest(waiting: Make, parser: str) -> None:
    heads: list[bytes] = []
    body = b"HTTP/1.1 203 Yes\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    async with trio.open_nursery() as nursery:
        auth = Auth(lambda served: remember(heads, served, b"HTTP/1.1 103 Early\r\n\r\n" + body))
        more = await auth.start(nursery)
        plugin = waiting(fetch("/check?a=b", "X-Token: t\r\n"), upstreams=["auth"])
        async with rig(
            parser=parser,
            request_id_header="x-request-id",
            plugins=[plugin],
            routes=[Route(upstream="auth")],
            **more,
        ) as test:
            for _ in range(2):
                status, _, answer = await test.get()
                assert (status, answer) == (203, b"hello world")
        assert len(auth.fake.connections) == 1  # kept, as everybody's are
        nursery.cancel_scope.cancel()
    host = auth.fake.endpoint.removeprefix("http://").encode()
    for head in heads:
        lines = head.split(b"\r\n")
        assert lines[0] == b"GET /check?a=b HTTP/1.1"
        assert b"X-Token: t" in lines and any(line.lower() == b"host: " + host for line in lines)
        assert any(line.lower().startswith(b"x-request-id: ") for line in lines)


async def test_a_fetch_with_a_body(waiting: Make) -> None:
    seen: list[bytes] = []

    async def script(served: Served) -> None:
        head = await served.head()
        seen.append(head.lower())
        seen.append(await served.exactly(4))
        await served.send(OK)

    async with trio.open_nursery() as nursery:
        more = await Auth(script).start(nursery)
        plugin = waiting(fetch(body="data", headers="content-type: text/plain\r\n"), upstreams=["auth"])
        async with rig(plugins=[plugin], routes=[Route(upstream="auth")], **more) as test:
            assert (await test.get())[::2] == (200, b"ok")
        nursery.cancel_scope.cancel()
    assert b"content-length: 4" in seen[0] and b"content-type: text/plain" in seen[0] and seen[1] == b"data"


async def _never(served: Served) -> None:
    await served.head()
    await trio.sleep_forever()


async def _cut(served: Served) -> None:
    await served.head()
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort")


async def _garbage(served: Served) -> None:
    await served.head()
    await served.send(b"SSH-2.0-nobody\r\n\r\n")


async def _large(served: Served) -> None:
    await served.head()
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + bytes(70000))


async def _large_head(served: Served) -> None:
    await served.head()
    await served.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")


async def _switch(served: Served) -> None:
    await served.head()
    await served.send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")


async def _interim(served: Served) -> None:
    await served.head()
    await served.send(b"HTTP/1.1 103 Early\r\n\r\n" * 1000)


BAD = {
    "cut": _cut,
    "garbage": _garbage,
    "large": _large,
    "head": _large_head,
    "101": _switch,
    "1xx": _interim,
}


@pytest.mark.parametrize("what", BAD)
async def test_an_answer_that_is_none_fails_the_fetch_and_nothing_else(waiting: Make, what: str) -> None:
    async with trio.open_nursery() as nursery:
        more = await Auth(BAD[what]).start(nursery)
        plugin = waiting(fetch(), upstreams=["auth"], max_body=60_000)
        async with rig(plugins=[plugin], routes=[Route(upstream="auth")], **more) as test:
            assert (await test.get())[0] == 253
            assert not test.gateway.faults()
        nursery.cancel_scope.cancel()


async def test_nobody_at_home(waiting: Make) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        more = {"auth": Upstream(endpoints=[f"http://127.0.0.1:{port}"])}
        plugin = waiting(fetch(), upstreams=["auth"])
        async with rig(plugins=[plugin], routes=[Route(upstream="auth")], upstreams=more) as test:
            assert (await test.get())[0] == 253


async def test_a_fetch_that_takes_too_long_is_late_for_the_guest(waiting: Make) -> None:
    async with trio.open_nursery() as nursery:
        more = await Auth(_never).start(nursery)
        plugin = waiting(fetch(timeout=50), upstreams=["auth"])
        async with rig(plugins=[plugin], routes=[Route(upstream="auth")], **more) as test:
            assert (await test.get())[0] == 252
            assert not test.gateway.faults()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("failure", ["closed", "open"])
@pytest.mark.parametrize("what", ["sleep", "fetch", "many"])
async def test_who_waits_for_too_long_is_ended(waiting: Make, what: str, failure: str) -> None:
    code = {
        "sleep": "(call $sleep (i32.const 60000))",
        "fetch": fetch(),
        "many": "(loop $l (call $sleep (i32.const 1)) (br $l))",
    }[what]
    async with trio.open_nursery() as nursery:
        auth = Auth(_never)
        more = await auth.start(nursery)
        await nursery.start((other := FakeUpstream(answering(OK))).run)
        more["upstreams"]["main"] = Upstream(endpoints=[other.endpoint])
        plugin = waiting(code, upstreams=["auth"], wait_timeout=0.1, failure=failure)
        async with rig(plugins=[plugin], **more) as test:
            assert (await test.get())[0] == (500 if failure == "closed" else 200)
            (fault,) = test.gateway.faults()
            assert (fault.kind, fault.hook) == ("timeout", "process_request")
            assert "it waited longer than 100 ms" in fault.message and fault.frames
        nursery.cancel_scope.cancel()


async def test_waiting_counts_neither_for_timeout_nor_for_the_chain(waiting: Make) -> None:
    plugin = waiting("(call $sleep (i32.const 300))", timeout=0.05)
    async with rig(answering(OK), plugins=[plugin], timeouts=Timeouts(chain=0.1)) as test:
        assert (await test.get())[0] == 200


async def test_computing_counts_for_timeout_between_waits(waiting: Make) -> None:
    plugin = waiting("(call $sleep (i32.const 1)) (loop $l (br $l))", timeout=0.05)
    async with rig(answering(OK), plugins=[plugin]) as test:
        assert (await test.get())[0] == 500
        (fault,) = test.gateway.faults()
        assert "it ran longer than 50 ms" in fault.message


@pytest.mark.parametrize("what", ["sleep", "fetch"])
async def test_a_client_that_leaves_ends_the_wait(waiting: Make, what: str) -> None:
    asked = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        asked.set()
        assert not await served.stream.receive_some()  # the gateway closes it
        ended.set()

    ended = trio.Event()
    code = "(call $sleep (i32.const 60000))" if what == "sleep" else fetch()
    async with trio.open_nursery() as nursery:
        more = await Auth(script).start(nursery)
        plugin = waiting(code, upstreams=["auth"], wait_timeout=60, max_instances=1, warm=1)
        async with rig(plugins=[plugin], routes=[Route(upstream="auth")], **more) as test:
            stream = await test.open()
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            with trio.fail_after(20):
                if what == "fetch":
                    await asked.wait()
                else:
                    await until(lambda: test.gateway.status().in_flight, 20)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
            with trio.fail_after(20):
                if what == "fetch":
                    await ended.wait()
                await until(lambda: not test.gateway.status().in_flight, 20)
        nursery.cancel_scope.cancel()


async def test_a_gateway_that_ends_ends_those_who_wait(waiting: Make) -> None:
    plugin = waiting("(call $sleep (i32.const 60000))", wait_timeout=60)
    with trio.fail_after(20):
        async with rig(answering(OK), plugins=[plugin], timeouts=Timeouts(drain=0.05)) as test:
            client = await test.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            await trio.sleep(0.1)


async def test_a_fetch_to_ourselves_is_bounded(waiting: Make) -> None:
    """Each goes through the same plugin, which fetches again: instances are used up, and waiting ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    more = {"self": Upstream(endpoints=[f"http://127.0.0.1:{port}"])}
    plugin = waiting(fetch(name="self"), upstreams=["self"], max_instances=5, wait_timeout=0.3)
    async with rig(
        plugins=[plugin],
        listen=[f"127.0.0.1:{port}"],
        routes=[Route(upstream="self")],
        upstreams=more,
        timeouts=Timeouts(chain=0.3),
    ) as test:
        with trio.fail_after(20):
            assert (await test.get())[0] >= 250
        with trio.fail_after(20):
            await until(lambda: not test.gateway.status().in_flight, 20)


@pytest.mark.parametrize("many", [50, pytest.param(1000, marks=pytest.mark.slow)])
async def test_those_who_wait_leave_a_route_without_plugins_alone(waiting: Make, many: int) -> None:
    release = trio.Event()
    arrived = 0

    async def hold(served: Served) -> None:
        nonlocal arrived
        await served.head()
        arrived += 1
        await release.wait()
        await served.send(OK)

    done: list[int] = []

    async def ask(client: Client) -> None:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        done.append((await client.answer())[0])

    async with trio.open_nursery() as nursery:
        more = await Auth(hold).start(nursery)
        await nursery.start((free := FakeUpstream(answering(OK))).run)
        more["upstreams"]["main"] = Upstream(endpoints=[free.endpoint])
        plugin = waiting(fetch(), upstreams=["auth"], max_instances=many, wait_timeout=60)
        routes = [Route(upstream="main", plugins=[]), Route(path_prefix="/wait", upstream="main")]
        async with rig(plugins=[plugin], routes=routes, limits=Limits(max_connections_per_address=2 * many),
                       **more) as test, trio.open_nursery() as clients:  # fmt: skip
            for _ in range(many):
                clients.start_soon(ask, await test.connect())
            await until(lambda: arrived == many, 60)
            client = await test.connect()
            before = test.gateway.statistics().guests.calls
            with trio.fail_after(20):
                for _ in range(200):
                    await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                    assert (await client.answer())[0] == 200
            # Nobody was resumed meanwhile: one who waits costs nothing.
            assert test.gateway.statistics().guests.calls == before
            assert not done and len(free.connections) == 1
            release.set()
        assert done == [200] * many
        nursery.cancel_scope.cancel()


async def test_a_trial_call_waits_for_nothing(waiting: Make) -> None:
    """A reload tries a plugin on a request that nobody sent: what it would wait for does not happen."""
    asked: list[bytes] = []
    async with trio.open_nursery() as nursery:
        more = await Auth(lambda served: remember(asked, served)).start(nursery)
        code, _, data = fetch().partition("@")
        plugin = waiting(
            f"(call $sleep (i32.const 60000)) {code} @{data}", upstreams=["auth"], wait_timeout=60
        )
        async with rig(plugins=[plugin], routes=[Route(upstream="auth")], **more) as test:
            waiting(
                f"(call $sleep (i32.const 60000)) {code} (drop (i32.const 1)) @{data}", upstreams=["auth"]
            )
            before = test.gateway.statistics().generation
            with trio.fail_after(20):
                await test.gateway.reload()
            assert test.gateway.statistics().generation > before
            assert not asked
        nursery.cancel_scope.cancel()
