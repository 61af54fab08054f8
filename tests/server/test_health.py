"""An endpoint that goes down is said once, with the cause; its return once, with how long it took."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from blitz.config import Timeouts, Upstream, UpstreamTls

from .harness import FakeUpstream, Served, answering, authority, echo, rig

DOWN = re.compile(r"upstream main: (unix:\S+) is down: cannot connect: no such socket file")
BACK = re.compile(r"upstream main: (unix:\S+) is back: down for (\d+\.\d) s, ([\d,]+) connections? failed")


@contextlib.asynccontextmanager
async def listening(path: Path) -> AsyncIterator[None]:
    """An upstream on a Unix socket, for as long as the block runs."""
    made = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await made.bind(str(path))
    made.listen()
    server = FakeUpstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server._accept, [trio.SocketListener(made)])
        yield
        nursery.cancel_scope.cancel()
    os.unlink(path)


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [
        record
        for record in caplog.records
        if record.name == "blitz.upstream" and re.search("is (down|back)", record.getMessage())
    ]


def to(*paths: Path) -> dict[str, Upstream]:
    return {"main": Upstream(endpoints=[f"unix:{path}" for path in paths], reuse=False)}


async def test_both_are_said_once_whatever_the_number_of_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s"
    async with rig(upstreams=to(path)) as test:
        for _ in range(7):
            assert (await test.get())[0] == 502
        (down,) = said(caplog)
        assert DOWN.fullmatch(down.getMessage())
        assert (down.upstream, down.endpoint) == ("main", f"unix:{path}")  # type: ignore[attr-defined]
        async with listening(path):
            for _ in range(3):
                assert (await test.get())[0] == 200
        _, back = said(caplog)
        match = BACK.fullmatch(back.getMessage())
        assert match is not None
        assert match[3] == "7"


async def test_a_reload_forgets_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s"
    async with rig(upstreams=to(path)) as test:
        assert (await test.get())[0] == 502
        await test.gateway.reload()
        assert (await test.get())[0] == 502
        assert len(said(caplog)) == 1
        await test.gateway.reload()
        async with listening(path):
            assert (await test.get())[0] == 200
        assert BACK.fullmatch(said(caplog)[-1].getMessage())
        assert len(said(caplog)) == 2


@pytest.mark.parametrize("seed", range(3))
async def test_each_change_has_one_line(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    path = tmp_path / "s"
    expected: list[bool] = []
    up = True
    async with rig(upstreams=to(path)) as test:
        for _ in range(12):
            is_up = chance.random() < 0.5
            async with listening(path) if is_up else contextlib.nullcontext():
                for _ in range(chance.randint(1, 3)):
                    assert (await test.get())[0] == (200 if is_up else 502)
            if is_up != up:
                expected.append(is_up)
            up = is_up
    assert ["is back" in record.getMessage() for record in said(caplog)] == expected


async def test_one_of_two_is_named_and_nobody_notices(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, gone = tmp_path / "here", tmp_path / "gone"
    async with listening(here), rig(upstreams=to(here, gone)) as test:
        for _ in range(10):
            assert (await test.get())[0] == 200
    (down,) = said(caplog)
    assert down.endpoint == f"unix:{gone}"  # type: ignore[attr-defined]


async def test_a_certificate_that_is_refused_is_a_cause(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeUpstream(echo, authority().server_context("other.test"))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        tls = UpstreamTls(ca=authority().file)
        async with rig(upstreams={"main": Upstream(endpoints=[server.endpoint], tls=tls)}) as test:
            for _ in range(2):
                assert (await test.get())[0] == 502
        nursery.cancel_scope.cancel()
    (down,) = said(caplog)
    assert "is down: certificate refused" in down.getMessage()


async def test_one_that_is_busy_is_not_down(caplog: pytest.LogCaptureFixture) -> None:
    asked = trio.Event()

    async def never(served: Served) -> None:
        await served.head()
        asked.set()
        await trio.sleep_forever()

    async with rig(never, main={"max_connections": 1}, timeouts=Timeouts(connect=0.05, drain=0.1)) as test:
        first = await test.connect()
        await first.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        await asked.wait()
        assert (await test.get())[0] == 503
    assert said(caplog) == []
