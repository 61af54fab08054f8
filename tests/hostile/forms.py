"""Every form that the HTTP suite sends, taken apart into what a plugin can write.

The suite's cases hold whole messages. Their lines, split without judgement, give names, values, methods,
targets and status codes, good ones among them; some forms that only make sense from inside are added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.http_suite.case import Byte
from tests.http_suite.cases import ALL
from tests.http_suite.cases.make import EVIL, OK

from .writer import ADD, BODY, METHOD, PATH, REMOVE, SET, STATUS, Program, Write

__all__ = ["programs"]

PLACES = ("request", "answer", "response")
LONGEST = 4000  # longer ones are made by repeating a byte

# What no message of the suite can hold, because there it would end the line.
SPLITS = [
    b"b\r\nX-Injected: y",
    b"b\nX-Injected: y",
    b"b\r\n\r\n" + EVIL,
    b"b\r\n\r\n" + OK,
    b"b\n\n" + EVIL,
    b"\r\n",
    b"\r\n X-Injected: y",
    b"b\r\n\tc",
    b"b\r",
    b"b\n",
    b"\nb",
]
OWN = [  # fields that are the gateway's, with values that could frame, hide or hand over
    (b"content-length", b"0"), (b"content-length", b"5"), (b"content-length", b"5, 5"),
    (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity"), (b"transfer-encoding", b"gzip"),
    (b"connection", b"close"), (b"connection", b"keep-alive, x-kept"), (b"connection", b"content-length"),
    (b"connection", b"transfer-encoding, host"), (b"connection", b"upgrade"), (b"upgrade", b"websocket"),
    (b"upgrade", b"h2c"), (b"http2-settings", b"AAMAAABk"), (b"te", b"trailers"), (b"trailer", b"x-kept"),
    (b"keep-alive", b"timeout=5"), (b"proxy-connection", b"keep-alive"), (b"expect", b"100-continue"),
    (b"host", b"other.test"), (b"host", b"gw.test, other.test"), (b"host", b""), (b"host", b"gw.test:99999"),
    (b"max-forwards", b"0"), (b"max-forwards", b"x"), (b"via", b"1.1 x"), (b"date", b"x"), (b"age", b"-1"),
    (b"x-forwarded-for", b"192.0.2.1"), (b"forwarded", b"for=192.0.2.1"),
]  # fmt: skip


def programs() -> Iterator[Program]:
    """All of them, each once."""
    seen: set[Program] = set()
    for program in (*_fields(), *_targets(), *_statuses(), *_bodies(), *_sizes()):
        if program not in seen:
            seen.add(program)
            yield program


def _messages() -> Iterator[bytes]:
    """Heads, of requests and of answers."""
    for case in ALL:
        steps = [*case.send, *(step for script in case.upstream for step in script.steps)]
        for step in steps:
            data = step.data if isinstance(step, Byte) else step
            head = data.partition(b"\r\n\r\n")[0] if isinstance(data, bytes) else b""
            if 0 < len(head) < LONGEST:
                yield head


def _fields() -> Iterator[Program]:
    pairs = dict.fromkeys(OWN)
    pairs |= dict.fromkeys((b"x-kept", value) for value in SPLITS)
    pairs |= dict.fromkeys((value + b"-a", b"b") for value in SPLITS)
    for head in _messages():
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            pairs |= {(name, value): None, (name, value.strip(b" \t")): None, (b"x-kept", line): None}
    for name, value in pairs:
        for place in PLACES:
            yield Program(place, (Write(SET, name, value),))
            yield Program(place, (Write(ADD, name, value),))
        yield Program("request", (Write(REMOVE, name),))
        yield Program("response", (Write(REMOVE, name),))


def _targets() -> Iterator[Program]:
    lines = dict.fromkeys(head.partition(b"\r\n")[0] for head in _messages())
    for line in lines:
        method, _, rest = line.partition(b" ")
        target = rest.rpartition(b" ")[0]
        yield Program("request", (Write(METHOD, value=method),))
        yield Program("request", (Write(PATH, value=target),))
        yield Program("request", (Write(PATH, value=rest),))
        yield Program("request", (Write(PATH, value=line),))
        yield Program("request", (Write(METHOD, value=method), Write(PATH, value=target)))
        yield Program("answer", (Write(PATH, value=target), Write(METHOD, value=method)))
        yield Program("response", (Write(PATH, value=target),))
        yield Program("response", (Write(METHOD, value=method),))
    for value in SPLITS:
        yield Program("request", (Write(PATH, value=b"/a" + value),))
        yield Program("request", (Write(METHOD, value=b"GET" + value),))
    for method in (b"HEAD", b"CONNECT", b"TRACE", b"OPTIONS", b"PRI", b"POST", b"DELETE", b"get"):
        yield Program("request", (Write(METHOD, value=method),))
        yield Program("request", (Write(METHOD, value=method), Write(BODY, value=EVIL)))
        yield Program("request", (Write(METHOD, value=method), Write(PATH, value=b"*")))


def _statuses() -> Iterator[Program]:
    numbers = {
        -1,
        -200,
        2**31 - 1,
        -(2**31),
        *range(0, 1000, 37),
        *range(99, 106),
        *range(199, 210),
        300,
        304,
        305,
    }
    for head in _messages():
        if found := re.match(rb"HTTP/1\.1 ([0-9]{1,6})", head):
            numbers.add(int(found[1]))
    for number in sorted(numbers):
        status = Write(STATUS, value=number.to_bytes(4, "little", signed=True))
        for place in PLACES:
            yield Program(place, (status,))
            yield Program(place, (status, Write(BODY, value=OK)))
            yield Program(place, (status, Write(BODY, value=b"")))
            yield Program(place, (Write(BODY, value=EVIL), status, Write(SET, b"x-kept", b"v")))


def _bodies() -> Iterator[Program]:
    for body in (b"", b"x", OK, EVIL, b"0\r\n\r\n" + EVIL, b"5\r\nhello\r\n0\r\n\r\n", b"\x00" * 50):
        for place in PLACES:
            yield Program(place, (Write(BODY, value=body),))
            yield Program(place, (Write(BODY, value=body), Write(SET, b"content-encoding", b"gzip")))
            yield Program(place, (Write(REMOVE, b"content-type"), Write(BODY, value=body)))


def _sizes() -> Iterator[Program]:
    for place in PLACES:
        for size in (10_000, 33_000, 70_000, 200_000):
            yield Program(place, (Write(SET, b"x-kept", b"v", size),))
            yield Program(place, (Write(BODY, value=b"v", times=size),))
        for count in (50, 99, 101, 257):
            yield Program(place, tuple(Write(ADD, b"x-kept", b"v") for _ in range(count)))
        yield Program(place, tuple(Write(ADD, b"x-kept", b"v", 9000) for _ in range(9)))
    for size in (10_000, 20_000, 70_000):
        yield Program("request", (Write(PATH, value=b"/", times=size),))
        yield Program("request", (Write(METHOD, value=b"A", times=size),))
