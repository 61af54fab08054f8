"""In the fast path: bodies that came whole, the request's id, the time of an exchange, several endpoints.

The fast path and the general path must do the same for every sequence of requests on a connection.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Limits, Plugin, Timeouts, Upstream

from .harness import FakeUpstream, Script, Served, answering, rig
from .test_fast_path import OK, get, on_the_fast_path, one_after_the_other
from .test_plugins import HEAD, REQUEST

# The first letter of the path says what the plugin does: e edits the body, s answers, anything else passes.
# One that reads edits the body into its first bytes.
READS = '(import "env" "get_body" (func $get_body (param i32 i32) (result i32)))'
READ = "(call $body (i32.const 1024) (call $least (call $get_body (i32.const 1024) (i32.const 64))))"
GUEST = f"""(module
  (import "env" "set_body" (func $body (param i32 i32)))
  (import "env" "set_status" (func $status (param i32)))
  @imports@
  {HEAD}
  (data (i32.const 8) "edited")
  (func $least (param i32) (result i32)
    (select (local.get 0) (i32.const 7) (i32.lt_u (local.get 0) (i32.const 7))))
  {REQUEST}
    (local $first i32)
    (local.set $first (i32.load8_u offset=1 (local.get 2)))
    (if (i32.eq (local.get $first) (i32.const 0x65))
      (then @edit@))
    (if (i32.eq (local.get $first) (i32.const 0x73))
      (then (call $status (i32.const 403)) (return (i32.const 1))))
    (i32.const 0)))"""


def post(path: str, body: bytes, method: str = "POST", *, chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode()
    if chunked:
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    return head + body


@dataclass(frozen=True)
class Request:
    path: str
    body: bytes
    method: str
    chunked: bool

    def octets(self) -> bytes:
        if self.method == "GET":
            return get(self.path)
        return post(self.path, self.body, self.method, chunked=self.chunked)


# A body may look like a request: where one is left over, it is answered.
BODIES = st.one_of(
    st.binary(max_size=40), st.just(get("/smuggled")), st.sampled_from([b"x" * 16000, b"y" * 17000])
)
PATHS = st.sampled_from(["/pass", "/edit", "/stop", "/late", "/gone", "/edit-gone", "/edit-late"])
REQUESTS = st.builds(Request, PATHS, BODIES, st.sampled_from(["POST", "PUT", "GET"]), st.booleans())


async def upstream_of(seen: list[tuple[bytes, bytes]], served: Served) -> None:
    """Write down what comes; go away once for each path that ends in "gone"; take time for "late"."""
    while True:
        head = await served.head()
        line, *fields = head.lower().split(b"\r\n")
        body = b""
        if b"transfer-encoding: chunked" in fields:
            while size := int(await _line(served), 16):
                body += await served.exactly(size)
                await served.exactly(2)
            await served.exactly(2)
        for field in fields:
            if field.startswith(b"content-length:"):
                body = await served.exactly(int(field[15:]))
        seen.append((line, body))
        if b"gone " in line and sum(one == (line, body) for one in seen) == 1:
            return
        if b"late " in line:
            await served.send(OK[:-2])
            await trio.sleep(0.001)
            await served.send(OK[-2:])
        else:
            await served.send(OK)


async def _line(served: Served) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += await served.exactly(1)
    return line[:-2]


async def play(
    parser: str, plugin: Plugin, requests: list[Request]
) -> tuple[list[tuple[int, bytes]], list[tuple[bytes, bytes]]]:
    """Send the requests one after the other; -> what the client got, and what the upstream saw."""
    seen: list[tuple[bytes, bytes]] = []
    answers: list[tuple[int, bytes]] = []

    async def script(served: Served) -> None:
        await upstream_of(seen, served)

    async with rig(script, parser=parser, plugins=[plugin]) as test:
        client = await test.connect()
        for request in requests:
            await client.send(request.octets())
            status, fields, body = await client.answer()
            answers.append((status, b"" if b"\nrequest " in body else body))
            if fields.get("connection") == "close":
                client = await test.connect()
        await client.send(get("/pass?last"))
        answers.append((await client.answer())[::2])
    return answers, seen


@settings(max_examples=25)
@given(
    requests=st.lists(REQUESTS, min_size=1, max_size=6),
    reads=st.booleans(),
    max_body=st.sampled_from([None, 20]),
)
def test_both_paths_do_the_same_with_bodies(
    requests: list[Request], reads: bool, max_body: int | None
) -> None:
    edit = READ if reads else "(call $body (i32.const 8) (i32.const 6))"
    guest = GUEST.replace("@imports@", READS if reads else "").replace("@edit@", edit)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guest.wasm"
        path.write_bytes(wasmtime.wat2wasm(guest))
        plugin = Plugin(name="guest", file=str(path), max_body=max_body)
        fast = trio.run(play, "auto", plugin, requests)
        general = trio.run(play, "h11", plugin, requests)
    assert fast == general
    assert not any(b"/smuggled" in line for line, _ in fast[1])


async def test_a_body_over_the_limit_is_refused_also_where_it_came_whole() -> None:
    async with rig(answering(OK), limits=Limits(max_body_size=8)) as test:
        client = await on_the_fast_path(test)
        await client.send(post("/", b"12345678"))
        assert (await client.answer())[0] == 200
        await client.send(post("/", b"123456789"))
        assert (await client.answer())[0] == 413


async def test_a_chunked_body_over_the_limit_is_refused_also_where_it_came_whole() -> None:
    async with rig(answering(OK), limits=Limits(max_body_size=8)) as test:
        client = await test.connect()
        await client.send(post("/", b"123456789", chunked=True))
        assert (await client.answer())[0] == 413
        assert not test.upstream.connections


async def echo_id(served: Served) -> None:
    while True:
        head = (await served.head()).decode()
        found = [
            line.partition(": ")[2] for line in head.split("\r\n") if line.lower().startswith("x-request-id:")
        ]
        body = ",".join(found).encode()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def test_every_request_of_a_connection_has_an_id_of_its_own() -> None:
    async with rig(echo_id, request_id_header="X-Request-Id") as test:
        client = await test.connect()
        ids = set()
        for _ in range(5):
            await client.send(
                b"GET / HTTP/1.1\r\nHost: test\r\nx-request-id: forged\r\nX_Request_Id: forged\r\n\r\n"
            )
            ids.add((await client.answer())[2].decode())
        assert len(ids) == 5
        assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids), ids


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_an_exchange_ends_when_its_time_is_over_wherever_it_is(parser: str) -> None:
    timeouts = Timeouts(total=0.3, first_byte=60)
    async with rig(one_after_the_other, parser=parser, timeouts=timeouts) as test:
        client = await on_the_fast_path(test)
        began = trio.current_time()
        await client.send(get("/stall"))
        with trio.fail_after(20):
            assert (await client.answer())[0] == 504
        assert trio.current_time() - began >= 0.3


async def test_the_time_goes_on_where_the_fast_path_hands_over() -> None:
    """The answer's head comes late and without its end: what is left is not a whole time again."""

    async def script(served: Served) -> None:
        while True:
            if b" /drip " not in await served.head():
                await served.send(OK)
                continue
            await trio.sleep(0.3)
            await served.send(OK[:-1])
            await trio.sleep_forever()

    async with rig(script, timeouts=Timeouts(total=0.6)) as test:
        lasted = []
        while not lasted or (lasted[-1] >= 0.55 and len(lasted) < 10):  # a busy machine may be late
            client = await on_the_fast_path(test)
            with trio.fail_after(20):
                await client.send(get("/drip"))
                await client.head()
                began = trio.current_time()
                await client.rest()
            lasted.append(trio.current_time() - began)
        assert lasted[-1] < 0.55


async def test_endpoints_take_turns_on_the_fast_path_and_one_that_is_gone_is_passed_over() -> None:
    served = {"first": 0, "second": 0}

    def counted(name: str) -> Script:
        async def script(connection: Served) -> None:
            while True:
                await connection.head()
                served[name] += 1
                await connection.send(OK)

        return script

    second = FakeUpstream(counted("second"))
    async with trio.open_nursery() as nursery:
        await nursery.start(second.run)
        first = FakeUpstream(counted("first"))
        await nursery.start(first.run)
        upstreams = {"main": Upstream(endpoints=[first.endpoint, second.endpoint])}
        async with rig(upstreams=upstreams) as test:
            client = await test.connect()
            for _ in range(40):
                await client.send(get("/"))
                assert (await client.answer())[0] == 200
            assert served == {"first": 20, "second": 20}
        nursery.cancel_scope.cancel()


async def test_an_endpoint_that_refuses_is_tried_last_on_the_fast_path_too() -> None:
    gone = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = gone[0].socket.getsockname()[1]
    await gone[0].aclose()
    good = FakeUpstream(answering(OK))
    async with trio.open_nursery() as nursery:
        await nursery.start(good.run)
        upstreams = {"main": Upstream(endpoints=[f"http://127.0.0.1:{port}", good.endpoint])}
        async with rig(upstreams=upstreams) as test:
            client = await test.connect()
            for _ in range(20):
                await client.send(get("/"))
                assert (await client.answer())[0] == 200
        nursery.cancel_scope.cancel()
