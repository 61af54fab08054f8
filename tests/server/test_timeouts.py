"""Every wait has its timeout, and each timeout is its own key: set that one alone, and only it fires."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from blitz.config import Answer, Route, Timeouts, Upstream

from .harness import Client, Served, answering, rig, until

SHORT = 0.2
PATIENCE = 20.0  # a wait that its timeout does not end fails the test
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
    keys = (name for name in Timeouts.__struct_fields__ if not name.startswith("drain"))
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


async def echoing(served: Served) -> None:
    """A tunnel whose other end says everything twice: now, and once the client has ended."""
    await served.head()
    await served.send(SWITCH)
    said = b""
    while data := await served.stream.receive_some():
        said += data
        await served.send(data)
    await served.send(said)
    await trio.sleep_forever()


async def chattering(served: Served) -> None:
    """A tunnel whose other end never listens and never stops."""
    await served.head()
    await served.send(SWITCH)
    while True:
        await served.send(b"tick\n")
        await trio.sleep(SHORT / 10)


@pytest.mark.parametrize("talker", ["client", "upstream"])
@pytest.mark.parametrize(("timeout", "ends"), [("tunnel_silence", True), ("tunnel_idle", False)])
async def test_a_tunnel_in_which_one_side_only_talks(timeout: str, ends: bool, talker: str) -> None:
    script = chattering if talker == "upstream" else switching
    async with rig(script, timeouts=only(**{timeout: SHORT})) as test:
        client = await test.connect()
        await client.send(UPGRADE)
        assert (await client.head())[0] == 101
        began, closed = trio.current_time(), False
        while trio.current_time() < began + (PATIENCE if ends else 3 * SHORT) and not closed:
            with trio.move_on_after(SHORT / 10):
                closed = await _gone(client, talk=talker == "client")
        assert closed == ends
        assert test.gateway.statistics().counters.timeouts == ends


async def _gone(client: Client, *, talk: bool) -> bool:
    """Talk or listen until the other end is gone."""
    try:
        if talk:
            await client.send(b"tick\n")
        return not await client.stream.receive_some()
    except trio.BrokenResourceError:
        return True


async def test_a_half_closed_tunnel_goes_on_and_then_ends() -> None:
    async with rig(echoing, timeouts=only(tunnel_idle=SHORT)) as test:
        client = await test.connect()
        assert isinstance(client.stream, trio.SocketStream)
        await client.send(UPGRADE)
        with trio.fail_after(PATIENCE):
            assert (await client.head())[0] == 101
            await client.send(b"ping")
            assert await client.exactly(4) == b"ping"
            await client.stream.send_eof()
            assert await client.exactly(4) == b"ping"  # the other direction is still open
            assert await client.closed()  # until it is silent for too long


async def test_a_tunnel_whose_one_end_takes_nothing_ends() -> None:
    async def flooding(served: Served) -> None:
        await served.head()
        await served.send(SWITCH)
        while True:
            await served.send(bytes(65536))

    async with rig(flooding, timeouts=only(send_idle=SHORT)) as test:
        client = await test.connect()
        await client.send(UPGRADE)
        await until(lambda: test.gateway.statistics().counters.exchanges)
        await until(lambda: not test.gateway.statistics().connections)


@pytest.mark.parametrize(
    ("mode", "framing"),
    [
        ("auto", b"Content-Length: 20000000"),  # spliced
        pytest.param("auto", b"Transfer-Encoding: chunked", marks=pytest.mark.slow),
        pytest.param("auto+tls", b"Transfer-Encoding: chunked", marks=pytest.mark.slow),
    ],
)
async def test_a_client_that_takes_little_is_served_to_the_end(mode: str, framing: bytes) -> None:
    """It reads 256 KiB at a time: far less than what makes our socket ready for more, but enough for its own
    to tell that there is room again, because a segment of this network has 64 KiB."""
    size = 20_000_000

    async def flood(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        if framing.startswith(b"C"):
            await served.send(bytes(size))
        else:
            await served.send(b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)))

    async with rig(flood, parser=mode, timeouts=only(send_idle=5 * SHORT)) as test:
        client = await test.connect()
        await client.send(GET)
        status, fields = await client.head()
        assert status == 200
        for _ in range(7):
            await trio.sleep(2.5 * SHORT)
            await client.have(len(client.buffer) + 256 * 1024)
        assert test.gateway.statistics().connections == 1
        with trio.fail_after(4 * PATIENCE):
            if "content-length" in fields:
                assert await client.exactly(size) == bytes(size)
            else:
                assert (await client.rest_of_chunks()) == bytes(size)


@pytest.mark.parametrize("sent", [b"\r\n", b"\r\n\r\n", b"\r"])
async def test_empty_lines_do_not_put_off_the_deadline_of_a_head(sent: bytes, parser: str) -> None:
    async with rig(parser=parser, timeouts=only(head=4 * SHORT)) as test:
        client = await test.connect()
        began = trio.current_time()
        closed = False
        while not closed and trio.current_time() < began + PATIENCE:
            await client.send(sent[: 1 if client.buffer else 2])
            with trio.move_on_after(SHORT):
                closed = await client.closed()
        assert closed  # without a word: there is no request


async def test_a_head_behind_empty_lines_has_what_is_left_of_the_deadline(parser: str) -> None:
    async with rig(parser=parser, timeouts=only(head=4 * SHORT)) as test:
        client = await test.connect()
        for part in (b"\r\n", b"\r", b"\n\r\n", b"GET / HT"):
            await client.send(part)
            await trio.sleep(SHORT / 2)
        with trio.fail_after(PATIENCE):
            assert (await client.answer())[0] == 408


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
            assert (await client.answer())[0] == 503
            assert await client.closed()


async def test_without_timeouts_nothing_ends(parser: str) -> None:
    routes = [Route(answer=Answer(200))]
    async with rig(parser=parser, routes=routes, timeouts=only()) as test:
        client = await test.connect()
        await client.send(b"GET / HT")
        await trio.sleep(SHORT)
        await client.send(b"TP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.answer())[0] == 200
