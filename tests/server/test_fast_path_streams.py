"""Bodies that take more than one read on the fast path: the general path does the same, whatever comes."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import dataclass
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.config import Log

from .harness import Client, Served, rig
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
            line, _, rest = bytes(client.buffer).partition(b"\r\n")
            client.buffer[:] = rest
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
        for _ in range(24)
    ]
    assert trio.run(play, "auto", responses, lines) == trio.run(play, "h11", responses, lines)
