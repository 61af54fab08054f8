"""Bodies that take more than one read on the fast path: the general path does the same, whatever comes."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Log

from .harness import Client, Served, rig, until
from .test_access import Lines, lines  # noqa: F401

JSON = Log(access="json")
DATA = random.Random(1).randbytes(1 << 20)


@dataclass(frozen=True)
class Response:
    """How the upstream answers.

    Attributes:
        cuts: sizes of the pieces that it sends, in turn; head and body are cut alike.
        end: "whole", "cut" (the connection closes before the end), "more" (bytes behind it).
    """

    size: int
    framing: str
    chunk: int
    cuts: tuple[int, ...]
    end: str
    method: str

    def octets(self) -> bytes:
        head = b"HTTP/1.1 200 OK\r\n"
        body = DATA[: self.size]
        if self.framing == "chunked":
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            chunks = [body[at : at + self.chunk] for at in range(0, self.size, self.chunk)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\na: b\r\n\r\n"
        elif self.framing == "length":
            head += b"Content-Length: %d\r\n\r\n" % self.size
        else:
            head += b"\r\n"
        if self.method == "HEAD":
            body = b""
        if self.end == "cut" and self.framing != "close":
            body = body[: -max(len(body) // 3, 1)]
        return head + body + (b"HTTP/1.1 200 OK\r\n" if self.end == "more" else b"")

    def stays(self) -> bool:
        return self.end == "whole" and self.framing != "close"


RESPONSES = st.builds(
    Response,
    st.one_of(st.integers(0, 40), st.integers(15_000, 70_000), st.integers(100_000, 600_000)),
    st.sampled_from(["length", "chunked", "close"]),
    st.sampled_from([1000, 5000, 16_384, 100_000]),
    st.lists(st.sampled_from([30, 1000, 20_000, 64_000, 700_000]), min_size=1, max_size=4).map(tuple),
    st.sampled_from(["whole", "whole", "whole", "cut", "more"]),
    st.sampled_from(["GET", "GET", "GET", "HEAD"]),
)


async def read_response(client: Client, method: str) -> tuple[Any, ...]:
    """Status, the body as far as it came, whether its end came, and what Connection says."""
    status, fields = await client.head()
    kind, length = fields.get("transfer-encoding"), int(fields.get("content-length", -1))
    if method == "HEAD":
        return status, b"", True, fields.get("connection")
    if kind is None:
        with contextlib.suppress(EOFError):
            await client.have(length)
        body = bytes(client.buffer[:length])
        del client.buffer[:length]
        return status, body, len(body) == length, fields.get("connection")
    body, ended = bytearray(), False
    with contextlib.suppress(EOFError):
        while not ended:
            while b"\r\n" not in client.buffer:
                await client.have(len(client.buffer) + 1)
            at = client.buffer.index(b"\r\n")
            line = bytes(client.buffer[:at])
            del client.buffer[: at + 2]
            ended = line == b"0"
            try:
                await client.have(int(line, 16) + 2)
            finally:
                body += client.buffer[: int(line, 16)]
                del client.buffer[: int(line, 16) + 2]
    return status, bytes(body), ended, fields.get("connection")


async def play(parser: str, responses: list[Response], found: Lines | None = None) -> list[Any]:
    """-> what the client got of each response, and its access line with *found*."""

    async def answer(served: Served) -> None:
        while True:
            response = responses[int((await served.head()).split(b" ")[1][1:])]
            octets, pieces = response.octets(), 0
            while octets:
                size = response.cuts[pieces % len(response.cuts)] if pieces < 50 else len(octets)
                await served.send(octets[:size])
                octets, pieces = octets[size:], pieces + 1
                await trio.lowlevel.checkpoint()
            if not response.stays():
                return

    answers = []
    async with rig(answer, parser=parser, log=JSON if found is not None else Log()) as test:
        client = await test.connect()
        for number, response in enumerate(responses):
            await client.send(f"{response.method} /{number} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            with trio.fail_after(30):
                answers.append(await read_response(client, response.method))
            if not answers[-1][2]:
                assert await client.closed()
                client = await test.connect()
        if found is not None:
            answers += [comparable(line) for line in await found.wait(len(responses))]
            found.lines.clear()
    return answers


def comparable(line: str) -> dict[str, Any]:
    changing = ("time", "id", "duration", "upstream")
    return {name: value for name, value in json.loads(line).items() if name not in changing}


@settings(max_examples=12)
@given(responses=st.lists(RESPONSES, min_size=1, max_size=4))
def test_both_paths_do_the_same_with_responses_of_any_length(responses: list[Response]) -> None:
    fast = trio.run(play, "auto", responses)
    assert fast == trio.run(play, "h11", responses)
    for response, (_, body, ended, _) in zip(responses, fast, strict=True):
        assert response.method == "HEAD" or DATA.startswith(body) or response.end == "more"
        assert ended or response.end == "cut"


def test_both_paths_log_the_same_of_responses_of_any_length(lines: Lines) -> None:  # noqa: F811
    draw = random.Random(7)
    responses = [
        Response(
            draw.choice([3, 16_000, 70_000, 300_000]),
            draw.choice(["length", "chunked", "close"]),
            draw.choice([1000, 16_384]),
            (draw.choice([1000, 64_000, 700_000]),),
            draw.choice(["whole", "cut", "more"]),
            draw.choice(["GET", "GET", "HEAD"]),
        )
        for _ in range(12)
    ]
    assert trio.run(play, "auto", responses, lines) == trio.run(play, "h11", responses, lines)


@pytest.mark.slow
async def test_slow_readers_hold_a_buffer_each_and_give_it_back() -> None:
    count = 12
    piece = b"19000\r\n" + bytes(0x19000) + b"\r\n"
    pieces = 60  # more than the kernel's buffers take
    everybody = trio.Event()

    async def answer(served: Served) -> None:
        await served.head()
        if len(test.upstream.connections) == count:
            everybody.set()
        await everybody.wait()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(pieces):
            await served.send(piece)
        await served.send(b"0\r\n\r\n")
        await trio.sleep_forever()

    async with rig(answer) as test:
        fast_path = test.gateway._context.fast_path
        clients = []
        for _ in range(count):
            stream = trio.SocketStream(trio.socket.socket())
            test.opened.append(stream)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await stream.socket.connect(test.gateway.addresses[0])
            clients.append(Client(stream))
            await clients[-1].send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        for client in clients:  # a new upstream connection each: not on the fast path
            assert (await client.answer())[0] == 200
        for client in clients:
            await client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        await until(lambda: fast_path.parts >= count, patience=20)
        assert fast_path.parts <= count + 9  # and those that are spare
        with trio.fail_after(60):
            for client in clients:
                assert len((await read_response(client, "GET"))[1]) == pieces * 0x19000
        await until(lambda: fast_path.parts <= 9, patience=20)


@dataclass(frozen=True)
class Request:
    """What a client sends, with the next request right behind it where *joined*.

    Attributes:
        upstream: it "reads" all and answers, answers "early" and goes on reading, or "leaves" with the head.
    """

    size: int
    chunked: bool
    cuts: tuple[int, ...]
    joined: bool
    upstream: str
    trailer: bool

    def octets(self, number: int) -> bytes:
        body = DATA[: self.size]
        framing = b"Content-Length: %d" % self.size
        if self.chunked:
            framing = b"Transfer-Encoding: chunked"
            chunks = [body[at : at + 9000] for at in range(0, self.size, 9000)]
            body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n"
            body += b"a: b\r\n\r\n" if self.trailer else b"\r\n"
        return b"POST /%d HTTP/1.1\r\nHost: t\r\n%b\r\n\r\n%b" % (number, framing, body)


REQUESTS = st.builds(
    Request,
    st.one_of(st.integers(0, 40), st.integers(10_000, 40_000), st.integers(100_000, 400_000)),
    st.booleans(),
    st.lists(st.sampled_from([60, 1000, 20_000, 64_000, 700_000]), min_size=1, max_size=4).map(tuple),
    st.booleans(),
    st.sampled_from(["reads", "reads", "reads", "reads", "early", "leaves"]),
    st.booleans(),
)


async def upload(parser: str, requests: list[Request], found: Lines | None = None) -> list[Any]:
    """-> status and connection of each response, and what the upstream got of each body."""
    seen: dict[int, bytes] = {}

    async def answer(served: Served) -> None:
        while True:
            head = (await served.head()).lower()
            number = int(head.split(b" ")[1][1:])
            request = requests[number]
            if request.upstream == "leaves":
                return
            if request.upstream == "early":
                await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            # The coding is ours, so h11 is not asked: what came is put together by hand.
            body = bytearray()
            if b"transfer-encoding: chunked" in head:
                size = -1
                while size:
                    while b"\r\n" not in served.received:
                        served.received += await served.stream.receive_some() or _over()
                    line, _, rest = bytes(served.received).partition(b"\r\n")
                    served.received[:] = rest
                    size = int(line, 16)
                    body += (await served.exactly(size + 2))[:-2]
            else:
                body += await served.exactly(request.size)
            seen[number] = bytes(body)
            if request.upstream != "early":
                await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    answers: list[Any] = []
    async with rig(answer, parser=parser, log=JSON if found is not None else Log()) as test:
        client = await test.connect()
        waiting: list[int] = []
        octets = b""
        for number, request in enumerate(requests):
            octets += request.octets(number)
            waiting.append(number)
            last = number == len(requests) - 1
            if request.joined and request.upstream == "reads" and not last:
                continue
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_cut, client, octets, request.cuts)
                    for _ in range(len(waiting)):
                        status, _, ended, connection = await read_response(client, "POST")
                        if requests[waiting[0]].upstream != "reads":  # whether all was read by then is a race
                            connection = "?"
                        answers.append((waiting.pop(0), status, ended, connection))
            octets = b""
            if request.upstream != "reads":
                client = await test.connect()
    early = {number for number, request in enumerate(requests) if request.upstream == "early"}
    return [answers, {number: body for number, body in seen.items() if number not in early}]


def _over() -> bytes:
    raise EOFError


async def send_cut(client: Client, octets: bytes, cuts: tuple[int, ...]) -> None:
    pieces = 0
    with contextlib.suppress(trio.BrokenResourceError):  # it is not read to its end
        while octets:
            size = cuts[pieces % len(cuts)] if pieces < 50 else len(octets)
            await client.send(octets[:size])
            octets, pieces = octets[size:], pieces + 1
            await trio.lowlevel.checkpoint()


@settings(max_examples=12)
@given(requests=st.lists(REQUESTS, min_size=1, max_size=4))
def test_both_paths_do_the_same_with_requests_of_any_length(requests: list[Request]) -> None:
    fast = trio.run(upload, "auto", requests)
    assert fast == trio.run(upload, "h11", requests)
    for number, body in fast[1].items():
        assert body == DATA[: requests[number].size]
