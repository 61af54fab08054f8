"""Every wait has its timeout, and each timeout is its own key: set that one alone, and only it fires."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from blitz.config import Answer, Route, Timeouts, Upstream

from .harness import Served, answering, rig, until

SHORT = 0.2
PATIENCE = 5.0  # a wait that its timeout does not end fails the test
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.fixture(params=["auto", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    return request.param


def only(**timeouts: float) -> Timeouts:
    """Nothing else ever expires."""
    keys = (name for name in Timeouts.__struct_fields__ if name != "drain")
    return Timeouts(**dict.fromkeys(keys, 0.0) | timeouts)


async def silent(served: Served) -> None:
    await served.head()
    await trio.sleep_forever()


async def cutting_short(served: Served) -> None:
    await served.head()
    await served.send(CUT)
    await trio.sleep_forever()


async def trickling(served: Served) -> None:
    """An answer without end that never pauses for long."""
    await served.head()
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await served.send(b"x")
        await trio.sleep(SHORT / 10)


async def switching(served: Served) -> None:
    await served.head()
    await served.send(SWITCH)
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("timeout", "sent", "script", "status"),
    [
        pytest.param("head", b"GET / HT", answering(OK), 408, id="half-a-head"),
        pytest.param("head", b"", answering(OK), 0, id="nothing-at-all"),
        pytest.param("keepalive", GET, answering(OK), 200, id="idle-after-an-answer"),
        pytest.param("body_idle", POST, silent, 408, id="half-a-request-body"),
        pytest.param("first_byte", GET, silent, 504, id="no-answer"),
        pytest.param("total", GET, silent, 504, id="total-no-answer"),
        pytest.param("total", POST, silent, 504, id="total-half-a-request-body"),
    ],
)
async def test_a_wait_ends_with(timeout: str, sent: bytes, script, status: int, parser: str) -> None:
    async with rig(script, parser=parser, timeouts=only(**{timeout: SHORT})) as test:
        client = await test.connect()
        await client.send(sent)
        with trio.fail_after(PATIENCE):
            if status:
                assert (await client.answer())[0] == status
            assert await client.closed()


@pytest.mark.parametrize(
    ("timeout", "script"), [("response_idle", cutting_short), ("total", cutting_short), ("total", trickling)]
)
async def test_an_answer_that_never_ends_is_cut(timeout: str, script, parser: str) -> None:
    async with rig(script, parser=parser, timeouts=only(**{timeout: SHORT})) as test:
        client = await test.connect()
        await client.send(GET)
        with trio.fail_after(PATIENCE):
            assert (await client.head())[0] == 200
            assert len(await client.rest()) < 1000


async def test_the_total_begins_anew_with_each_exchange(parser: str) -> None:
    async with rig(answering(OK), parser=parser, timeouts=only(total=SHORT)) as test:
        client = await test.connect()
        for _ in range(4):
            await client.send(GET)
            assert (await client.answer())[0] == 200
            await trio.sleep(SHORT / 2)


async def test_a_client_that_takes_nothing_is_dropped(parser: str) -> None:
    async def flood(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await served.send(bytes(65536))

    async with rig(flood, parser=parser, timeouts=only(send_idle=SHORT)) as test:
        client = await test.connect()
        await client.send(GET)
        await until(lambda: not test.gateway.statistics().connections)


@pytest.mark.parametrize("framing", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
async def test_an_upstream_that_takes_nothing_is_504(framing: bytes, parser: str) -> None:
    async with rig(silent, parser=parser, timeouts=only(send_idle=SHORT)) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\n" + framing + b"\r\n\r\n")
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:

                async def feed() -> None:
                    try:
                        while True:
                            await client.send(b"10000\r\n" + bytes(65536) + b"\r\n")
                    except trio.BrokenResourceError:
                        pass

                nursery.start_soon(feed)
                assert (await client.head())[0] == 504
                nursery.cancel_scope.cancel()


async def test_a_silent_tunnel_ends(parser: str) -> None:
    async with rig(switching, parser=parser, timeouts=only(tunnel_idle=SHORT)) as test:
        client = await test.connect()
        await client.send(UPGRADE)
        with trio.fail_after(PATIENCE):
            assert (await client.head())[0] == 101
            assert await client.closed()


@pytest.fixture
def unreachable() -> Iterator[str]:
    """An address that answers no SYN: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for sock in waiting:
            sock.close()


async def test_a_connect_without_an_answer_is_504(unreachable: str, parser: str) -> None:
    upstreams = {"main": Upstream(endpoints=[unreachable])}
    async with rig(parser=parser, upstreams=upstreams, timeouts=only(connect=SHORT)) as test:
        with trio.fail_after(PATIENCE):
            assert (await test.get())[0] == 504


async def test_a_drain_cuts_off_what_is_left(parser: str) -> None:
    async with rig(silent, parser=parser, timeouts=Timeouts(drain=SHORT)) as test:
        client = await test.connect()
        await client.send(GET)
        await until(lambda: test.upstream.connections)
        with trio.fail_after(PATIENCE):
            assert await test.gateway.drain() is False
            assert await client.closed()


async def test_without_timeouts_nothing_ends(parser: str) -> None:
    routes = [Route(answer=Answer(200))]
    async with rig(parser=parser, routes=routes, timeouts=only()) as test:
        client = await test.connect()
        await client.send(b"GET / HT")
        await trio.sleep(SHORT)
        await client.send(b"TP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.answer())[0] == 200
