"""Bounds on what a client or an upstream may hold: time, rate, number."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio

from blitz.config import Limits, Timeouts

from .harness import Client, Rig, Served, answering, rig, until

pytestmark = pytest.mark.parametrize("parser", ["auto", "h11"])

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\n"

FRAMINGS = {
    "length": (b"Content-Length: 1000\r\n\r\n", b"x"),
    "spliced": (b"Content-Length: 10000000\r\n\r\n", b"x"),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk-metadata": (b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
}


async def dribble(client: Client, data: bytes, interval: float) -> None:
    """Send *data* again and again until the gateway closes."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while True:
            await client.send(data)
            await trio.sleep(interval)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_body_that_drips_is_408_although_it_never_stalls(parser: str, framing: str) -> None:
    head, drop = FRAMINGS[framing]
    gone = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        with contextlib.suppress(trio.BrokenResourceError):
            while await served.stream.receive_some():
                pass
        gone.set()

    async with rig(script, parser=parser, timeouts=Timeouts(body_grace=0.5)) as test:
        client = await test.connect()
        await client.send(POST + head)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dribble, client, drop, 0.1)
            with trio.fail_after(20):
                assert (await client.answer())[0] == 408
                await gone.wait()  # the upstream is free
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began >= 0.4


async def test_a_body_at_the_rate_that_is_asked_for_arrives(parser: str) -> None:
    async with rig(
        parser=parser, timeouts=Timeouts(body_grace=0.4), limits=Limits(min_body_rate=500)
    ) as test:
        client = await test.connect()
        await client.send(POST + b"Content-Length: 2000\r\n\r\n")
        for _ in range(20):
            await client.send(b"x" * 100)
            await trio.sleep(0.1)
        status, _, body = await client.answer()
        assert (status, body.count(b"x" * 2000)) == (200, 1)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_time_in_which_the_upstream_takes_nothing_is_not_the_clients(parser: str, framing: str) -> None:
    size = 24_000_000  # more than all the buffers between the two hold

    async def script(served: Served) -> None:
        await served.head()
        await trio.sleep(1.2)
        if framing == "length":
            await served.exactly(size)
        else:
            while not served.received.endswith(b"0\r\n\r\n"):
                served.received[:-5] = b""
                served.received += await served.stream.receive_some()
        await served.send(OK)

    # At this rate it may be waited for 0.3 s and no longer.
    async with rig(
        script, parser=parser, timeouts=Timeouts(body_grace=0.3), limits=Limits(min_body_rate=10**12)
    ) as test:
        client = await test.connect()
        if framing == "length":
            body = b"Content-Length: %d\r\n\r\n" % size + bytes(size)
        else:
            body = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size))
        with trio.fail_after(60):
            await client.send(POST + body)
            assert (await client.answer())[0] == 200


async def test_no_rate_is_asked_for_when_it_is_switched_off(parser: str) -> None:
    async with rig(parser=parser, timeouts=Timeouts(body_grace=0.3), limits=Limits(min_body_rate=0)) as test:
        client = await test.connect()
        await client.send(POST + b"Content-Length: 10\r\n\r\n")
        for _ in range(10):
            await client.send(b"x")
            await trio.sleep(0.1)
        assert (await client.answer())[0] == 200


async def test_the_total_bounds_an_answer_that_never_stalls(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await served.send(b"x")
            await trio.sleep(0.05)

    async with rig(script, parser=parser, timeouts=Timeouts(total=0.4)) as test:
        client = await test.connect()
        await client.send(GET)
        began = trio.current_time()
        with trio.fail_after(20):
            assert (await client.head())[0] == 200
            body = await client.rest()
        assert 0 < len(body) < 1000
        assert trio.current_time() - began >= 0.3


async def test_the_total_before_an_answer_is_504(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await trio.sleep_forever()

    async with rig(script, parser=parser, timeouts=Timeouts(total=0.3)) as test:
        with trio.fail_after(20):
            assert (await test.get())[0] == 504


async def test_the_total_counts_for_each_exchange_of_its_own(parser: str) -> None:
    async with rig(parser=parser, timeouts=Timeouts(total=0.4)) as test:
        client = await test.connect()
        for _ in range(4):
            await client.send(GET)
            assert (await client.answer())[0] == 200
            await trio.sleep(0.2)


# ---------------------------------------------------------------- numbers


async def refused(test: Rig) -> bool:
    client = await test.connect()
    with trio.fail_after(20):
        return await client.closed()


async def served(test: Rig) -> Client:
    client = await test.connect()
    await client.send(GET)
    assert (await client.answer())[0] == 200
    return client


async def test_connections_are_bounded_in_total(parser: str) -> None:
    async with rig(parser=parser, limits=Limits(max_connections=2)) as test:
        first, _ = await served(test), await served(test)
        assert await refused(test)
        assert await refused(test)
        counters = test.gateway.statistics().counters
        assert (counters.refused, counters.refused_per_address, counters.connections) == (2, 0, 2)
        await first.stream.aclose()
        await until(lambda: test.gateway.statistics().connections < 2)
        await served(test)


@pytest.mark.parametrize("bound", ["max_connections", "max_connections_per_address"])
async def test_a_burst_is_bounded_like_any_other(parser: str, bound: str) -> None:
    async with rig(parser=parser, limits=Limits(**{bound: 5})) as test:
        host, port = test.gateway.addresses[0]
        burst = [socket.socket() for _ in range(30)]
        for sock in burst:
            sock.connect((host, port))  # before the gateway accepts the first of them
        for sock in burst:
            test.opened.append(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))

        def counted() -> int:
            counters = test.gateway.statistics().counters
            return counters.connections + counters.refused

        await until(lambda: counted() == 30)
        counters = test.gateway.statistics().counters
        assert (counters.connections, counters.refused) == (5, 25)


async def test_connections_are_bounded_per_address(parser: str) -> None:
    async with rig(parser=parser, limits=Limits(max_connections_per_address=2)) as test:
        first, _ = await served(test), await served(test)
        assert await refused(test)
        counters = test.gateway.statistics().counters
        assert (counters.refused, counters.refused_per_address) == (1, 1)
        other = Client(await trio.open_tcp_stream(*test.gateway.addresses[0], local_address="127.0.0.2"))
        test.opened.append(other.stream)
        await other.send(GET)
        assert (await other.answer())[0] == 200
        await first.stream.aclose()
        await until(lambda: test.gateway.statistics().connections < 3)
        await served(test)
        assert await refused(test)


@pytest.mark.parametrize(("interim", "expected"), [(3, 200), (4, 502)])
async def test_interim_answers_are_bounded(parser: str, interim: int, expected: int) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * interim + OK)

    async with rig(script, parser=parser, limits=Limits(max_interim_responses=3)) as test:
        client = await test.connect()
        await client.send(GET)
        statuses = [(await client.answer())[0]]
        while statuses[-1] < 200:
            statuses.append((await client.answer())[0])
        assert statuses == [103] * 3 + [expected]


async def test_pipelined_requests_wait_outside(parser: str) -> None:
    """A client that sends requests and reads no answer is not read from either."""
    release = trio.Event()

    request = b"GET /%06d HTTP/1.1\r\nHost: test\r\nX-Fill: " + b"f" * 1000 + b"\r\n\r\n"
    async with rig(answering(OK, when=release), parser=parser) as test:
        client = await test.connect()
        sent, blocked = 0, False
        while not blocked:
            with trio.move_on_after(1) as patience:
                await client.send(request % (sent // len(request)))
                sent += len(request)
            blocked = patience.cancelled_caught
        # What is taken from the client waits in the kernel: the gateway holds one buffer of it.
        (connection,) = test.gateway._context.connections
        assert connection.buffer is not None
        assert connection.buffer.size <= 128 * 1024
        assert sent > connection.buffer.size
        release.set()
        for _ in range(sent // len(request)):
            assert (await client.answer())[0] == 200
