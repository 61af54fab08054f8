"""Large bodies: whole, in order, both ways at once, in constant memory, however they are framed."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from . import starved
from .harness import Served, rig, until

SIZE = 24 * 1024 * 1024
BLOCK = os.urandom(1024 * 1024)
DIGEST = hashlib.sha256(BLOCK * (SIZE // len(BLOCK))).hexdigest()


async def digest_of(stream: trio.SocketStream, ahead: bytes, size: int) -> str:
    digest = hashlib.sha256(ahead)
    left = size - len(ahead)
    while left:
        data = await stream.receive_some(min(left, 1 << 20))
        assert data, f"{left} bytes missing"
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


async def receive_chunked(served: Served) -> str:
    digest = hashlib.sha256()
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            line += await served.exactly(1)
        size = int(line, 16)
        digest.update(await served.exactly(size))
        assert await served.exactly(2) == b"\r\n"
        if not size:
            return digest.hexdigest()


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_large_upload_arrives_intact(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        ahead = bytes(served.received)
        digest = await digest_of(served.stream, ahead, SIZE)
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + digest.encode())

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // len(BLOCK)):
            await client.send(BLOCK)
        assert (await client.answer())[2].decode() == DIGEST


async def test_large_chunked_upload_arrives_intact() -> None:
    async def script(served: Served) -> None:
        await served.head()
        digest = await receive_chunked(served)
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + digest.encode())

    async with rig(script) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(SIZE // len(BLOCK)):
            await client.send(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
        await client.send(b"0\r\n\r\n")
        assert (await client.answer())[2].decode() == DIGEST


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_large_download_arrives_intact(framing: str) -> None:
    head = {
        "length": b"Content-Length: %d\r\n\r\n" % SIZE,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
        "close": b"\r\n",
    }[framing]

    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\n" + head)
        for _ in range(SIZE // len(BLOCK)):
            await served.send(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if framing == "chunked" else BLOCK)
        if framing == "chunked":
            await served.send(b"0\r\n\r\n")

    async with rig(script) as test:
        _, _, body = await test.get()
        assert hashlib.sha256(body).hexdigest() == DIGEST


async def test_a_cut_spliced_answer_is_visibly_cut() -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        await served.send(BLOCK)

    async with rig(script) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        status, fields = await client.head()
        assert (status, fields["content-length"]) == (200, str(SIZE))
        assert len(await client.rest()) == len(BLOCK)


async def test_a_client_that_leaves_in_a_download_leaves_nothing_behind() -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        while True:
            await served.send(BLOCK)

    async with rig(script) as test:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            client = await test.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            await client.head()
            await client.stream.aclose()
        with trio.fail_after(20):
            while test.gateway.statistics().connections:  # noqa: ASYNC110
                await trio.sleep(0.01)
        await trio.sleep(0.05)
        assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_an_upstream_that_goes_while_the_body_comes_is_502(caplog: pytest.LogCaptureFixture) -> None:
    """Both are there at the same moment, and either task may be the first to see it."""

    async def script(served: Served) -> None:
        await served.head()
        await trio.sleep_forever()

    async with rig(script) as test:
        for turn in range(20):
            client = await test.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            await until(lambda turn=turn: len(test.upstream.connections) == turn + 1)  # type: ignore[misc]
            await trio.testing.wait_all_tasks_blocked(0.01)
            upstream = test.upstream.connections[-1].stream
            assert isinstance(client.stream, trio.SocketStream) and isinstance(upstream, trio.SocketStream)
            _both_at_once(client.stream, upstream)
            status, _, _ = await client.answer()
            assert status == 502
        assert test.gateway.statistics().counters.internal_errors == 0
    assert "internal error" not in caplog.text


def _both_at_once(client: trio.SocketStream, upstream: trio.SocketStream) -> None:
    """Nobody runs between the two."""
    with socket.socket(fileno=os.dup(client.socket.fileno())) as now:
        now.send(b"5\r\nhello\r\n")
    upstream.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", starved.KINDS)
def test_what_the_kernel_cannot_splice_is_copied(kind: str) -> None:
    command = [sys.executable, "-m", "tests.server.starved", kind]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == starved.UNABLE:
        pytest.skip(f"{kind} cannot be brought about here")
    assert done.stdout == "whole\n", done.stderr
