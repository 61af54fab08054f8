"""The short lane decides each exchange anew: what a connection asked before, or ran on, never counts."""

from __future__ import annotations

import trio
import trio.testing

import blitz
from blitz.config import Answer, Route, Timeouts

from .harness import Client, Rig, Served, answering, rig

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


async def test_a_request_behind_a_short_one_is_routed_by_itself() -> None:
    routes = [Route(path_prefix="/open", upstream="main"), Route(path_prefix="/shut", answer=Answer(403))]
    async with rig(answering(OK), routes=routes) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/open"))
            assert (await client.answer())[0] == 200
        for path, status in [("/shut", 403), ("/open", 200), ("/open", 200), ("/nowhere", 404)]:
            await client.send(get(path))
            assert (await client.answer())[0] == status, path


async def test_a_body_behind_a_short_request_is_routed_by_itself() -> None:
    routes = [Route(path_prefix="/open", upstream="main"), Route(path_prefix="/shut", answer=Answer(403))]
    async with rig(answering(OK), routes=routes) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/open"))
            assert (await client.answer())[0] == 200
        await client.send(b"POST /shut HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.answer())[0] == 403


async def one_after_the_other(served: Served) -> None:
    """Answer at once; a request for /stall never."""
    while True:
        if b" /stall " in await served.head():
            await trio.sleep_forever()
        await served.send(OK)


async def in_the_lane(test: Rig) -> Client:
    """A connection that the lane has served: the first exchange opens the upstream connection."""
    client = await test.connect()
    for _ in range(3):
        await client.send(get("/"))
        assert (await client.answer())[0] == 200
    return client


async def test_a_reload_that_ends_the_lane_reaches_connections_in_it() -> None:
    async with rig(one_after_the_other) as test:
        client = await in_the_lane(test)
        total = blitz.Config(
            routes=test.config.routes, upstreams=test.config.upstreams, timeouts=Timeouts(total=0.1)
        )
        await test.gateway.reload(total)
        with trio.fail_after(5):
            await client.send(get("/stall"))
            assert (await client.answer())[0] == 504


async def test_an_answer_during_a_drain_says_close() -> None:
    release, asked = trio.Event(), trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b" /slow " in await served.head():
                asked.set()
                await release.wait()
            await served.send(OK)

    async with rig(script) as test:
        client = await in_the_lane(test)
        await client.send(get("/slow"))
        await asked.wait()
        test.nursery.start_soon(test.gateway.drain)
        await trio.testing.wait_all_tasks_blocked()
        release.set()
        status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (200, "close")
        assert await client.closed()
