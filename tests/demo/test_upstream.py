"""The demo's upstream tells what reached it, byte for byte."""

import hashlib
import json

import h11
import pytest
import trio

from blitz.demo import serve_upstream
from blitz.demo.upstream import PATTERN


@pytest.fixture
async def upstream(nursery):
    return await nursery.start(serve_upstream)


class Client:
    """h11's client machine over one connection."""

    def __init__(self, stream):
        self.stream = stream
        self.machine = h11.Connection(h11.CLIENT)

    async def ask(self, method, target, headers=(), body=b""):
        """-> status, headers, body; interim answers are skipped."""
        sent = [("host", "demo"), *headers]
        if body:
            sent.append(("content-length", str(len(body))))
        await self.send(h11.Request(method=method, target=target, headers=sent))
        if body:
            await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())
        status, fields, content = 0, {}, b""
        while True:
            event = self.machine.next_event()
            if event is h11.NEED_DATA:
                self.machine.receive_data(await self.stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                status, fields = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                if self.machine.our_state is h11.DONE:
                    self.machine.start_next_cycle()
                return status, fields, content

    async def send(self, event):
        await self.stream.send_all(self.machine.send(event))


@pytest.fixture
async def client(upstream):
    async with await trio.open_tcp_stream(*upstream) as stream:
        yield Client(stream)


async def test_it_tells_what_the_request_was(client):
    body = bytes(range(256)) * 500
    status, fields, content = await client.ask(
        "POST", "/a?b=%20", [("X-Twice", "1"), ("X-Twice", b"\xc3\xa9")], body
    )
    assert (status, fields[b"content-type"]) == (200, b"application/json")
    told = json.loads(content)
    assert (told["method"], told["target"]) == ("POST", "/a?b=%20")
    assert [value for name, value in told["headers"] if name == "x-twice"] == [
        "1",
        "é".encode().decode("latin-1"),
    ]
    assert told["body"] == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


async def test_one_connection_serves_many_requests(client):
    for number in range(3):
        assert json.loads((await client.ask("GET", f"/{number}"))[2])["target"] == f"/{number}"


@pytest.mark.parametrize("status", [200, 204, 304, 404, 503, 599])
async def test_it_answers_with_the_status_asked_for(client, status):
    got, _, content = await client.ask("GET", f"/status/{status}")
    assert got == status
    assert bool(content) == (status not in (204, 304))
    assert (await client.ask("GET", "/"))[0] == 200


async def test_big_is_as_big_as_asked_and_always_the_same(client):
    status, fields, content = await client.ask("GET", "/big?size=100KiB")
    assert (status, fields[b"content-length"]) == (200, b"102400")
    assert content == (PATTERN * 2)[:102400]


async def test_head_tells_the_length_and_sends_nothing(client):
    for target in ("/", "/big?size=1MiB"):
        status, fields, content = await client.ask("HEAD", target)
        assert (status, content) == (200, b"")
        assert int(fields[b"content-length"]) > 0


async def test_events_come_one_by_one(client, autojump_clock):
    began = trio.current_time()
    _, fields, content = await client.ask("GET", "/stream?n=3&every=10s")
    assert fields[b"content-type"] == b"text/event-stream"
    assert content.decode().split("\n\n")[:3] == [f"id: {n}\ndata: tick {n}" for n in range(3)]
    assert 20 <= trio.current_time() - began < 21


@pytest.mark.parametrize("target", ["/big?size=lots", "/stream?n=x", "/stream?every=soon"])
async def test_a_wrong_option_is_400(client, target):
    status, _, content = await client.ask("GET", target)
    assert status == 400
    assert content.endswith(b"\n")


async def test_a_client_that_waits_for_100_gets_it(client):
    status, _, content = await client.ask("PUT", "/", [("expect", "100-continue")], b"body")
    assert status == 200
    assert json.loads(content)["body"]["size"] == 4


async def test_what_is_not_http_is_400(upstream):
    async with await trio.open_tcp_stream(*upstream) as stream:
        await stream.send_all(b"nonsense\r\n\r\n")
        answer = b""
        async for part in stream:
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")
