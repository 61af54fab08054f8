"""Invariant: what the writer puts out is one message head in canonical form: h11 and our own scanner read
it back with the fields that should pass, the framing that was asked for, and nothing else."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz._native import ffi, lib
from tests.head import Body, Head
from tests.native import readers

HOP_BY_HOP = [
    b"Connection: keep-alive, te",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: close",
    b"TE: trailers",
    b"Trailer: X-Sum",
    b"Upgrade: websocket",
    b"HTTP2-Settings: AAMA",
    b"Proxy-Authorization: Basic eA==",
    b"Proxy-Authenticate: Basic",
]


def scanned(*fields: bytes, line: bytes = b"GET /a?b HTTP/1.1") -> Head:
    data = b"\r\n".join([line, *fields, b"", b""])
    head = readers.scan(data, None if line.endswith(b"HTTP/1.1") else b"GET")
    assert isinstance(head, Head), (data, head)
    return head


CASES: list[tuple[str, Head, dict[str, Any], bytes]] = [
    (
        "as it came",
        scanned(b"Host: a", b"Accept: */*", b"X-B: c"),
        {},
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-B: c\r\n\r\n",
    ),
    (
        "odd whitespace becomes one space",
        scanned(b"Host: a", b"A:b", b"B:  c", b"C: d\t", b"D:", b"E: f"),
        {},
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nA: b\r\nB: c\r\nC: d\r\nD: \r\nE: f\r\n\r\n",
    ),
    (
        "hop-by-hop fields",
        scanned(b"Host: a", *HOP_BY_HOP, b"X: y"),
        {},
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
    ),
    (
        "between fields that pass",
        scanned(b"X: 1", b"TE: a", b"Y: 2", b"Host: a", b"Keep-Alive: 1", b"Z: 3"),
        {},
        b"GET /a?b HTTP/1.1\r\nX: 1\r\nY: 2\r\nHost: a\r\nZ: 3\r\n\r\n",
    ),
    (
        "host and target replaced, fields added and dropped",
        scanned(b"X: 1", b"Host: a", b"Via: 1.0 b", b"Y: 2"),
        {
            "host": b"[::1]:80",
            "target": b"/c",
            "extra": b"Via: 1.1 z\r\nX-Forwarded-For: 1\r\n",
            "drop_ids": bytes([lib.BLITZ_F_VIA]),
        },
        b"GET /c HTTP/1.1\r\nHost: [::1]:80\r\nX: 1\r\nY: 2\r\nVia: 1.1 z\r\nX-Forwarded-For: 1\r\n\r\n",
    ),
    (
        "no host at all",
        Head.request(b"GET", b"/", minor=0),
        {},
        b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
    ),
    (
        "length",
        scanned(b"Host: a", b"Content-Length: 7", line=b"POST / HTTP/1.1"),
        {"body": Body.LENGTH, "content_length": 7, "first": b"abc"},
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nabc",
    ),
    (
        "chunks",
        scanned(b"Host: a", b"Content-Length: 7", line=b"POST / HTTP/1.1"),
        {"body": Body.CHUNKED, "first": b"x" * 26},
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\n" + b"x" * 26 + b"\r\n",
    ),
    (
        "the only chunk",
        scanned(b"Host: a", line=b"POST / HTTP/1.1"),
        {"body": Body.CHUNKED, "first": b"x", "last": True},
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ),
    (
        "no bytes yet are no chunk",
        scanned(b"Host: a", line=b"POST / HTTP/1.1"),
        {"body": Body.CHUNKED},
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (
        "an empty chunked body",
        scanned(b"Host: a", line=b"POST / HTTP/1.1"),
        {"body": Body.CHUNKED, "last": True},
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "expect passes",
        scanned(b"Host: a", b"Expect: 100-continue", b"Content-Length: 1", line=b"PUT / HTTP/1.1"),
        {"body": Body.LENGTH, "content_length": 1},
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    ),
    (
        "expect was answered",
        scanned(b"Host: a", b"Expect: 100-continue", b"Content-Length: 1", line=b"PUT / HTTP/1.1"),
        {"body": Body.LENGTH, "content_length": 1, "strip_expect": 1},
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
    ),
    (
        "upgrade",
        scanned(b"Host: a", b"Connection: Upgrade", b"Upgrade: websocket"),
        {"upgrade": 1},
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ),
    (
        "close",
        scanned(b"Host: a"),
        {"close": 1},
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ),
    (
        "response",
        scanned(b"Server: x", b"Content-Length: 2", line=b"HTTP/1.1 200 Fine"),
        {"body": Body.LENGTH, "content_length": 2, "first": b"ok", "last": True, "extra": b"Date: now\r\n"},
        b"HTTP/1.1 200 Fine\r\nServer: x\r\nDate: now\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "response by close",
        scanned(b"Server: x", line=b"HTTP/1.1 200 "),
        {"body": Body.CLOSE, "first": b"ok"},
        b"HTTP/1.1 200 \r\nServer: x\r\nConnection: close\r\n\r\nok",
    ),
    (
        "response to a client that keeps its 1.0 connection",
        scanned(b"Content-Length: 0", line=b"HTTP/1.1 404 No"),
        {"body": Body.LENGTH, "keep_alive_10": 1},
        b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
    ),
    (
        "response to HEAD says the length",
        scanned(b"Content-Length: 99", b"Transfer-Encodings: x", line=b"HTTP/1.1 200 OK"),
        {"keep_length": 1},
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encodings: x\r\n\r\n",
    ),
    (
        "our own response to HEAD says the length",
        Head.response(200, [(b"A", b"b")], reason=b"OK"),
        {"body": Body.LENGTH, "content_length": 99, "last": True},
        b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 99\r\n\r\n",
    ),
    (
        "204 says none, even when a length is to be kept",
        scanned(b"Content-Length: 0", line=b"HTTP/1.1 204 OK"),
        {"keep_length": 1},
        b"HTTP/1.1 204 OK\r\n\r\n",
    ),
    (
        "date added",
        scanned(b"A: b", line=b"HTTP/1.1 304 Same"),
        {"date": b"Sun, 06 Nov 1994 08:49:37 GMT", "extra": b"C: d\r\n"},
        b"HTTP/1.1 304 Same\r\nA: b\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nC: d\r\n\r\n",
    ),
    (
        "date kept",
        scanned(b"dAte: then", line=b"HTTP/1.1 304 Same"),
        {"date": b"Sun, 06 Nov 1994 08:49:37 GMT"},
        b"HTTP/1.1 304 Same\r\ndAte: then\r\n\r\n",
    ),
    (
        "204 says none",
        scanned(b"Content-Length: 0", line=b"HTTP/1.1 204 OK"),
        {"keep_length": 1},
        b"HTTP/1.1 204 OK\r\n\r\n",
    ),
]


@pytest.mark.parametrize(
    ("case", "head", "options", "expected"), [pytest.param(*row, id=row[0]) for row in CASES]
)
def test_written(case: str, head: Head, options: dict[str, Any], expected: bytes) -> None:
    assert head.write(**options) == expected


def test_a_changed_field_is_written_where_it_stood() -> None:
    head = scanned(b"Host: a", b"A: 1", b"B: 2", b"C: 3", b"D: 4")
    head.set(b"b", b"x")
    head.remove(b"C")
    head.add(b"E", b"5")
    head.set_method(b"PUT")
    head.set_target(b"/t")
    assert head.write() == b"PUT /t HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: x\r\nD: 4\r\nE: 5\r\n\r\n"


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("request by close", {"body": Body.CLOSE}),
    ("part of no body", {"first": b"x"}),
    ("part longer than the length", {"body": Body.LENGTH, "content_length": 2, "first": b"xxx"}),
    (
        "last part shorter than the length",
        {"body": Body.LENGTH, "content_length": 2, "first": b"x", "last": True},
    ),
    ("negative length", {"body": Body.LENGTH, "content_length": -1}),
    ("host with a line end", {"host": b"a\r\nX: y"}),
    ("host with a space", {"host": b"a b"}),
    ("target with a line end", {"target": b"/ HTTP/1.1\r\nX: y"}),
    ("target with a space", {"target": b"/a b"}),
    ("extra without end", {"extra": b"A: b"}),
    ("extra with LF", {"extra": b"A: b\n"}),
    ("extra without name", {"extra": b"A b\r\n"}),
    ("extra with a bad name", {"extra": b"A : b\r\n"}),
    ("extra with an empty line", {"extra": b"A: b\r\n\r\n"}),
    ("extra with framing", {"extra": b"content-length: 5\r\n"}),
    ("extra with host", {"extra": b"A: b\r\nHost: a\r\n"}),
    ("extra with NUL", {"extra": b"A: \0\r\n"}),
    ("date with a line end", {"date": b"now\r\nA: b"}),
]


@pytest.mark.parametrize(("case", "options"), [pytest.param(*row, id=row[0]) for row in REFUSED])
def test_options_that_are_refused(case: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="options for this head"):
        scanned(b"Host: a").write(**options)


def test_every_buffer_that_is_too_small_is_refused_and_never_overrun() -> None:
    head = scanned(b"Host: a", b"A:b", b"C: d")
    head.add(b"E", b"f")
    full = head.write(body=Body.CHUNKED, first=b"12345", last=True)
    options = ffi.new("blitz_write_options *", {"body": Body.CHUNKED, "first_is_last": 1})
    assert lib.blitz_head_write_bound(head.c, options) + 5 >= len(full)
    for cap in range(len(full) + 3):
        memory = bytearray(b"\xa5" * (len(full) + 8))
        written = lib.blitz_head_write(
            head.c, options, b"12345", 5, ffi.from_buffer("uint8_t[]", memory), cap
        )
        if cap < len(full):
            assert written == lib.BLITZ_E_SPACE
            assert set(memory[cap:]) == {0xA5}
        else:
            assert memory[:written] == full


@pytest.mark.parametrize("status", [100, 103, 204, 304])
@pytest.mark.parametrize("body", [Body.LENGTH, Body.CHUNKED, Body.CLOSE])
def test_an_answer_that_ends_with_its_head_is_given_no_body(status: int, body: Body) -> None:
    with pytest.raises(ValueError, match="not possible here"):
        Head.response(status).write(body=body)


NAMES = st.sampled_from(
    [
        b"A",
        b"x-b",
        b"Accept",
        b"Via",
        b"TE",
        b"Keep-Alive",
        b"Upgrade",
        b"Trailer",
        b"Expect",
        b"ETag",
        b"a.b!",
    ]
)
VALUES = st.binary(max_size=30).map(
    lambda raw: bytes(b for b in raw if b == 9 or 32 <= b != 127).strip(b" \t")
)
SPACES = st.sampled_from([b"", b" ", b"  ", b"\t"])


@given(
    st.lists(st.tuples(NAMES, SPACES, VALUES, SPACES), max_size=12),
    st.lists(st.tuples(st.sampled_from(["add", "set", "remove"]), NAMES, VALUES), max_size=6),
    st.sampled_from([Body.NONE, Body.LENGTH, Body.CHUNKED]),
    st.binary(max_size=20),
)
def test_what_is_written_reads_back(
    lines: list[tuple[bytes, bytes, bytes, bytes]],
    edits: list[tuple[str, bytes, bytes]],
    body: Body,
    data: bytes,
) -> None:
    raw = b"POST /t HTTP/1.1\r\nHost: h\r\n" + b"".join(b"%s:%s%s%s\r\n" % line for line in lines) + b"\r\n"
    head = readers.judge(raw, None)
    if isinstance(head, int):
        return
    for what, name, value in edits:
        if what == "remove":
            head.remove(name)
        else:
            getattr(head, what)(name, value)
    first = data if body != Body.NONE else b""
    wire = head.write(body=body, content_length=len(first), first=first, last=body != Body.NONE)
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    request, got = server.next_event(), bytearray()
    assert isinstance(request, h11.Request)
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        got += event.data
    assert bytes(got) == first
    assert server.trailing_data == (b"", False)
    dropped = (b"te", b"keep-alive", b"upgrade", b"trailer")
    expected = [(name.lower(), value) for name, value in head.fields() if name.lower() not in dropped]
    if body == Body.LENGTH:
        expected.append((b"content-length", b"%d" % len(first)))
    elif body == Body.CHUNKED:
        expected.append((b"transfer-encoding", b"chunked"))
    assert list(request.headers) == expected
