"""Exchanges between doors: no socket, no connection, the clock of the tests. What is between is real."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from blitz.config import Answer, Http, Route, Timeouts
from blitz.errors import UpstreamError

from .doubles import Head, InMemory, MemoryUpstream, PythonFilter, Script
from .harness import until

GET = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
async def nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


def saying(*parts: bytes, then_end: bool = False) -> Script:
    """Send these, each when the one before has been taken up."""

    async def script(upstream: MemoryUpstream) -> None:
        for part in parts:
            await upstream.server.send_all(part)
            await trio.testing.wait_all_tasks_blocked()
        if then_end:
            await upstream.server.aclose()

    return script


def dying(count: int) -> Script:
    """The first *count* tries end without a byte."""
    begun = 0

    async def script(upstream: MemoryUpstream) -> None:
        nonlocal begun
        begun += 1
        if begun <= count:
            await upstream.server.aclose()
        else:
            await upstream.server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    return script


async def test_a_local_response_needs_no_upstream(nursery: trio.Nursery) -> None:
    test = InMemory(nursery, saying(), routes=[Route(answer=Answer(200, "hello"))], upstreams={})
    for method, body in ((b"GET", [b"hello"]), (b"HEAD", [])):
        client = test.client(GET.replace(b"GET", method))
        exchange, keep = await test.run(client)
        assert keep
        assert (client.final.status, client.final.kind, client.final.length) == (200, "length", 5)
        assert client.received == body
        assert exchange.status == 200
    assert not test.upstreams.tries


async def test_a_request_reaches_the_upstream_and_its_response_the_client(nursery: trio.Nursery) -> None:
    test = InMemory(
        nursery, saying(b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\nX-A: b\r\n\r\nabc", b"def")
    )
    client = test.client(GET)
    _, keep = await test.run(client)
    (upstream,) = test.upstreams.tries
    assert upstream.lines[0] == b"GET /a HTTP/1.1"
    assert b"X-Forwarded-For: 192.0.2.1" in upstream.lines
    assert upstream.finished
    assert upstream.released == (True, True)
    assert keep
    assert (client.final.status, client.final.fields[b"x-a"]) == (201, b"b")
    assert client.received == [b"abc", b"def"]
    assert client.finished


async def test_what_framing_a_body_of_unknown_length_has_is_the_doors(nursery: trio.Nursery) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    test = InMemory(nursery, saying(head + b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"))
    client = test.client(GET)
    await test.run(client)
    assert client.final.kind == "unknown"
    assert client.received == [b"abc", b"de"]  # no chunk lines: those are HTTP/1.1's
    assert client.finished


async def test_interim_responses_pass_but_for_a_100_that_was_ours(nursery: trio.Nursery) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    test = InMemory(nursery, saying(interim, b"HTTP/1.1 204 No Content\r\n\r\n"))
    client = test.client(GET)
    await test.run(client)
    assert [head.status for head in client.told if isinstance(head, Head)] == [103, 204]
    assert client.told[0] == Head(103, {b"link": b"a"})


async def test_a_body_goes_up_while_the_response_is_awaited(nursery: trio.Nursery) -> None:
    async def script(upstream: MemoryUpstream) -> None:
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.sent == [b"ab"]
        await client.client.send_all(b"cdefGET /next")
        await trio.testing.wait_all_tasks_blocked()
        assert (upstream.sent, upstream.finished) == ([b"ab", b"cdef"], True)
        await upstream.server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    test = InMemory(nursery, script)
    head = b"POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n"
    client = test.client(head + b"ab")
    _, keep = await test.run(client)
    assert keep
    assert client.told[0] == "continue"
    # Whatever came behind the body begins the next request; known lengths are never read past.
    assert client.surplus == b""


async def test_a_response_before_the_body_is_there_ends_the_connection(nursery: trio.Nursery) -> None:
    test = InMemory(nursery, saying(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
    client = test.client(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nab")
    _, keep = await test.run(client)
    assert (client.final.status, keep) == (413, False)
    assert test.upstreams.tries[0].released == (False, True)


@pytest.mark.parametrize(("rest", "released"), [(b"de", (False, False)), (b"def", (True, True))])
async def test_a_client_that_is_gone_costs_the_upstream_connection_unless_all_has_come(
    nursery: trio.Nursery, rest: bytes, released: tuple[bool, bool]
) -> None:
    async def script(upstream: MemoryUpstream) -> None:
        await upstream.server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await trio.testing.wait_all_tasks_blocked()
        client.gone = True
        await upstream.server.send_all(rest)

    test = InMemory(nursery, script)
    client = test.client(GET)
    with pytest.raises(trio.BrokenResourceError):
        await test.run(client)
    assert test.upstreams.tries[0].released == released


async def test_a_client_that_was_told_nothing_has_no_status(nursery: trio.Nursery) -> None:
    test = InMemory(nursery, saying(), routes=[Route(answer=Answer(200, "hello"))], upstreams={})
    client = test.client(GET)
    client.gone = True
    with pytest.raises(trio.BrokenResourceError):
        await test.run(client)
    assert client.told == []


@pytest.mark.parametrize("total", [0.0, 3.0])
async def test_a_silent_upstream_is_waited_for_no_longer_than_configured(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, total: float
) -> None:
    timeouts = Timeouts(first_byte=7.0, total=total)
    test = InMemory(nursery, saying(), timeouts=timeouts)
    client = test.client(GET)
    began = trio.current_time()
    await test.run(client)
    waited = trio.current_time() - began
    assert (total or 7.0) <= waited < (total or 7.0) + 0.2
    assert isinstance(client.late, UpstreamError)
    assert client.late.status_hint == 504
    assert client.told == []
    assert test.upstreams.tries[0].released == (False, False)


async def test_a_tunnel_carries_both_ways_until_both_end(nursery: trio.Nursery) -> None:
    async def script(upstream: MemoryUpstream) -> None:
        await upstream.server.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nahead "
        )
        async for data in upstream.server:
            await upstream.server.send_all(bytes(data).upper())
        await upstream.server.send_eof()

    test = InMemory(nursery, script, http=Http(upgrades=["echo"]))
    client = test.client(
        b"GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst "
    )
    got: list[bytes] = []

    async def far_end() -> None:
        await client.client.send_all(b"second")
        await client.client.send_eof()
        got.extend([bytes(data) async for data in client.client])

    nursery.start_soon(far_end)
    _, keep = await test.run(client)
    await client._stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert not keep
    assert client.final.status == 101
    assert b"".join(got) == b"ahead FIRST SECOND"


async def test_a_kept_connection_that_is_dead_gets_one_more_try_on_a_new_one(nursery: trio.Nursery) -> None:
    seed = random.Random(9)
    for _ in range(60):
        kept, method = seed.randrange(3), seed.choice((b"GET", b"PUT", b"POST", b"DELETE", b"PATCH"))
        dead = seed.randrange(4)  # tries that end without a byte

        test = InMemory(nursery, dying(dead), kept=kept)
        client = test.client(GET.replace(b"GET", method))
        exchange, _ = await test.run(client)
        again = dead > 0 and kept > 0 and method in (b"GET", b"PUT", b"DELETE")
        served = dead <= again
        assert client.final.status == (200 if served else 502), (kept, method, dead)
        assert exchange.tries == len(test.upstreams.tries) == 1 + again
        assert [one.used > 0 for one in test.upstreams.tries] == [kept > 0, False][: 1 + again]


async def test_every_endpoint_is_tried_until_one_takes_the_connection(nursery: trio.Nursery) -> None:
    seed = random.Random(10)
    for _ in range(40):
        ports = tuple(range(1, seed.randint(2, 6)))
        test = InMemory(nursery, saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ports=ports)
        test.upstreams.refuse = {port for port in ports if seed.random() < 0.6}
        client = test.client(GET)
        exchange, _ = await test.run(client)
        assert exchange.tries == len(test.upstreams.asked) == len(set(test.upstreams.asked))
        if test.upstreams.refuse == set(ports):
            assert (client.final.status, exchange.tries) == (502, len(ports))
        else:
            assert client.final.status == 200
            assert test.upstreams.refuse.issuperset(test.upstreams.asked[:-1])


POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n"
ABCDEF = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"


@pytest.mark.parametrize("reads", [False, True])
async def test_a_filter_need_not_be_a_plugin(nursery: trio.Nursery, reads: bool) -> None:
    async def script(upstream: MemoryUpstream) -> None:
        await until(lambda: upstream.finished, 30)
        await upstream.server.send_all(ABCDEF + b"def")

    test = InMemory(nursery, script)
    looking = PythonFilter(b"evil", reads=reads)
    test.filter_with(looking)
    client = test.client(POST + b"is ")

    async def rest() -> None:
        await client.client.send_all(b"go!")

    nursery.start_soon(rest)
    _, keep = await test.run(client)
    assert keep
    assert looking.seen == [("request", b"is go!" * reads), ("response", b"abcdef" * reads)]
    assert (client.final.status, client.final.fields[b"x-signed"]) == (200, b"yes")
    assert b"".join(client.received) == b"abcdef"
    assert b"".join(test.upstreams.tries[0].sent) == b"is go!"
    assert client.finished


async def test_a_filter_that_answers_spares_the_upstream(nursery: trio.Nursery) -> None:
    test = InMemory(nursery, saying())
    test.filter_with(PythonFilter(b"evil"))
    client = test.client(POST + b"!evil!")
    _, keep = await test.run(client)
    assert (client.final.status, keep) == (403, True)
    assert b"x-signed" not in client.final.fields
    assert not test.upstreams.tries
