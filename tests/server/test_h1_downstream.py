"""HTTP/1.1 over a socket, over TLS and over a program's own stream: three users of one door, one answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from blitz.config import Answer, Route

from .harness import Rig, rig

CLOSE = b"Connection: close\r\n\r\n"
CASES = {
    "get": b"GET /a HTTP/1.1\r\nHost: test\r\n" + CLOSE,
    "head": b"HEAD /a HTTP/1.1\r\nHost: test\r\n" + CLOSE,
    "post": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n" + CLOSE + b"hello",
    "chunked": b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
    + CLOSE
    + b"3\r\nabc\r\n0\r\n\r\n",
    "http_1_0": b"GET / HTTP/1.0\r\n\r\n",
    "pipelined": b"GET /1 HTTP/1.1\r\nHost: test\r\n\r\nGET /2 HTTP/1.1\r\nHost: test\r\n" + CLOSE,
    "no_request": b"nonsense\r\n\r\n",
    "no_route": b"GET / HTTP/1.1\r\nHost: nowhere.example\r\n" + CLOSE,
    "local": b"GET /local HTTP/1.1\r\nHost: test\r\n" + CLOSE,
}
# What differs from one exchange to the next, and what upstreams are told of the link.
VARIES = re.compile(rb"(?<=[Dd]ate: )[^\r\n]*|(?<=request )[0-9a-f]{32}|(?<=x-forwarded-proto: )https?")


@asynccontextmanager
async def gateway(kind: str) -> AsyncIterator[Rig]:
    routes = [
        Route(host="test", path_prefix="/local", answer=Answer(200, "local")),
        Route(host="test", upstream="main"),
    ]
    async with rig(parser="auto+tls" if kind == "tls" else "auto", routes=routes) as test:
        yield test


async def exchange(test: Rig, kind: str, data: bytes) -> bytes:
    """Everything that comes back, until the end."""
    received = b""
    async with trio.open_nursery() as nursery:
        if kind == "own stream":
            client, server = trio.testing.memory_stream_pair()
            nursery.start_soon(test.gateway.serve_stream, server, ("127.0.0.1", 4711))
            await client.send_all(data)
            async for part in client:
                received += part
        else:
            raw = await test.connect()
            await raw.send(data)
            received = await raw.rest()
    return VARIES.sub(b"...", received)


@pytest.mark.parametrize("case", CASES)
async def test_three_kinds_of_links_say_the_same(case: str) -> None:
    said = {}
    for kind in ("socket", "tls", "own stream"):
        async with gateway(kind) as test:
            with trio.fail_after(30):
                said[kind] = await exchange(test, kind, CASES[case])
    assert said["socket"].startswith(b"HTTP/1.1 ")
    assert _without_length(said["tls"]) == _without_length(said["socket"])
    assert _without_length(said["own stream"]) == _without_length(said["socket"])


def _without_length(said: bytes) -> bytes:
    """The echoed ``x-forwarded-proto`` is a byte longer where the link is encrypted."""
    return re.sub(rb"(?i)(?<=content-length: )[0-9]+", b"n", said)
