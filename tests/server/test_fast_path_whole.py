"""Bodies that plugins read whole and change, on the fast path: the general path does the same with them.

Invariant: what a plugin sees of a body is the body, and what it makes of it is what arrives, whole.
"""

from __future__ import annotations

import itertools
import random
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Limits, Log, Plugin, Timeouts

from .harness import Client, Rig, Served, rig, until
from .test_access import Lines, lines  # noqa: F401
from .test_fast_path import get
from .test_fast_path_streams import comparable

# x-act of the message says what is done with its body: e sets it to its first bytes, d to itself twice, z to
# nothing, b to one of 300,000 bytes, w works for longer than a slice first. What was seen of it is x-saw:
# whether it was cut, and its length.
GUEST = """(module
  (import "env" "get_header" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "add_header" (func $add (param i32 i32 i32 i32)))
  (import "env" "get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "get_body" (func $get_body (param i32 i32) (result i32)))
  @writes@
  (memory (export "memory") 80)
  (data (i32.const 0) "x-act")
  (data (i32.const 8) "x-saw")
  (data (i32.const 16) "body.truncated")
  (func (export "blitz_buffer") (result i32) (i32.const 2500000))
  (func (export "blitz_buffer_size") (result i32) (i32.const 1200000))
  (func $is (param $letter i32) (result i32) (i32.eq (i32.load8_u (i32.const 64)) (local.get $letter)))
  (func $hook
    (local $n i32) (local $digit i32) (local $left i32)
    (i32.store8 (i32.const 64) (i32.const 0))
    (drop (call $get (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 1)))
    (if (call $is (i32.const 119))
      (then
        (local.set $left (i32.const 6000000))
        (loop $again
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $again (local.get $left)))))
    (local.set $n (call $get_body (i32.const 65536) (i32.const 2000000)))
    (drop (call $property (i32.const 16) (i32.const 14) (i32.const 80) (i32.const 1)))
    (local.set $left (local.get $n))
    (local.set $digit (i32.const 88))
    (loop $more
      (i32.store8 (local.get $digit) (i32.add (i32.const 48) (i32.rem_u (local.get $left) (i32.const 10))))
      (local.set $left (i32.div_u (local.get $left) (i32.const 10)))
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (br_if $more (i32.gt_u (local.get $digit) (i32.const 80))))
    (call $add (i32.const 8) (i32.const 5) (i32.const 80) (i32.const 9))
    @acts@)
  @hooks@)"""
WRITES = '(import "env" "set_body" (func $body (param i32 i32)))'
ACTS = """
    (if (call $is (i32.const 101)) (then (call $body (i32.const 65536)
      (select (local.get $n) (i32.const 7) (i32.lt_u (local.get $n) (i32.const 7))))))
    (if (call $is (i32.const 122)) (then (call $body (i32.const 65536) (i32.const 0))))
    (if (call $is (i32.const 98)) (then (call $body (i32.const 4000000) (i32.const 300000))))
    (if (call $is (i32.const 100))
      (then
        (memory.copy (i32.add (i32.const 65536) (local.get $n)) (i32.const 65536) (local.get $n))
        (call $body (i32.const 65536) (i32.shl (local.get $n) (i32.const 1)))))"""
REQUEST = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (call $hook) (i32.const 0))'
RESPONSE = '(func (export "process_response") (param i32 i32 i32) (result i32) (call $hook) (i32.const 0))'
DATA = bytes(range(32, 127)) * 9000
MAX_BODY = 5000


def plugin(folder: Path, hooks: str, *, writes: bool, max_body: int | None = None) -> Plugin:
    text = GUEST.replace("@hooks@", hooks).replace("@writes@", WRITES if writes else "")
    path = folder / "guest.wasm"
    path.write_bytes(wasmtime.wat2wasm(text.replace("@acts@", ACTS if writes else "")))
    return Plugin(name="guest", file=str(path), max_body=max_body, timeout=5)


@dataclass(frozen=True)
class Message:
    """A request's body, or a response's, and how it comes.

    Attributes:
        chunk: bytes of each chunk; 0: its length is known; -1: it ends with the connection.
        cuts: sizes of the pieces that it is sent in.
    """

    act: str
    size: int
    chunk: int
    cuts: tuple[int, ...]
    fields: str = ""
    status: int = 200

    @property
    def body(self) -> bytes:
        return DATA[: self.size]

    def framed(self) -> bytes:
        head = f"x-act: {self.act}\r\n{self.fields}".encode()
        if self.chunk < 0:
            return head + b"\r\n" + self.body
        if not self.chunk:
            return head + b"Content-Length: %d\r\n\r\n" % self.size + self.body
        parts = [self.body[at : at + self.chunk] for at in range(0, self.size, self.chunk)]
        coded = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nx: y\r\n\r\n"
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + coded

    def pieces(self, octets: bytes) -> list[bytes]:
        pieces = []
        for cut in itertools.islice(itertools.cycle(self.cuts), 12):
            pieces.append(octets[:cut])
            octets = octets[cut:]
        return [piece for piece in [*pieces, octets] if piece]


EDGES = (0, 1, MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 16_383, 16_384, 16_385, 62_000, 64_000, 131_000, 300_000)
MESSAGES = st.builds(
    Message,
    st.sampled_from("0edzbw"),
    st.one_of(st.integers(0, 60), st.sampled_from(EDGES), st.integers(0, 140_000)),
    st.sampled_from([0, 0, 0, 7, 1000, 70_000, -1]),
    st.lists(st.sampled_from([1, 40, 90, 400, 5_000, 30_000]), min_size=1, max_size=4).map(tuple),
    st.sampled_from(
        ["", "", "", "Accept-Ranges: bytes\r\n", "ETag: a\r\n", "Content-Type: application/x-ndjson\r\n"]
    ),
    st.sampled_from([200, 200, 200, 200, 206, 404]),
)


async def send_pieces(served: Served | Client, message: Message, octets: bytes) -> None:
    for piece in message.pieces(octets):
        await served.send(piece)
        await trio.lowlevel.checkpoint()


async def play_responses(
    parser: str, one: Plugin, messages: list[Message], found: Lines | None = None
) -> list[Any]:
    """-> status, fields and body of each response, and how many connections the upstream has had."""
    connections = 0

    async def script(served: Served) -> None:
        nonlocal connections
        connections += 1
        while True:
            head = await served.head()
            message = messages[int(head.split(b" ")[1][1:])]
            await send_pieces(served, message, b"HTTP/1.1 %d X\r\n" % message.status + message.framed())
            if message.chunk < 0:
                return

    answers: list[Any] = []
    log = Log(access="json" if found else "off")
    async with rig(script, parser=parser, plugins=[one], log=log) as test:
        client = await test.connect()
        for number in range(len(messages)):
            await client.send(get(f"/{number}"))
            with trio.fail_after(30):
                status, fields, body = await client.answer()
            fields.pop("date", None)
            answers.append((status, fields, body if status < 500 else b""))
            if status >= 500:
                fields.pop("content-length")
            if fields.get("connection") == "close":
                await client.stream.aclose()
                client = await test.connect()
        await client.stream.aclose()
        if found is not None:
            answers += [comparable(line) for line in await found.wait(len(messages))]
            found.lines.clear()
    return [answers, connections]


@settings(max_examples=6)
@given(
    messages=st.lists(MESSAGES, min_size=1, max_size=6),
    writes=st.booleans(),
    max_body=st.sampled_from([None, None, MAX_BODY]),
)
def test_both_paths_do_the_same_with_bodies_of_responses(
    messages: list[Message], writes: bool, max_body: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one = plugin(Path(folder), RESPONSE, writes=writes, max_body=max_body)
        fast = trio.run(play_responses, "auto", one, messages)
        assert fast == trio.run(play_responses, "h11", one, messages)


def test_both_paths_log_the_same_of_bodies_of_responses(tmp_path: Path, lines: Lines) -> None:  # noqa: F811
    one = plugin(tmp_path, RESPONSE, writes=True, max_body=MAX_BODY)
    messages = [
        Message(act, size, chunk, (70, 3000))
        for act in "0ez"
        for size in (0, 300, MAX_BODY, MAX_BODY + 1)
        for chunk in (0, 100)
    ]
    fast = trio.run(play_responses, "auto", one, messages, lines)
    assert fast == trio.run(play_responses, "h11", one, messages, lines)


async def play_requests(parser: str, one: Plugin, messages: list[Message]) -> list[Any]:
    """-> what came of each request, as the upstream saw it, and the statuses of the responses."""
    seen: list[tuple[bytes, bytes, bytes]] = []
    statuses: list[int] = []

    async def script(served: Served) -> None:
        while True:
            head = await served.head()
            fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
            body = b""
            if b"content-length" in fields:
                body = await served.exactly(int(fields[b"content-length"]))
            elif b"transfer-encoding" in fields:
                while size := int(await until_line_ends(served), 16):
                    body += await served.exactly(size)
                    await served.exactly(2)
                await served.exactly(2)
            seen.append((head.split(b" ")[1], fields.get(b"x-saw", b""), body))
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with rig(script, parser=parser, plugins=[one], limits=Limits(max_body_size=0)) as test:
        client = await test.connect()
        for number, message in enumerate(messages):
            octets = f"PUT /{number} HTTP/1.1\r\nHost: test\r\n".encode() + message.framed()
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_until_refused, client, message, octets)
                    status, fields, _ = await client.answer()
                    nursery.cancel_scope.cancel()
            statuses.append(status)
            if fields.get("connection") == "close":
                await client.stream.aclose()
                client = await test.connect()
        await client.stream.aclose()
    return [seen, statuses]


async def send_until_refused(client: Client, message: Message, octets: bytes) -> None:
    try:
        await send_pieces(client, message, octets)
    except trio.BrokenResourceError:
        return


async def until_line_ends(served: Served) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += await served.exactly(1)
    return line[:-2]


@settings(max_examples=6)
@given(
    messages=st.lists(MESSAGES.filter(lambda one: one.chunk >= 0), min_size=1, max_size=6),
    writes=st.booleans(),
    max_body=st.sampled_from([None, None, MAX_BODY]),
)
def test_both_paths_do_the_same_with_bodies_of_requests(
    messages: list[Message], writes: bool, max_body: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one = plugin(Path(folder), REQUEST, writes=writes, max_body=max_body)
        fast = trio.run(play_requests, "auto", one, messages)
        assert fast == trio.run(play_requests, "h11", one, messages)


# ---------------------------------------------------------------- it stays, and what it holds


def parked(test: Rig) -> list[Any]:
    return list(test.gateway._context.fast_path._tables.parked.values())


async def warm(test: Rig) -> Client:
    """A client on the fast path; the upstream answers /0."""
    client = await test.connect()
    for _ in range(3):
        await client.send(get("/0"))
        assert (await client.answer())[0] == 200
    await until(lambda: len(parked(test)) == 1, patience=20)
    return client


async def stays(test: Rig, ask: Callable[[], Awaitable[None]]) -> None:
    """The exchange of *ask* is on the fast path from its first byte to its last. A guest that uses up its
    slice, because the machine is busy, has to leave: then another try is made."""
    with trio.fail_after(20):
        while True:
            await until(lambda: len(parked(test)) == 1, patience=20)
            before = parked(test)[0]
            await ask()
            await until(lambda: len(parked(test)) == 1, patience=20)
            if parked(test)[0] is before:  # whoever leaves comes back as somebody else
                return


@pytest.mark.parametrize("encrypted", ["", "+tls-in"])
async def test_bodies_of_responses_stay_on_the_fast_path(tmp_path: Path, encrypted: str) -> None:
    sizes = (("0", 300), ("0", 100_000), ("0", 400_000), ("e", 100_000), ("d", 200_000), ("b", 1))
    messages = [Message("0", 5, 0, (90,))]
    messages += [Message(act, size, chunk, (5000,)) for act, size in sizes for chunk in (0, 5000)]

    async def script(served: Served) -> None:
        while True:
            message = messages[int((await served.head()).split(b" ")[1][1:])]
            octets = b"HTTP/1.1 200 OK\r\n" + message.framed()
            await served.send(octets[:400])
            await trio.sleep(0.002)
            await served.send(octets[400:])

    one = plugin(tmp_path, RESPONSE, writes=True)
    async with rig(script, parser="auto" + encrypted, plugins=[one]) as test:
        client = await warm(test)

        async def ask(number: int) -> None:
            message = messages[number]
            await client.send(get(f"/{number}"))
            status, fields, body = await client.answer()
            expected = {"e": message.body[:7], "d": message.body * 2, "b": bytes(300_000)}
            assert (status, fields["x-saw"]) == (200, f"0{message.size:08}")
            assert body == expected.get(message.act, message.body)

        for number in range(len(messages)):
            await stays(test, lambda number=number: ask(number))  # type: ignore[misc]
        assert test.gateway._context.fast_path.reserved == 0
        await client.stream.aclose()


@pytest.mark.parametrize("encrypted", ["", "+tls-in"])
async def test_large_bodies_of_requests_stay_on_the_fast_path(tmp_path: Path, encrypted: str) -> None:
    bodies: list[bytes] = []

    async def script(served: Served) -> None:
        while True:
            head = await served.head()
            fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
            bodies.append(await served.exactly(int(fields.get(b"content-length", b"0"))))
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    one = plugin(tmp_path, REQUEST, writes=True)
    async with rig(script, parser="auto" + encrypted, plugins=[one]) as test:
        client = await warm(test)

        async def ask(message: Message) -> None:
            octets = b"POST / HTTP/1.1\r\nHost: test\r\n" + message.framed()
            await client.send(octets[:300])
            await trio.sleep(0.002)
            await client.send(octets[300:])
            assert (await client.answer())[0] == 200
            expected = {"e": message.body[:7], "d": message.body * 2, "b": bytes(300_000)}
            assert bodies[-1] == expected.get(message.act, message.body)

        sizes = (("0", 17_000), ("0", 100_000), ("0", 800_000), ("e", 100_000), ("d", 300_000), ("b", 1))
        for act, size in sizes:
            for chunk in (0, 5000):
                message = Message(act, size, chunk, (5000,))
                await stays(test, lambda message=message: ask(message))  # type: ignore[misc]
        assert test.gateway._context.fast_path.reserved == 0
        await client.stream.aclose()


@pytest.mark.parametrize("direction", ["request", "response"])
async def test_what_slow_senders_are_given_is_bounded_and_given_back(tmp_path: Path, direction: str) -> None:
    go_on = trio.Event()
    count, size = 12, 700_000
    hooks = REQUEST if direction == "request" else RESPONSE

    async def script(served: Served) -> None:
        while True:
            if b" /0 " in await served.head():
                await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            elif direction == "request":
                await served.exactly(size)
                await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            else:
                await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(300))
                await go_on.wait()
                await served.send(bytes(size - 300))

    one = plugin(tmp_path, hooks, writes=False)
    async with rig(script, plugins=[one]) as test:
        fast_path = test.gateway._context.fast_path
        clients = [await test.connect() for _ in range(count)]
        asks = b"POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size + bytes(300)
        for client in clients:
            await client.send(get("/0"))
            await client.answer()
            await client.send(asks if direction == "request" else get("/1"))
        await until(lambda: fast_path.reserved > 4 * size, patience=20)
        if direction == "request":
            await until(lambda: fast_path.reserved > count * size, patience=20)
        assert fast_path.reserved < count * (size + 64 * 1024)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                go_on.set()
                if direction == "request":
                    for client in clients:
                        nursery.start_soon(client.send, bytes(size - 300))
                for client in clients:
                    assert (await client.answer())[0] == 200
        await until(lambda: fast_path.reserved == 0, patience=20)
        for client in clients:
            await client.stream.aclose()


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("parser", ["auto", "h11"])
@pytest.mark.parametrize("end", ["reset", "cut", "coding", "late", "idle"])
@pytest.mark.parametrize("writes", [False, True])
async def test_a_body_that_does_not_come_to_its_end(
    tmp_path: Path,
    parser: str,
    end: str,
    writes: bool,
    lines: Lines,  # noqa: F811
) -> None:
    """All of these happen behind the first part of the body, which is in memory by then."""
    over = trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b" /0 " in await served.head():
                await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe")
            await trio.sleep(0.02)
            if end == "coding":
                await served.send(b"llo!!")
            if end in ("late", "idle"):
                await over.wait()
                await served.send(b"llo\r\n0\r\n\r\n")
                continue
            if end == "reset":
                served.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            served.stream.socket.close()
            return

    times = Timeouts(**{"late": {"collect": 0.2}, "idle": {"response_idle": 0.2}}.get(end, {}))
    one = plugin(tmp_path, RESPONSE, writes=writes)
    log = Log(access="json")
    async with rig(script, parser=parser, plugins=[one], timeouts=times, log=log) as test:
        client = await warm_enough(test)
        await client.send(get("/1"))
        with trio.fail_after(20):
            status, fields = await client.head()
            if end == "late" and not writes:
                assert (status, fields["x-saw"]) == (200, "100000007")
                over.set()
                assert await client.rest_of_chunks() == b"hellohello"
            else:
                assert status == (504 if end in ("late", "idle") else 502)
                over.set()
        await client.stream.aclose()
        line = next(one for one in map(comparable, await lines.wait(4)) if one["target"] == "/1")
        errors = {
            "reset": "connection reset in the answer's body",
            "cut": "body cut short: the last chunk is missing",
            "coding": "malformed chunked coding",
        }
        assert (line["status"], line["sent"]) == (status, int(fields.get("content-length", 10)))
        assert line.get("error") == errors.get(end, line.get("error"))
        lines.lines.clear()


async def warm_enough(test: Rig) -> Client:
    client = await test.connect()
    for _ in range(3):
        await client.send(get("/0"))
        assert (await client.answer())[0] == 200
    return client


async def test_a_guest_that_takes_time_still_has_the_body(tmp_path: Path) -> None:
    """It is handed over with a body that lies where the next ones are read, or in memory that goes."""
    chance = random.Random(1)
    messages = [Message("0", 5, 0, (90,))]
    for number in range(24):
        size, chunk = chance.choice([40, 3000, 90_000, 200_000]), chance.choice([0, 900])
        messages.append(Message("w" if number % 2 else "0", size, chunk, (700,)))

    async def script(served: Served) -> None:
        while True:
            message = messages[int((await served.head()).split(b" ")[1][1:])]
            await send_pieces(served, message, b"HTTP/1.1 200 OK\r\n" + message.framed())

    one = plugin(tmp_path, RESPONSE, writes=False)
    async with rig(script, plugins=[one]) as test:

        async def ask(numbers: list[int]) -> None:
            client = await test.connect()
            for number in [0, *numbers]:
                await client.send(get(f"/{number}"))
                status, fields, body = await client.answer()
                assert (status, fields["x-saw"]) == (200, f"0{messages[number].size:08}")
                assert body == messages[number].body
            await client.stream.aclose()

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for first in range(1, 7):
                    nursery.start_soon(ask, list(range(first, len(messages), 6)))
