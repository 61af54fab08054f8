"""Plugins that see bodies part by part: the gateway around them, over real sockets."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import wasmtime

from blitz.config import Answer, Plugin, Route, Timeouts

from .harness import Client, Served, answering, echo, rig, until
from .parts_guests import BY_PLACE, DROP, ERROR, FIRST_ONLY, PASS, SPIN, TRAP, TWICE, by_place, guest

PARSERS = pytest.mark.parametrize(
    "parser",
    ["auto", pytest.param("h11", marks=pytest.mark.slow), pytest.param("auto+tls", marks=pytest.mark.slow)],
)


def sending(parts: list[bytes], *, chunked: bool = True, fields: str = "") -> Callable[[Served], Any]:
    """An upstream whose response comes in these parts, whatever was asked."""

    async def script(served: Served) -> None:
        while True:
            await served.head()
            size = sum(map(len, parts))
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            await served.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n{fields}\r\n".encode())
            for part in parts:
                if part:
                    await served.send(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                    await trio.lowlevel.checkpoint()
            if chunked:
                await served.send(b"0\r\n\r\n")

    return script


def cut(data: bytes, rng: random.Random) -> list[bytes]:
    """In pieces of any size."""
    at, pieces = 0, []
    while at < len(data):
        size = rng.choice([1, 2, 3, 100, 5000, 70_000, 300_000])
        pieces.append(data[at : at + size])
        at += size
    return pieces


async def ask(
    client: Client, body: bytes = b"", method: str = "GET", version: str = "1.1", more: str = ""
) -> Any:
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    await client.send(f"{method} / HTTP/{version}\r\nHost: test\r\n{length}{more}\r\n".encode() + body)
    return await client.answer(method)


@PARSERS
@pytest.mark.parametrize("chunked", [True, False])
async def test_any_split_of_a_response_comes_out_the_same(tmp_path: Any, parser: str, chunked: bool) -> None:
    rng = random.Random(f"{parser} {chunked}")
    data = rng.randbytes(200_000)
    plugin = guest(tmp_path, response=BY_PLACE)
    for _ in range(2):
        async with rig(sending(cut(data, rng), chunked=chunked), parser=parser, plugins=[plugin]) as test:
            client = await test.connect()
            for _ in range(2):  # and nothing of one in the next
                status, fields, body = await ask(client)
                assert (status, fields.get("transfer-encoding")) == (200, "chunked")
                assert "content-length" not in fields
                assert body == by_place(data)
            assert not test.gateway.faults()


@PARSERS
async def test_any_split_of_a_request_comes_out_the_same(tmp_path: Any, parser: str) -> None:
    rng = random.Random(parser)
    plugin = guest(tmp_path, request=BY_PLACE)
    async with rig(echo, parser=parser, plugins=[plugin]) as test:
        client = await test.connect()
        for size in (0, 1, 500, 200_000):
            data = rng.randbytes(size)
            await client.send(f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode())
            for piece in cut(data, rng):
                await client.send(piece)
                await trio.lowlevel.checkpoint()
            status, _, answer = await client.answer()
            assert status == 200
            head, _, body = answer.partition(b"\n\n")
            assert body == by_place(data)
            assert (b"chunked" in head.lower()) != (b"content-length" in head.lower())
        assert not test.gateway.faults()


async def test_several_are_a_pipeline_in_chain_order_and_in_reverse(tmp_path: Any) -> None:
    first = guest(tmp_path, name="a", request=TWICE, response=TWICE)
    second = guest(tmp_path, name="b", request=BY_PLACE, response=BY_PLACE)
    data = random.Random(1).randbytes(50_000)

    def twice(given: bytes) -> bytes:
        return bytes(byte for byte in given for _ in range(2))

    async with rig(echo, plugins=[first, second]) as test:
        _, _, answer = await ask(await test.connect(), data, "POST")
    # The response passes b first, whose places go on; then a, which gives each byte twice.
    once = answer[::2]
    assert answer == twice(once)
    at = 2 * len(data)
    plain = bytes(byte ^ ((at + index) & 255) for index, byte in enumerate(once))
    assert plain.partition(b"\n\n")[2] == by_place(twice(data))


async def test_streams_at_the_same_time_do_not_meet(tmp_path: Any) -> None:
    rng = random.Random(5)
    plugin = guest(tmp_path, request=BY_PLACE, response=BY_PLACE)
    async with rig(echo, plugins=[plugin]) as test, trio.open_nursery() as nursery:

        async def one(data: bytes) -> None:
            client = await test.connect()
            await client.send(
                f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            )
            for piece in cut(data, rng):
                await client.send(piece)
            _, _, answer = await client.answer()
            # One instance: the response's places follow the request's.
            at = len(data)
            plain = bytes(byte ^ ((at + index) & 255) for index, byte in enumerate(answer))
            assert plain.partition(b"\n\n")[2] == by_place(data)

        for _ in range(20):
            nursery.start_soon(one, rng.randbytes(rng.randrange(100_000)))


async def test_observers_keep_the_framing_and_what_is_said_of_the_bytes(tmp_path: Any) -> None:
    fields = 'ETag: "x"\r\nContent-Encoding: foo\r\n'
    plugin = guest(tmp_path, response=PASS, observes=True)
    async with rig(sending([b"hello"], chunked=False, fields=fields), plugins=[plugin]) as test:
        _, found, body = await test.get()
        assert (found["content-length"], found["etag"], body) == ("5", '"x"', b"hello")


async def test_what_was_said_of_the_bytes_goes_where_a_plugin_may_change_them(tmp_path: Any) -> None:
    fields = (
        'ETag: "x"\r\nContent-Encoding: foo\r\nDigest: a=b\r\nLast-Modified: now\r\nAccept-Ranges: bytes\r\n'
    )
    plugin = guest(tmp_path, response=PASS)
    async with rig(sending([b"hello"], chunked=False, fields=fields), plugins=[plugin]) as test:
        client = await test.connect()
        for method in ("GET", "HEAD"):
            _, found, body = await ask(client, method=method)
            for name in ("etag", "digest", "last-modified", "accept-ranges", "content-length"):
                assert name not in found, (method, name)
            assert found["content-encoding"] == "foo"  # the parts are still in it
            assert body == (b"hello" if method == "GET" else b"")


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_plugin_may_leave_a_body_out(tmp_path: Any, parser: str) -> None:
    plugin = guest(tmp_path, response=TRAP, head="(call $skip_body)")
    async with rig(
        sending([b"hello"], chunked=False, fields='ETag: "x"\r\n'), parser=parser, plugins=[plugin]
    ) as test:
        _, found, body = await test.get()
        assert (found["content-length"], found["etag"], body) == ("5", '"x"', b"hello")
        assert not test.gateway.faults()


async def test_a_part_may_be_dropped_and_the_rest_left_alone(tmp_path: Any) -> None:
    async with rig(sending([b"x" * 1000, b"y" * 500_000]), plugins=[guest(tmp_path, response=DROP)]) as test:
        assert (await test.get())[2] == b""
    plugin = guest(tmp_path, response=FIRST_ONLY)
    first = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400005\r\n\r\nfirst")
        await first.wait()
        await served.send(b"y" * 400_000)

    async with rig(script, plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await client.head()
        first.set()
        assert await client.rest_of_chunks() == b"y" * 400_000


@PARSERS
async def test_messages_without_a_body_have_no_parts(tmp_path: Any, parser: str) -> None:
    plugin = guest(tmp_path, request=TRAP, response=TRAP)

    async def script(served: Served) -> None:
        while True:
            head = await served.head()
            status = head.split()[1].decode().strip("/")
            length = "Content-Length: 5\r\n" if status == "200" else ""
            await served.send(f"HTTP/1.1 {status} X\r\n{length}\r\n".encode())

    async with rig(script, parser=parser, plugins=[plugin]) as test:
        client = await test.connect()
        for target, method in (("/204", "GET"), ("/304", "GET"), ("/200", "HEAD")):
            await client.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            status, _, body = await client.answer(method)
            assert (status, body) == (int(target[1:]), b"")
        assert not test.gateway.faults()


async def test_an_empty_body_has_one_part_which_is_the_last(tmp_path: Any) -> None:
    more = "(call $set_chunk (i32.const 310) (i32.const 6))"
    plugin = guest(tmp_path, request=more, response=more)
    async with rig(echo, plugins=[plugin]) as test:
        client = await test.connect()
        _, _, answer = await ask(client, b"", "POST")
        assert answer == b"x-seen"
    async with rig(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), plugins=[plugin]) as test:
        assert (await test.get())[2] == b"x-seen"


async def test_http_10_gets_a_body_that_ends_with_the_connection(tmp_path: Any) -> None:
    async with rig(sending([b"hello"]), plugins=[guest(tmp_path, response=BY_PLACE)]) as test:
        client = await test.connect()
        status, fields, body = await ask(client, version="1.0")
        assert (status, body) == (200, by_place(b"hello"))
        assert "transfer-encoding" not in fields
        assert "content-length" not in fields


@PARSERS
async def test_a_body_that_is_held_back_is_asked_for(tmp_path: Any, parser: str) -> None:
    async with rig(echo, parser=parser, plugins=[guest(tmp_path, request=BY_PLACE)]) as test:
        client = await test.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.head())[0] == 100
        await client.send(b"hello")
        assert (await client.answer())[2].endswith(by_place(b"hello"))


async def test_a_switched_connection_is_nobodys_stream(tmp_path: Any) -> None:
    plugin = guest(tmp_path, request=TRAP, response=TRAP, end=True)
    script = answering(b"HTTP/1.1 101 Y\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello")
    async with rig(script, plugins=[plugin]) as test:
        client = await test.connect()
        upgrade = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        await client.send(upgrade)
        assert (await client.head())[0] == 101
        assert await client.exactly(5) == b"hello"
        await client.stream.aclose()
        assert not test.gateway.faults()


async def test_local_responses_pass_as_those_of_upstreams_do(tmp_path: Any) -> None:
    plugin = guest(tmp_path, response=BY_PLACE, end=True)
    routes = [Route(path="/", answer=Answer(status=200, body="hello"))]
    async with rig(plugins=[plugin], routes=routes) as test:
        client = await test.connect()
        for _ in range(2):
            assert (await ask(client))[2] == by_place(b"hello")
        assert (await ask(client, method="HEAD"))[2] == b""
    async with rig(answering(b"nonsense\r\n\r\n"), plugins=[plugin]) as test:
        status, _, body = await test.get()
        assert status == 502
        assert b"502" in by_place(body)


def whole(directory: Any, hook: str, order: int) -> Plugin:
    """A plugin that reads a whole body, and puts `<` in front of it."""
    parameters = "i32 i32 i32 i32" if hook == "process_request" else "i32 i32 i32"
    path = directory / "whole.wasm"
    path.write_bytes(
        wasmtime.wat2wasm(
            f"""(module (import "blitz" "get_body" (func $get (param i32 i32) (result i32)))
            (import "blitz" "set_body" (func $set (param i32 i32)))
            (memory (export "memory") 4) (data (i32.const 131071) "<")
            (func (export "blitz_buffer") (result i32) (i32.const 0))
            (func (export "blitz_buffer_size") (result i32) (i32.const 65536))
            (func (export "{hook}") (param {parameters}) (result i32)
              (call $set (i32.const 131071)
                (i32.add (i32.const 1) (call $get (i32.const 131072) (i32.const 65536))))
              (i32.const 0)))"""
        )
    )
    return Plugin(file=str(path), name="whole", order=order)


@pytest.mark.parametrize("parts_first", [True, False])
async def test_one_that_takes_whole_bodies_has_its_place_in_the_pipeline(
    tmp_path: Any, parts_first: bool
) -> None:
    data = b"some text" * 500
    orders = (1, 2) if parts_first else (2, 1)
    parts = guest(tmp_path, name="parts", request=BY_PLACE, order=orders[0])
    async with rig(echo, plugins=[parts, whole(tmp_path, "process_request", orders[1])]) as test:
        _, _, answer = await ask(await test.connect(), data, "POST")
        body = answer.partition(b"\n\n")[2]
        assert body == (b"<" + by_place(data) if parts_first else by_place(b"<" + data))
    parts = guest(tmp_path, name="parts", response=BY_PLACE, order=orders[0])
    plugins = [parts, whole(tmp_path, "process_response", orders[1])]
    async with rig(sending([data[:10], data[10:]]), plugins=plugins) as test:
        client = await test.connect()
        for _ in range(2):
            _, _, body = await ask(client)
            assert body == (by_place(b"<" + data) if parts_first else b"<" + by_place(data))
        assert not test.gateway.faults()


# ---------------------------------------------------------------- faults


@PARSERS
@pytest.mark.parametrize("code", [TRAP, ERROR, SPIN, "(call $set_chunk (i32.const -4) (i32.const 100))"])
@pytest.mark.parametrize("failure", ["closed", pytest.param("open", marks=pytest.mark.slow)])
async def test_before_the_head_is_sent_a_failing_part_is_an_error_page(
    tmp_path: Any, parser: str, code: str, failure: str
) -> None:
    plugin = guest(tmp_path, response=code, failure=failure, timeout=0.02)
    async with rig(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), parser=parser, plugins=[plugin]
    ) as test:
        client = await test.connect()
        for _ in range(2):  # the page is whole, and the connection goes on
            status, fields, body = await ask(client)
            assert (status, b"500" in body, "hello" in body.decode()) == (500, True, False)
            assert int(fields["content-length"]) == len(body)
        assert {fault.hook for fault in test.gateway.faults()} == {"process_response_chunk"}


@PARSERS
@pytest.mark.parametrize("code", [TRAP, ERROR, SPIN])
async def test_after_it_the_connection_is_cut(tmp_path: Any, parser: str, code: str) -> None:
    later = (
        f"(if (i32.eqz (global.get $at)) (then (global.set $at (i32.const 1)) (return (i32.const 0)))) {code}"
    )
    plugin = guest(tmp_path, response=later, failure="open", timeout=0.02)
    more = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await more.wait()
        await served.send(b"5\r\nworld\r\n")
        await trio.sleep_forever()

    async with rig(script, parser=parser, plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.head())[0] == 200
        assert await client.exactly(10) == b"5\r\nhello\r\n"
        more.set()
        assert await client.closed()  # no last chunk: it does not look complete
        [fault] = test.gateway.faults()
        assert fault.hook == "process_response_chunk"


@PARSERS
@pytest.mark.parametrize("code", [TRAP, ERROR, SPIN])
async def test_a_failing_part_of_a_request_is_an_error_page(tmp_path: Any, parser: str, code: str) -> None:
    plugin = guest(tmp_path, request=code, timeout=0.02)
    for held in (False, True):
        async with rig(echo, parser=parser, plugins=[plugin]) as test:
            client = await test.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n")
            if held:
                await until(lambda: test.upstream.connections)
            await client.send(b"hello")
            assert (await client.answer())[0] == 500
            [fault] = test.gateway.faults()
            assert fault.hook == "process_request_chunk"


async def test_what_a_plugin_gives_back_is_bounded(tmp_path: Any) -> None:
    more = "(call $set_chunk (i32.const 0) (i32.const 131072))"
    script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    async with rig(script, plugins=[guest(tmp_path, response=more, max_body=131072)]) as test:
        assert len((await test.get())[2]) == 131072
    async with rig(script, plugins=[guest(tmp_path, response=more, max_body=131071)]) as test:
        assert (await test.get())[0] == 500
        assert "131072 bytes, limit 131071 (max_body)" in test.gateway.faults()[0].message


async def test_streams_over_the_instances_wait_and_then_are_refused(tmp_path: Any) -> None:
    plugin = guest(tmp_path, response=PASS, max_instances=1)
    ends = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await ends.wait()
        await served.send(b"0\r\n\r\n")

    async with rig(script, plugins=[plugin], timeouts=Timeouts(chain=0.05)) as test:
        first = await test.connect()
        await first.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await first.head()
        assert (await test.get())[0] == 503
        ends.set()
        assert await first.rest_of_chunks() == b"hello"
        assert (await test.get())[0] == 200


# ---------------------------------------------------------------- back-pressure


class Counting:
    """An upstream that sends zeros until nobody takes any more, or *size* are sent; and counts."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = 0

    async def __call__(self, served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.size)
        part = bytes(65536)
        while self.sent < self.size:
            await served.send(part)
            self.sent += len(part)


async def settled(value: Callable[[], int]) -> int:
    """Once it has not changed for a while."""
    before = -1
    with trio.fail_after(20):
        while before != value():
            before = value()
            await trio.sleep(0.3)
    return before


MIB = 1 << 20


async def test_a_client_that_takes_nothing_stops_the_upstream(tmp_path: Any) -> None:
    upstream = Counting(64 * MIB)
    async with rig(upstream, plugins=[guest(tmp_path, response=PASS)]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert await settled(lambda: upstream.sent) < 32 * MIB  # what the kernel's buffers hold
        total = 0
        with trio.fail_after(60):
            while total < 64 * MIB:
                data = await client.stream.receive_some()
                assert data
                total += len(data)
        assert upstream.sent == 64 * MIB
        assert not test.gateway.faults()


async def test_an_upstream_that_takes_nothing_stops_the_client(tmp_path: Any) -> None:
    taken = trio.Event()
    size = 64 * MIB

    async def script(served: Served) -> None:
        await served.head()
        await taken.wait()
        got = len(served.received)
        while got < size:
            got += len(await served.stream.receive_some())
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    sent = 0
    async with rig(script, plugins=[guest(tmp_path, request=PASS, observes=True)]) as test:
        client = await test.connect()
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                nonlocal sent
                await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
                while sent < size:
                    await client.send(bytes(65536))
                    sent += 65536

            nursery.start_soon(upload)
            assert await settled(lambda: sent) < 32 * MIB
            taken.set()
            with trio.fail_after(60):
                assert (await client.answer())[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize("code", [PASS, TWICE])
async def test_a_gibibyte_passes_in_constant_memory(tmp_path: Any, code: str) -> None:
    upstream = Counting(1024 * MIB)
    async with rig(upstream, plugins=[guest(tmp_path, response=code)]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        total, first = 0, 0
        with trio.fail_after(300):
            while data := await client.stream.receive_some(MIB):
                total += len(data)
                if not first and total > 64 * MIB:
                    first = resident()
                if data.endswith(b"0\r\n\r\n"):
                    break
        assert total > 1024 * MIB * (2 if code == TWICE else 1)
        assert resident() - first < 8 * MIB


def resident() -> int:
    """Bytes of this process, where upstream, gateway and client are."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


# ---------------------------------------------------------------- how a stream ends


def causes(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.name == "blitz.plugin"]
    return [line.rpartition(": ")[2] for line in said if line.startswith("[WASM Plugin] guest: ")]


@PARSERS
async def test_the_end_is_told_with_its_cause(
    tmp_path: Any, parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    plugin = guest(tmp_path, request=PASS, response=PASS, end=True)
    begins = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"

    async def script(served: Served) -> None:
        while True:
            target = (await served.head()).split()[1]
            if target == b"/whole":
                await served.send(begins + b"world")
            elif target == b"/broken":
                await served.send(begins)
                return
            else:
                await served.send(begins)
                await trio.sleep_forever()

    timeouts = Timeouts(response_idle=0.1)
    async with rig(script, parser=parser, plugins=[plugin], timeouts=timeouts) as test:
        for target, cause in (
            ("/whole", "done"),
            ("/broken", "upstream_reset"),
            ("/late", "upstream_timeout"),
        ):
            client = await test.connect()
            await client.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            await client.head()
            await until(lambda: causes(caplog))
            assert causes(caplog) == [cause], target
            caplog.clear()
        assert not test.gateway.faults()


async def test_a_client_that_leaves_ends_its_stream(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    plugin = guest(tmp_path, response=PASS, end=True, max_instances=1)
    async with rig(Counting(256 * MIB), plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await client.head()
        await trio.aclose_forcefully(client.stream)
        await until(lambda: causes(caplog))
        assert causes(caplog) in (["client_reset"], ["client_gone"])


async def test_an_end_that_takes_long_keeps_nobody(tmp_path: Any) -> None:
    plugin = guest(tmp_path, response=PASS, end=True, end_code=SPIN, timeout=0.05)
    script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    async with rig(script, plugins=[plugin]) as test:
        client = await test.connect()
        for _ in range(3):
            assert (await ask(client))[2] == b"hello"
        await until(lambda: len(test.gateway.faults()) == 3)
        assert {fault.hook for fault in test.gateway.faults()} == {"process_end"}


# ---------------------------------------------------------------- cancellation


@pytest.mark.parametrize("where", ["response", "request"])
@pytest.mark.parametrize("state", [pytest.param("spins", marks=pytest.mark.slow), "waits for more"])
async def test_a_gateway_that_ends_in_the_middle_leaves_nothing(
    tmp_path: Any, where: str, state: str
) -> None:
    """Whatever a stream waits for then: its instance must be gone before its plugin is (else that raises)."""
    code = SPIN if state == "spins" else PASS
    plugin = guest(tmp_path, timeout=60.0, **{where: code})

    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await trio.sleep_forever()

    async with rig(script, plugins=[plugin]) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        await until(lambda: test.upstream.connections or where == "request")
        if where == "response" and state != "spins":
            await client.head()
        else:
            await trio.sleep(0.05)


async def test_a_guest_that_loops_on_a_part_hurts_nobody_else(tmp_path: Any) -> None:
    plugins = [guest(tmp_path, response=SPIN, timeout=0.5)]
    routes = [
        Route(path="/spin", upstream="main", plugins=["guest"]),
        Route(path="/", upstream="main", plugins=[]),
    ]
    script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    async with rig(script, plugins=plugins, routes=routes) as test, trio.open_nursery() as nursery:
        ended = False

        async def spin() -> None:
            nonlocal ended
            assert (await test.get("/spin"))[0] == 500
            ended = True

        nursery.start_soon(spin)
        served = 0
        while not ended:
            assert (await test.get("/"))[2] == b"hello"
            served += 1
        assert served > 3
