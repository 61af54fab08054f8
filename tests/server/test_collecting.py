"""Answers that come slowly, and plugins that want their bodies.

Invariant: whatever a plugin sees of it, a body that goes on goes on whole.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
import wasmtime

from blitz.config import Plugin, Timeouts

from .harness import Served, rig

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
# Says in fields what it saw: x-truncated, and x-size, a letter for each 1,000 bytes of the body ("a": less).
TELLS = """(module
  (import "env" "get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "set_header" (func $set (param i32 i32 i32 i32)))
  %s
  (memory (export "memory") 8)
  (data (i32.const 0) "x-truncatedx-sizebody.truncated")
  (func (export "blitz_buffer") (result i32) (i32.const 0x10000))
  (func (export "blitz_buffer_size") (result i32) (i32.const 0x40000))
  (func (export "process_response") (param i32 i32) (param $len i32) (result i32)
    (call $set (i32.const 0) (i32.const 11) (i32.const 64)
      (call $get (i32.const 17) (i32.const 14) (i32.const 64) (i32.const 9)))
    (i32.store8 (i32.const 80) (i32.add (i32.const 97) (i32.div_u (local.get $len) (i32.const 1000))))
    (call $set (i32.const 11) (i32.const 6) (i32.const 80) (i32.const 1))
    (i32.const 0)))"""
WRITES = '(import "env" "set_body" (func (param i32 i32)))'


@pytest.fixture
def tells(tmp_path: Path) -> Plugin:
    return made(tmp_path, "")


@pytest.fixture
def writes(tmp_path: Path) -> Plugin:
    return made(tmp_path, WRITES)


def made(directory: Path, imports: str) -> Plugin:
    path = directory / "tells.wasm"
    path.write_bytes(wasmtime.wat2wasm(TELLS % imports))
    return Plugin(name="tells", file=str(path))


def slow(parts: list[bytes], seen: trio.Event, content_type: bytes = b"text/plain") -> object:
    """The head and all parts but the last; that one once *seen* is set."""

    async def script(served: Served) -> None:
        await served.head()
        await served.send(CHUNKED % content_type + b"".join(parts[:-1]))
        await seen.wait()
        await served.send(parts[-1])

    return script


@pytest.mark.parametrize("parser", ["auto", "auto+tls"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_reader_sees_what_came_in_time_and_the_client_gets_all(
    tells: Plugin, parser: str, seed: int
) -> None:
    """The cut is anywhere: in data, in a size line, behind the last byte of a chunk."""
    chance = random.Random(seed)
    chunks = [chance.randbytes(chance.randrange(1, 3000)) for _ in range(5)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cut = chance.randrange(1, len(coded) - 5)
    seen = trio.Event()
    script = slow([coded[:cut], coded[cut:]], seen)
    async with rig(script, parser=parser, plugins=[tells], timeouts=Timeouts(collect=0.2)) as test:
        client = await test.connect()
        with trio.fail_after(20):
            await client.send(GET)
            status, fields = await client.head()
            assert (status, fields["x-truncated"]) == (200, "1")
            seen.set()
            assert await client.rest_of_chunks() == b"".join(chunks)


async def test_a_body_that_comes_in_time_is_seen_whole(tells: Plugin) -> None:
    seen = trio.Event()
    async with rig(slow([b"7d0\r\n", bytes(2000) + b"\r\n0\r\n\r\n"], seen), plugins=[tells]) as test:
        client = await test.connect()
        await client.send(GET)
        await trio.sleep(0.05)
        seen.set()
        _, fields, body = await client.answer()
        assert (fields["x-truncated"], fields["x-size"], body) == ("0", "c", bytes(2000))


async def test_a_writer_does_not_get_a_part_for_the_whole(writes: Plugin) -> None:
    never = trio.Event()
    script = slow([b"1\r\na\r\n", b""], never)
    async with rig(script, plugins=[writes], timeouts=Timeouts(collect=0.1)) as test:
        client = await test.connect()
        with trio.fail_after(20):
            await client.send(GET)
            assert (await client.answer())[0] == 504
        assert test.gateway.statistics().plugins["tells"].faults == 0


async def test_a_plugin_can_tell_a_stream_from_an_empty_body(writes: Plugin) -> None:
    seen = trio.Event()
    script = slow([b"2\r\n1\n\r\n", b"2\r\n2\n\r\n0\r\n\r\n"], seen, b"application/x-ndjson")
    async with rig(script, plugins=[writes]) as test:
        client = await test.connect()
        with trio.fail_after(20):
            await client.send(GET)
            _, fields = await client.head()
            assert (fields["x-truncated"], fields["x-size"]) == ("1", "a")
            seen.set()
            assert await client.rest_of_chunks() == b"1\n2\n"
    async with rig(slow([b"", b"0\r\n\r\n"], seen), plugins=[writes]) as test:
        _, fields, _ = await test.get()
        assert (fields["x-truncated"], fields["x-size"]) == ("0", "a")


WRITER = """(module
  (import "env" "set_body" (func $body (param i32 i32)))
  (memory (export "memory") 2)
  (func (export "blitz_buffer") (result i32) (i32.const 0))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_response") (param i32 i32 i32) (result i32)
    (call $body (i32.const 0x8000) (i32.const 2000))
    (i32.const 0)))"""


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_reader_sees_what_another_plugin_has_written(
    tells: Plugin, tmp_path: Path, parser: str
) -> None:
    path = tmp_path / "writer.wasm"
    path.write_bytes(wasmtime.wat2wasm(WRITER))
    writer = Plugin(name="writer", file=str(path), response_body="none", order=1)

    async def script(served: Served) -> None:
        while True:
            await served.head()
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async with rig(script, parser=parser, plugins=[tells, writer]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            _, fields, body = await client.answer()
            assert (fields["x-size"], fields["x-truncated"], body) == ("c", "0", bytes(2000))
