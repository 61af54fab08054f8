"""Invariant: whatever bytes a client sends, the upstream gets clean requests or none, the client gets clean
answers or none, and both parsers say the same.

The mutants are made from all that the HTTP suite sends, by a seeded generator: the same ones in each run.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator

import trio

from ..http_suite.case import Byte
from ..http_suite.cases import ALL
from ..http_suite.targets import TARGETS, running
from ..http_suite.upstream import Upstream

COUNT = int(os.environ.get("MUTANTS", "5000"))
SEED = int(os.environ.get("MUTANTS_SEED", "20"))
AT_ONCE = 16
PATIENCE = 10.0
MAX_SIZE = 20_000
PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b"\xa0",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Connection: Host, Content-Length\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET / HTTP/1.1\r\n",
    b"chunked",
    b"identity",
    b"-1",
    b"+5",
    b"0x5",
    b"5;a=b",
    b"18446744073709551616",
    b"http://b/",
    b"*",
    b"%00",
    b"#",
)
# What differs between two runs of the same: the time, and the name of the exchange.
VARIABLE = re.compile(rb"Date: [^\r]*\r\n|request [0-9a-f]{32}\n")
STATUS = re.compile(rb"HTTP/1\.1 [1-5][0-9][0-9] ")


def seeds() -> list[bytes]:
    found = []
    for case in ALL:
        parts = [
            step.data if isinstance(step, Byte) else step
            for step in case.send
            if isinstance(step, bytes | Byte)
        ]
        data = b"".join(parts).replace(b"T0KEN", b"token")
        if data and len(data) < MAX_SIZE:
            found.append(data)
    return found


def mutants(count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    pool = seeds()
    for _ in range(count):
        data = bytearray(rng.choice(pool))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            mutate(data, rng, pool)
        yield bytes(data)


def mutate(data: bytearray, rng: random.Random, pool: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 2, 5, 20)))
    match rng.randrange(8):
        case 0:
            data[at:at] = rng.choice(PIECES)
        case 1:
            data[at:end] = rng.choice(PIECES)
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end]
        case 4 if at < len(data):
            data[at] = rng.randrange(256)
        case 5 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 6:
            other = rng.choice(pool)
            data[at:] = other[rng.randrange(len(other)) :]
        case _:
            lines = bytes(data).split(b"\r\n")
            first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            data[:] = b"\r\n".join(lines)


async def ask(address: tuple[str, int], data: bytes) -> bytes:
    """Everything that comes back, up to the end of the connection."""
    received = b""
    with trio.fail_after(PATIENCE):
        stream = await trio.open_tcp_stream(*address)
        async with stream:
            try:
                await stream.send_all(data)
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass  # refused before the end; the reason is still to be read
            try:
                async for part in stream:
                    received += part
            except trio.BrokenResourceError:
                received += b"<reset>"
    return received


async def outcomes(target: str, inputs: list[bytes]) -> tuple[list[bytes], list[str]]:
    """What each input got, and what of all that reached the upstream was not clean."""
    upstream = Upstream()
    got: dict[int, bytes] = {}

    async def work(address: tuple[str, int], todo: Iterator[tuple[int, bytes]]) -> None:
        for number, data in todo:
            try:
                got[number] = VARIABLE.sub(b"", await ask(address, data))
            except trio.TooSlowError:
                got[number] = b"<nothing came for %d s>" % PATIENCE

    async with trio.open_nursery() as nursery:
        port = await nursery.start(upstream.serve)
        play = upstream.begin(b"zzzzz", ())
        play.frozen = True
        server = running(TARGETS[target], port)
        address = await trio.to_thread.run_sync(server.__enter__)
        try:
            todo = enumerate(inputs)
            async with trio.open_nursery() as workers:
                for _ in range(AT_ONCE):
                    workers.start_soon(work, address, todo)
        finally:
            await trio.to_thread.run_sync(server.__exit__)
        assert "Traceback" not in server.last_output, server.last_output[-3000:]
        nursery.cancel_scope.cancel()
    return [got[number] for number in range(len(inputs))], play.errors


async def test_mutants_leave_nothing_unclean_and_both_parsers_agree() -> None:
    inputs = list(mutants(COUNT, SEED))
    results: dict[str, tuple[list[bytes], list[str]]] = {}

    async def run(target: str) -> None:
        results[target] = await outcomes(target, inputs)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "blitz-auto-1")
        nursery.start_soon(run, "blitz-h11-1")
    (auto, auto_errors), (h11, h11_errors) = results["blitz-auto-1"], results["blitz-h11-1"]
    assert auto_errors == []
    assert h11_errors == []
    strange = [(data, got) for data, got in zip(inputs, auto, strict=True) if got and not STATUS.match(got)]
    assert strange == []
    different = [row for row in zip(inputs, auto, h11, strict=True) if row[1] != row[2]]
    assert different == []
    statuses = {got[9:12] for got in auto if got}
    assert {b"200", b"400"} <= statuses, "the mutants have stopped to be of both kinds"
