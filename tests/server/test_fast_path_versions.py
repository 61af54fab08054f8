"""Clients of HTTP/1.0 and those that ask for "close": both drivers say the same to both sides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from .harness import Client, Served, rig
from .test_fast_path import OK

RESPONSES = {
    "plain": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "old-kept": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    "old-end": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    "none": b"HTTP/1.1 204 No Content\r\n\r\n",
    "same": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "reset": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
}


@dataclass(frozen=True)
class Asked:
    method: str
    minor: int
    fields: tuple[str, ...]
    kind: str

    def octets(self, number: int) -> bytes:
        host = () if self.minor == 0 and "no-host" in self.fields else ("Host: test",)
        fields = [*host, *(field for field in self.fields if field != "no-host")]
        body = b""
        if self.method == "POST":
            fields.append("Content-Length: 2")
            body = b"hi"
        lines = [f"{self.method} /{self.kind}?{number} HTTP/1.{self.minor}", *fields, "", ""]
        return "\r\n".join(lines).encode() + body


FIELDS = [
    "Connection: keep-alive",
    "Connection: Keep-Alive, X-Named",
    "Connection: close",
    "Connection: close, keep-alive",
    "X-Named: 1",
    "no-host",
    "TE: trailers",
    "Expect: 100-continue",
    "Max-Forwards: 3",
    "Max-Forwards: 0",
    "Max-Forwards: 3x",
]
ASKED = st.builds(
    Asked,
    st.sampled_from(["GET", "GET", "HEAD", "POST", "OPTIONS", "TRACE"]),
    st.sampled_from([0, 0, 1]),
    st.lists(st.sampled_from(FIELDS), max_size=2, unique=True).map(tuple),
    st.sampled_from(sorted(RESPONSES)),
)


async def play(parser: str, requests: list[Asked]) -> tuple[list[Any], list[bytes]]:
    """-> what the client got, and which heads and bodies the upstream saw."""
    seen: list[bytes] = []
    got: list[Any] = []

    async def script(served: Served) -> None:
        while True:
            head = await served.head()
            length = re.search(rb"(?i)content-length: (\d+)", head)
            seen.append(_without_ports(head) + await served.exactly(int(length[1]) if length else 0))
            response = RESPONSES[head.split(b" ")[1][1:].partition(b"?")[0].decode()]
            if head.startswith(b"HEAD"):
                response = b"".join(
                    part + b"\r\n\r\n" for part in response.split(b"\r\n\r\n") if part.startswith(b"HTTP")
                )
            await served.send(response)
            if b"end" in head.split(b"?")[0]:
                return

    async with rig(script, parser=parser) as test:
        client: Client | None = None
        for number, asked in enumerate(requests):
            if client is None:
                client = await test.connect()
            with trio.fail_after(20):
                await client.send(asked.octets(number))
                status = 0
                while status < 200:
                    status, fields, body = await client.answer(asked.method)
                    fields.pop("date", None)
                    got.append((status, fields, body.partition(b"\nrequest ")[0]))
                if fields.get("connection") == "close":
                    got.append(await client.closed())
                    client = None
    return got, seen


def _without_ports(head: bytes) -> bytes:
    return re.sub(rb"127\.0\.0\.1:\d+", b"ENDPOINT", head)


@settings(max_examples=40)
@given(requests=st.lists(ASKED, min_size=1, max_size=8))
def test_both_paths_say_the_same_whatever_the_version_and_connection(requests: list[Asked]) -> None:
    assert trio.run(play, "auto", requests) == trio.run(play, "h11", requests)


async def test_a_client_of_http_1_0_keeps_its_connection_where_it_asks_for_that() -> None:
    seen: list[bytes] = []

    async def script(served: Served) -> None:
        while True:
            seen.append(await served.head())
            await served.send(OK)

    async with rig(script) as test:
        client = await test.connect()
        with trio.fail_after(20):
            for _ in range(3):
                await client.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
                _, fields, body = await client.answer()
                assert (fields["connection"], body) == ("keep-alive", b"hello")
            await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert "connection" not in (await client.answer())[1]
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await client.answer())[1]["connection"] == "close"
            assert await client.closed()
    own = f"127.0.0.1:{test.upstream.port}".encode()
    hosts = [re.search(rb"(?i)\r\nhost: ([^\r]*)", head) for head in seen]
    vias = [re.search(rb"(?i)\r\nvia: 1\.(\d)", head) for head in seen]
    assert [host and host[1] for host in hosts] == [own, own, own, b"test", own]
    assert [via and via[1] for via in vias] == [b"0", b"0", b"0", b"1", b"0"]
    assert all(head.partition(b"\r\n")[0].endswith(b"HTTP/1.1") for head in seen)
