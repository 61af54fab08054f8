"""Exchanges through a real gateway to a real upstream: in both parser modes, and with TLS on both sides."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import blitz.server.serving
from blitz.config import Limits, Timeouts, Upstream

from .harness import Served, answering, rig

pytestmark = pytest.mark.parametrize(
    "parser",
    [
        "auto",
        "h11",
        "auto+tls",
        "auto+tls-in",
        pytest.param("auto+tls-in-python", marks=pytest.mark.slow),
    ],
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: test\r\n"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def test_request_reaches_the_upstream_and_the_answer_comes_back(parser: str) -> None:
    async with rig(parser=parser) as test:
        status, _, body = await test.get("/a?b=c", x_one="1")
        lines = body.decode().split("\n")
        assert status == 200
        assert lines[0] == "GET /a?b=c"
        assert "x-one: 1" in lines
        assert "host: test" in lines
        assert "x-forwarded-for: 127.0.0.1" in lines
        assert "via: 1.1 blitz" in lines


async def test_keep_alive_uses_one_connection_on_each_side(parser: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            assert (await client.answer())[0] == 200
        assert len(test.upstream.connections) == 1
        assert test.gateway.statistics().counters.connections == 1


async def test_pipelined_requests_are_answered_in_order(parser: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        await client.send(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % number for number in range(12))
        )
        for number in range(12):
            assert (await client.answer())[2].startswith(b"GET /%d\n" % number)


async def test_head_byte_by_byte_is_the_same_head(parser: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        for byte in b"GET /slow HTTP/1.1\r\nHost: test\r\nX-A: b\r\n\r\n":
            await client.send(bytes([byte]))
        assert (await client.answer())[2].startswith(b"GET /slow\n")


async def test_half_an_empty_line_is_not_completed_by_what_an_earlier_message_left(parser: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        # The buffer goes back with "\n" as its second byte, and is taken again for the next request.
        await client.send(b"\r\n" + GET)
        assert (await client.answer())[0] == 200
        await client.send(b"\r")
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(b"\n" + GET)
        assert (await client.answer())[0] == 200
        assert test.gateway.statistics().counters.internal_errors == 0


BODIES = [
    pytest.param(b"Content-Length: 5\r\n\r\nhello", b"hello", id="length"),
    pytest.param(b"Content-Length: 0\r\n\r\n", b"", id="length-zero"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", id="chunked"),
    pytest.param(
        b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nT: v\r\n\r\n",
        b"hello",
        id="chunk-extension-and-trailer",
    ),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", id="chunked-empty"),
]


@pytest.mark.parametrize(("rest", "body"), BODIES)
@pytest.mark.parametrize("pieces", ["whole", "bytes"])
async def test_request_body_arrives(parser: str, rest: bytes, body: bytes, pieces: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        raw = b"POST /p HTTP/1.1\r\nHost: test\r\n" + rest
        if pieces == "whole":
            await client.send(raw + GET)
        else:
            for index in range(len(raw)):
                await client.send(raw[index : index + 1])
            await client.send(GET)
        status, _, echoed = await client.answer()
        assert status == 200
        assert echoed.partition(b"\n\n")[2] == body
        assert (await client.answer())[2].startswith(b"GET /\n")


CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
ANSWERS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", id="length"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"hello",
        id="chunked",
    ),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="no-content"),
    pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", id="not-modified"),
    pytest.param(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"",
        id="interim",
    ),
]


@pytest.mark.parametrize(("answer", "body"), ANSWERS)
async def test_answer_framing(parser: str, answer: bytes, body: bytes) -> None:
    async with rig(answering(answer), parser=parser) as test:
        client = await test.connect()
        await client.send(GET)
        status, _, got = await client.answer()
        assert status == int(answer[9:12])
        assert got == body
        if status == 103:
            assert (await client.answer())[2] == b"x"
        await client.send(GET)
        assert (await client.head())[0] == int(answer[9:12])


async def test_answer_that_ends_with_the_connection_is_chunked_for_us(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    async with rig(script, parser=parser) as test:
        status, fields, body = await test.get()
        assert (status, body) == (200, b"hello")
        assert fields["transfer-encoding"] == "chunked"


async def test_http10_client_gets_a_close_delimited_answer(parser: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with rig(answering(answer), parser=parser) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        status, fields, body = await client.answer()
        assert (status, body) == (200, b"hello")
        assert "transfer-encoding" not in fields
        assert fields["connection"] == "close"


async def test_request_without_host_goes_on_with_the_endpoints(parser: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert f"host: 127.0.0.1:{test.upstream.port}\n".encode() in (await client.answer())[2]
        await client.send(b"GET / HTTP/1.0\r\nHost: example.org\r\n\r\n")
        assert b"host: example.org\n" in (await client.answer())[2]


async def test_head_request_has_no_body_and_keeps_its_length(parser: str) -> None:
    async with rig(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"), parser=parser) as test:
        client = await test.connect()
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
            status, fields, _ = await client.answer("HEAD")
            assert (status, fields["content-length"]) == (200, "77")


async def test_expect_continue_is_answered_before_the_body(parser: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.head())[0] == 100
        await client.send(b"hi")
        assert (await client.answer())[2].endswith(b"\n\nhi")


async def test_a_dead_upstream_is_502_and_the_connection_goes_on(parser: str) -> None:
    async with rig(parser=parser, upstreams={"main": Upstream(endpoints=["http://127.0.0.1:1"])}) as test:
        client = await test.connect()
        for _ in range(2):
            await client.send(GET)
            status, _, body = await client.answer()
            assert status == 502
            assert body.startswith(b"502 Bad Gateway\nrequest ")


async def test_a_stale_connection_is_replaced_without_the_client_noticing(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(OK)
        await served.head()  # then close without an answer

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            assert (await client.answer())[0] == 200
        assert len(test.upstream.connections) == 3


async def test_a_post_on_a_stale_connection_is_not_sent_twice(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(OK)
        await served.head()

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        await client.send(GET)
        assert (await client.answer())[0] == 200
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
        assert (await client.answer())[0] == 502
        assert len(test.upstream.connections) == 1


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
BAD_ANSWERS = [
    pytest.param(b"nonsense\r\n\r\n", id="garbage"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", id="two-lengths"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", id="both"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", id="nul"),
    pytest.param(SWITCH + b"Upgrade: x\r\n\r\n", id="unasked-101"),
    pytest.param(b"", id="nothing"),
]


@pytest.mark.parametrize("answer", BAD_ANSWERS)
async def test_a_bad_answer_is_502(parser: str, answer: bytes) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(answer)

    async with rig(script, parser=parser) as test:
        assert (await test.get())[0] == 502


async def test_surplus_behind_an_answer_never_reaches_anybody(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await served.head()

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(GET)
            assert (await client.answer())[2] == b"ok"
        assert len(test.upstream.connections) == 3


async def test_a_cut_answer_is_visibly_cut(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        await client.send(GET)
        with pytest.raises(EOFError):
            await client.answer()


async def test_a_cut_request_is_visibly_cut(parser: str) -> None:
    began, seen = trio.Event(), trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        began.set()
        try:
            await served.exactly(10)
        except (EOFError, trio.BrokenResourceError):  # the latter over TLS: no close_notify
            seen.set()

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf")
        with trio.fail_after(20):
            await began.wait()  # a client over TLS has not read its tickets, and resets: it might never begin
            await client.stream.aclose()
            await seen.wait()


async def test_an_early_answer_ends_the_upload(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await trio.sleep(1)

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nstart")
        status, fields, body = await client.answer()
        assert (status, body) == (413, b"big")
        assert fields["connection"] == "close"


BAD_REQUESTS = [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no-host"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two-hosts"),
    pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare-lf"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        id="both",
    ),
    pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400, id="signed-length"),
    pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, id="unknown-coding"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, id="obs-fold"),
    pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, id="version"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, id="tls-hello"),
    pytest.param(b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, id="long-line"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431, id="many-fields"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 70000 + b"\r\n\r\n", 431, id="large-head"),
]


@pytest.mark.parametrize(("raw", "status"), BAD_REQUESTS)
async def test_a_bad_request_is_refused_and_the_connection_closed(
    parser: str, raw: bytes, status: int
) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        await client.send(raw)
        got, fields, _ = await client.answer()
        assert got == status or (status == 505 and got in (400, 505))
        assert fields["connection"] == "close"
        assert await client.closed()
        assert not test.upstream.connections


async def test_what_a_client_sent_is_not_in_the_log(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with rig(parser=parser) as test:
        for line in (
            b"Authorization Basic c2VjcmV0",
            b"Authorization: Basic \x01c2VjcmV0",
            b"GET /c2VjcmV0 x y",
        ):
            client = await test.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" * (b"GET" not in line) + line + b"\r\n\r\n")
            assert (await client.answer())[0] == 400
    assert "answered 400" in caplog.text
    assert "c2VjcmV0" not in caplog.text


async def test_other_connections_do_not_notice_a_bad_one(parser: str) -> None:
    async with rig(parser=parser) as test:
        good = await test.connect()
        for raw in (
            b"\n",
            b"\r\n\r\n\r\n",
            b"\x00",
            b"GET",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        ):
            bad = await test.connect()
            await bad.send(raw)
            await bad.stream.aclose()
            await good.send(GET)
            assert (await good.answer())[0] == 200


async def test_an_error_answer_to_head_has_a_length_and_no_body(parser: str) -> None:
    async with rig(answering(b"garbage\r\n\r\n"), parser=parser) as test:
        client = await test.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        status, fields, _ = await client.answer("HEAD")
        assert status == 502
        assert int(fields["content-length"]) > 0
        await client.send(GET)
        assert (await client.answer())[0] == 502
        assert test.gateway.statistics().counters.internal_errors == 0


async def test_a_fault_of_ours_at_the_end_of_a_connection_stays_there(
    parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(blitz.server.serving, "_send_last", broken)
    async with rig(parser=parser) as test:
        bad = await test.connect()
        await bad.send(b"no request\r\n\r\n")
        assert await bad.closed()
        assert (await test.get("/"))[0] == 200
        assert test.gateway.statistics().counters.internal_errors == 1


async def test_a_client_that_has_said_all_gets_its_answer_and_the_end(parser: str) -> None:
    async with rig(parser=parser) as test:
        await test.get("/")  # the upstream connection is there: the next one takes the shortest way
        for _ in range(20):
            client = await test.connect()
            await client.send(GET)
            if isinstance(client.stream, trio.SocketStream):  # trio's TLS has no half-close
                await client.stream.send_eof()
            else:
                await client.stream.aclose()
                continue
            assert (await client.answer())[0] == 200
            with trio.fail_after(20):
                assert await client.closed()


async def test_a_slow_head_is_408(parser: str) -> None:
    async with rig(parser=parser, timeouts=Timeouts(head=0.2)) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost:")
        with trio.fail_after(20):
            assert (await client.answer())[0] == 408


async def test_a_stalled_upstream_is_504(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await trio.sleep(10)

    async with rig(script, parser=parser, timeouts=Timeouts(first_byte=0.2)) as test:
        with trio.fail_after(20):
            assert (await test.get())[0] == 504


async def test_a_stalled_request_body_is_408(parser: str) -> None:
    async with rig(parser=parser, timeouts=Timeouts(body_idle=0.2)) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf")
        with trio.fail_after(20):
            assert (await client.answer())[0] == 408


async def test_a_body_over_its_limit_is_413(parser: str) -> None:
    async with rig(parser=parser, limits=Limits(max_body_size=10)) as test:
        client = await test.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\n")
        assert (await client.answer())[0] == 413


async def test_drain_finishes_what_is_in_flight(parser: str) -> None:
    release, arrived = trio.Event(), trio.Event()
    async with rig(answering(OK, when=release, arrived=arrived), parser=parser) as test:
        busy, idle = await test.connect(), await test.connect()
        await busy.send(GET)
        await arrived.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.drain, 5)
            assert await idle.closed()
            with pytest.raises(OSError):
                await test.connect()
            release.set()
            status, fields, _ = await busy.answer()
            assert (status, fields["connection"]) == (200, "close")


async def test_an_upgrade_becomes_a_tunnel(parser: str) -> None:
    async def script(served: Served) -> None:
        assert b"upgrade: websocket" in (await served.head()).lower()
        await served.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nfirst"
        )
        while True:
            data = await served.stream.receive_some()
            if not data:
                break
            await served.send(data.upper())

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nahead"
        )
        status, fields = await client.head()
        assert status == 101
        assert fields["upgrade"] == "websocket"
        await client.send(b" more")
        if isinstance(client.stream, trio.SocketStream):  # trio's TLS has no half-close: test_tls.py has one
            await client.stream.send_eof()
            assert await client.rest() == b"firstAHEAD MORE"
        else:
            assert await client.exactly(15) == b"firstAHEAD MORE"


@pytest.mark.parametrize("line", [b"Content-Length: 0", b"content-length:  000\t"])
@pytest.mark.parametrize("ahead", [b"", b"ahead"])
async def test_a_handshake_that_says_that_it_has_no_content_becomes_a_tunnel(
    parser: str, line: bytes, ahead: bytes
) -> None:
    """Some WebSocket clients say so, and some servers take any length for content: they are not told."""

    async def script(served: Served) -> None:
        head = (await served.head()).lower()
        assert b"upgrade: websocket" in head
        assert b"content-length" not in head
        await served.send(SWITCH + b"Upgrade: websocket\r\n\r\n")
        await served.send((await served.exactly(9)).upper())

    async with rig(script, parser=parser) as test:
        client = await test.connect()
        handshake = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + line
        await client.send(handshake + b"\r\n\r\n" + ahead)
        assert (await client.head())[0] == 101
        await client.send(b"more data"[: 9 - len(ahead)])
        assert await client.exactly(9) == (ahead + b"more data"[: 9 - len(ahead)]).upper()


@pytest.mark.parametrize("switched_to", [b"websocket", b"chat"])
async def test_only_a_permitted_upgrade_that_was_asked_for_opens_a_tunnel(
    parser: str, switched_to: bytes
) -> None:
    async def script(served: Served) -> None:
        head = (await served.head()).lower()
        assert (b"upgrade: chat" in head) == (switched_to == b"websocket")
        await served.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %b\r\nConnection: upgrade\r\n\r\n" % switched_to
        )

    # "chat" may be used in the one run, and gets a 101 to another protocol; in the other it may not.
    permitted = ["websocket", "chat"] if switched_to == b"websocket" else ["websocket"]
    async with rig(script, parser=parser, upgrades=permitted) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
        assert (await client.answer())[0] == 502


async def test_the_first_byte_of_an_answer_may_take_its_time_after_a_slow_request(parser: str) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.exactly(10)
        await trio.sleep(0.2)
        await served.send(OK)

    async with rig(script, parser=parser, timeouts=Timeouts(first_byte=0.5, body_idle=0.5)) as test:
        client = await test.connect()
        await client.send(POST + b"Content-Length: 10\r\n\r\n")
        for _ in range(10):
            await trio.sleep(0.1)
            await client.send(b"x")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_max_forwards_is_counted_down_and_ends_here(parser: str, method: str) -> None:
    async with rig(parser=parser) as test:
        client = await test.connect()
        request = f"{method} /a HTTP/1.1\r\nHost: test\r\nMax-Forwards: %d\r\n\r\n"
        await client.send((request % 3).encode())
        assert b"max-forwards: 2\n" in (await client.answer())[2]
        await client.send((request % 0).encode())
        status, fields, _ = await client.answer()
        assert status == (200 if method == "OPTIONS" else 405)
        assert "OPTIONS" in fields["allow"]


async def test_an_answer_without_a_date_gets_one(parser: str) -> None:
    async with rig(answering(OK), parser=parser) as test:
        _, fields, _ = await test.get("/")
        assert fields["date"].endswith(" GMT")
    dated = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"
    async with rig(answering(dated), parser=parser) as test:
        _, fields, _ = await test.get("/")
        assert fields["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
