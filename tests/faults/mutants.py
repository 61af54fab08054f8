"""Requests that are nearly right: all that the HTTP suite sends, damaged by a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ..http_suite.case import Byte
from ..http_suite.cases import ALL

__all__ = ["mutants"]

MAX_SIZE = 20_000
PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b"\xa0",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Connection: Host, Content-Length\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET / HTTP/1.1\r\n",
    b"chunked",
    b"identity",
    b"-1",
    b"+5",
    b"0x5",
    b"5;a=b",
    b"18446744073709551616",
    b"http://b/",
    b"*",
    b"%00",
    b"#",
)


def seeds() -> list[bytes]:
    found = []
    for case in ALL:
        parts = [
            step.data if isinstance(step, Byte) else step
            for step in case.send
            if isinstance(step, bytes | Byte)
        ]
        data = b"".join(parts).replace(b"T0KEN", b"token")
        if data and len(data) < MAX_SIZE:
            found.append(data)
    return found


def mutants(count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    pool = seeds()
    for _ in range(count):
        data = bytearray(rng.choice(pool))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            mutate(data, rng, pool)
        yield bytes(data)


def mutate(data: bytearray, rng: random.Random, pool: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 2, 5, 20)))
    match rng.randrange(8):
        case 0:
            data[at:at] = rng.choice(PIECES)
        case 1:
            data[at:end] = rng.choice(PIECES)
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end]
        case 4 if at < len(data):
            data[at] = rng.randrange(256)
        case 5 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 6:
            other = rng.choice(pool)
            data[at:] = other[rng.randrange(len(other)) :]
        case _:
            lines = bytes(data).split(b"\r\n")
            first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            data[:] = b"\r\n".join(lines)
