"""Streams pass through a chain of plugins at once: each event is there before the next one is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from blitz.config import Plugin, Route
from tests.hostile.writer import writer

from .harness import Served, rig

ROOT = Path(__file__).resolve().parents[2]

GET = b"GET /events HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\nX-User: fred\r\n\r\n"
FRAMINGS = {
    "chunked": (b"Transfer-Encoding: chunked\r\n", lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
    "close": (b"", lambda data: data),
}
EVENTS = [b"data: first\n\n", b"id: 2\ndata: second\n\n", b": just a comment\n\n", b"data: last\n\n"]


TYPES = [
    b"text/event-stream",
    b"Text/Event-Stream; charset=utf-8",
    b"application/x-ndjson",
    b"Application/JSON-seq ;a=b",
    b"application/grpc-web+proto",
    b"multipart/x-mixed-replace;boundary=--x",
]


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("parser", ["auto", "h11", "auto+tls"])
async def test_each_event_arrives_before_the_next_is_sent(
    tmp_path: Path, guest_wasm: Callable[[str], bytes], parser: str, framing: str, content_type: bytes
) -> None:
    """The plugins read the body of an answer if it has an end to wait for; one of them writes bodies."""
    fields, coded = FRAMINGS[framing]
    arrived = trio.Event()

    async def script(served: Served) -> None:
        nonlocal arrived
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type + b"\r\n" + fields + b"\r\n")
        for event in EVENTS:
            await served.send(coded(event))
            await arrived.wait()
            arrived = trio.Event()

    chain = {"reads": guest_wasm("copy_header"), "writes": writer(), "again": guest_wasm("copy_header")}
    plugins = []
    for name, wasm in chain.items():
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wasm)
        plugins.append(Plugin(name=name, file=str(path)))
    plugins.append(Plugin(name="logger", file=str(ROOT / "plugins" / "request_logger.wasm")))
    routes = [Route(upstream="main", plugins=[*chain, "logger"])]
    async with rig(script, parser=parser, plugins=plugins, routes=routes) as test:
        client = await test.connect()
        with trio.fail_after(20):
            await client.send(GET)
            status, answer = await client.head()
            assert (status, answer["content-type"]) == (200, content_type.decode())
            assert answer["transfer-encoding"] == "chunked"
            for event in EVENTS:
                chunk = b"%x\r\n%b\r\n" % (len(event), event)
                assert await client.exactly(len(chunk)) == chunk
                arrived.set()
