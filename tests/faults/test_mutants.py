"""Invariant: whatever bytes a client sends, the upstream gets clean requests or none, the client gets clean
answers or none, and both parsers say the same.

The mutants are made from all that the HTTP suite sends, by a seeded generator: the same ones in each run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
import trio

from ..http_suite.targets import TARGETS, running
from ..http_suite.upstream import Upstream
from .mutants import mutants

COUNT = int(os.environ.get("MUTANTS", "5000"))  # of the longer test
FEW = 1200
SEED = int(os.environ.get("MUTANTS_SEED", "20"))
AT_ONCE = 16
PATIENCE = 30.0
# What differs between two runs of the same: the time, and the name of the exchange.
VARIABLE = re.compile(rb"Date: [^\r]*\r\n|request [0-9a-f]{32}\n")
STATUS = re.compile(rb"HTTP/1\.1 [1-5][0-9][0-9] ")


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


@pytest.mark.parametrize("count", [FEW, pytest.param(COUNT, marks=pytest.mark.slow)])
async def test_mutants_leave_nothing_unclean_and_both_parsers_agree(count: int) -> None:
    inputs = list(mutants(count, SEED))
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
