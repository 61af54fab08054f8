"""Memory per connection is bounded, whatever both of its sides do: docs/limits.md has the bound.

Each attack opens many connections, each of which does its worst and stays. What the gateway has grown by
then, for each of them, must be within the bound that follows from the configuration; a later wave must find
room in what the ones before it have left.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.conftest import compile_wat

from ..e2e.conftest import Process
from ..ports import free_port

KIB = 1024
PART = 256 * KIB
HEAD = 64 * KIB  # limits.max_head_size
MAX_BODY = 512 * KIB  # plugin_defaults.max_body
GUEST = 64 * KIB  # memory of the guest below, which is all that it may have
STACK = 64 * KIB  # of a guest that is running: what it touches of its fiber
COUNT = 60

# docs/limits.md
CONNECTION = 64 * KIB
HEADS = 2 * (HEAD + 4 * KIB)
BODIES = 2 * PART
BEHIND = PART + 4 * KIB
UNSENT = HEAD + PART
PLAIN = CONNECTION + HEADS + BODIES + BEHIND + UNSENT
PLUGIN = GUEST + STACK + 5 * MAX_BODY + 2 * PART

# Reads the body of a request, so that all of it is collected, and gets that of an answer.
READER = """(module
  (import "env" "get_body" (func $get_body (param i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (drop (call $get_body (i32.const 8192) (i32.const 4096))) (i32.const 0))
  (func (export "process_response") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "blitz_alloc") (param i32) (result i32) (i32.const 4096)))"""

Act = Callable[[trio.SocketStream], Awaitable[None]]


async def flood(stream: trio.SocketStream, data: bytes) -> None:
    """Until nobody takes any more."""
    while True:
        await stream.send_all(data)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def get(path: bytes, fields: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: test\r\n" + fields + b"\r\n"


def post(path: bytes, fields: bytes) -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nHost: test\r\n" + fields + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
UPGRADE = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
LARGE_HEAD = b"".join(b"X-%02d: %b\r\n" % (n, b"v" * 1000) for n in range(58))


def says(first: bytes, then: bytes = b"", *, pause: float = 0.0) -> Act:
    """Send *first*, then *then* again and again."""

    async def act(stream: trio.SocketStream) -> None:
        await stream.send_all(first)
        while then:
            await stream.send_all(then)
            await trio.sleep(pause)
        await trio.sleep_forever()

    return act


OK = b"HTTP/1.1 200 OK\r\n"
BLOCK = bytes(64 * KIB)
TINY = b"1;a=bcdefghijk\r\nx\r\n" * 3000  # larger extensions are refused: they must pay for themselves
UPSTREAM: dict[bytes, Act] = {
    b"/flood-chunks": says(OK + CHUNKED + b"\r\n", chunk(BLOCK)),
    b"/flood-large-head": says(OK + LARGE_HEAD + CHUNKED + b"\r\n", chunk(BLOCK)),
    b"/flood-length": says(OK + b"Content-Length: 1000000000\r\n\r\n", BLOCK),
    b"/flood-tiny-chunks": says(OK + CHUNKED + b"\r\n", TINY),
    b"/head-without-end": says(OK + LARGE_HEAD, b"X: " + b"y" * 16 + b"\r\n", pause=0.5),
    b"/interim": says(b"HTTP/1.1 103 Early Hints\r\n" + LARGE_HEAD + b"\r\n"),
    b"/collected": says(OK + b"Content-Length: %d\r\n\r\n" % MAX_BODY + bytes(MAX_BODY - 1)),
    b"/collected-whole": says(OK + b"Content-Length: %d\r\n\r\n" % MAX_BODY + bytes(MAX_BODY)),
    b"/tunnel": says(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", BLOCK
    ),
    b"/silent": says(b""),
    b"/small": says(b""),
}


@dataclass(frozen=True)
class Attack:
    """*act* on each connection; *bound*: bytes that it may cost."""

    name: str
    act: Act
    bound: int = PLAIN
    parses: bool = False  # heads are what it is about: with both parsers


ATTACKS = [
    Attack("idle", says(b""), CONNECTION),
    Attack("head_without_end", says(get(b"/", LARGE_HEAD)[:-2]), CONNECTION + HEADS, True),
    Attack("empty_lines", says(b"\r\n" * 60 + b"\r"), CONNECTION + HEADS, True),
    Attack("takes_no_chunks", says(get(b"/flood-chunks"))),
    Attack("takes_no_length", says(get(b"/flood-length"))),
    Attack("takes_nothing_large_heads", says(get(b"/flood-large-head", LARGE_HEAD)), PLAIN, True),
    Attack("takes_no_tiny_chunks", says(get(b"/flood-tiny-chunks"))),
    Attack("upstreams_head_without_end", says(get(b"/head-without-end", LARGE_HEAD)), PLAIN, True),
    Attack("upstreams_interim_answers", says(get(b"/interim", LARGE_HEAD)), PLAIN, True),
    Attack("pipelined", says(get(b"/flood-chunks"), get(b"/flood-chunks") * 500)),
    Attack("pipelined_behind_a_body", says(post(b"/silent", CHUNKED) + b"0\r\n\r\n", get(b"/silent") * 2000)),
    Attack("pipelined_answers", says(get(b"/answer") * 1000, get(b"/answer") * 1000), PLAIN, True),
    Attack("body_nobody_takes", says(post(b"/silent", CHUNKED), chunk(BLOCK))),
    Attack("body_of_tiny_chunks", says(post(b"/silent", CHUNKED), TINY)),
    Attack("body_nobody_takes_length", says(post(b"/silent", b"Content-Length: 1000000000\r\n"), BLOCK)),
    Attack("tunnel", says(get(b"/tunnel", UPGRADE), BLOCK)),
    Attack(
        "plugin_collects_a_request",
        says(post(b"/p/silent", CHUNKED), chunk(bytes(8000)), pause=0.02),
        PLAIN + PLUGIN,
    ),
    Attack("plugin_collects_an_answer", says(get(b"/p/collected")), PLAIN + PLUGIN),
    Attack("plugin_has_collected", says(get(b"/p/collected-whole")), PLAIN + PLUGIN),
]


async def upstream(stream: trio.SocketStream) -> None:
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some()
        path = received.split(b" ", 2)[1].removeprefix(b"/p")
        if path == b"/answer":
            await _answer_all(stream, received)
        await UPSTREAM[path](stream)
    except trio.BrokenResourceError:
        pass


async def _answer_all(stream: trio.SocketStream, received: bytes) -> None:
    """Each request gets 8 KiB, which its client will never read."""
    while True:
        for _ in range(received.count(b"\r\n\r\n")):
            await stream.send_all(OK + b"Content-Length: 8192\r\n\r\n" + bytes(8192))
        received = received.rpartition(b"\r\n\r\n")[2] + await stream.receive_some()


async def wave(ports: tuple[int, int], attack: Attack, gateway: Process, count: int) -> int:
    """The most bytes that the gateway has while *count* attackers are there; returns when they are gone."""
    port, behind = ports
    files = gateway.open_files()

    async def attacker() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
        async with stream:
            try:
                await attack.act(stream)
            except trio.BrokenResourceError:
                raise AssertionError(f"{attack.name}: the gateway closed") from None

    most = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_tcp, upstream, behind)
        for _ in range(count):
            nursery.start_soon(attacker)
        for _ in range(12):
            await trio.sleep(0.1)
            most = max(most, gateway.resident())
        nursery.cancel_scope.cancel()
    for _ in range(400):
        if gateway.open_files() <= files + 8:  # pipes are kept
            return most
        await trio.sleep(0.05)
    raise AssertionError(f"{attack.name}: {gateway.open_files()} files are open, {files} were before")


CONFIG = """
listen = ["127.0.0.1:{port}"]
[upstreams.main]
endpoints = ["http://127.0.0.1:{upstream}"]
[[plugins]]
name = "reader"
file = "{plugin}"
max_body = {max_body}
[[routes]]
upstream = "main"
path_prefix = "/p/"
plugins = ["reader"]
[[routes]]
upstream = "main"
plugins = []
"""


@contextlib.contextmanager
def running(directory: Path, parser: str) -> Iterator[tuple[int, int, Process]]:
    plugin, config = directory / "reader.wasm", directory / "blitz.toml"
    plugin.write_bytes(compile_wat(READER))
    port, behind = free_port(), free_port()
    config.write_text(CONFIG.format(port=port, upstream=behind, plugin=plugin, max_body=MAX_BODY))
    options = ("-c", str(config), "--set", f"http.parser={parser}")
    process = Process("-m", "blitz", "run", *options, port=port)
    try:
        yield port, behind, process
    finally:
        code, output = process.stop()
    assert code == 0, output[-3000:]
    assert "Traceback" not in output, output[-3000:]


CASES = [("auto", attack) for attack in ATTACKS] + [("h11", attack) for attack in ATTACKS if attack.parses]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parser", "attack"), [pytest.param(*case, id=f"{case[0]}-{case[1].name}") for case in CASES]
)
def test_a_connection_costs_no_more_than_its_bound(tmp_path: Path, parser: str, attack: Attack) -> None:
    async def run(ports: tuple[int, int], gateway: Process) -> list[float]:
        async with await trio.open_tcp_stream("127.0.0.1", ports[0]) as stream:
            await stream.send_all(get(b"/"))
            assert b" 502 " in await stream.receive_some()  # nobody is behind it; its worker is there
        await wave(ports, attack, gateway, 3)  # what is made once belongs to no connection
        base = gateway.resident()
        return [max(0, await wave(ports, attack, gateway, COUNT) - base) / COUNT for _ in range(3)]

    with running(tmp_path, parser) as (port, behind, gateway):
        seen = trio.run(run, (port, behind), gateway)
    print(", ".join(f"{each / KIB:.0f}" for each in seen), f"KiB each, bound {attack.bound / KIB:.0f}")
    assert max(seen) <= attack.bound
    # The last wave lives in what those before it have left.
    assert seen[2] <= 1.25 * max(seen[:2]) + CONNECTION
