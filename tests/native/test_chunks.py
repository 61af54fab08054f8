"""Invariants: the decoded body does not depend on how the coded bytes were cut into calls; whatever is
accepted h11 decodes to the same bytes (without extensions, where h11 knows less than the grammar does); bytes
behind the body are left alone."""

from __future__ import annotations

import re
import time
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz._native import ffi, lib

DONE = 255
SYNTAX, LIMIT = lib.BLITZ_E_SYNTAX, lib.BLITZ_E_LIMIT


def decode(parts: list[bytes], max_line: int = 0, max_trailers: int = 0) -> tuple[bytes, int, int]:
    """Data, bytes consumed, and the state at the end or the error."""
    chunks = ffi.new("blitz_chunks *", {"max_line": max_line, "max_trailers": max_trailers})
    consumed, data, used = ffi.new("size_t *"), bytearray(), 0
    for part in parts:
        buffer = bytearray(part)
        got = lib.blitz_chunks_decode(chunks, ffi.from_buffer("uint8_t[]", buffer), len(part), consumed)
        if got < 0:
            return bytes(data), used, got
        data += buffer[:got]
        used += consumed[0]
        assert consumed[0] == len(part) or chunks.state == DONE
    return bytes(data), used, int(chunks.state)


def decode_all_ways(body: bytes, **bounds: int) -> tuple[bytes, int, int]:
    whole = decode([body], **bounds)
    bytewise = decode([body[i : i + 1] for i in range(len(body))], **bounds)
    if whole[2] < 0:  # an error ends the body: how much came out before it depends on the cut
        assert bytewise[2] == whole[2], body
    else:
        assert bytewise == whole, body
    return whole


GOOD: list[tuple[str, bytes, bytes]] = [
    ("empty", b"0\r\n\r\n", b""),
    ("one", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    ("two", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
    ("capital digits", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ("leading zeros", b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
    ("15 digits", b"000000000000003\r\nabc\r\n0\r\n\r\n", b"abc"),
    ("a long chunk", b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n", b"x" * 1024),
    ("data like framing", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    ("extension", b"3;a\r\nabc\r\n0;b=c\r\n\r\n", b"abc"),
    ("extensions", b'3;a=b;c="d\\"\xe9 ;";e\r\nabc\r\n0\r\n\r\n', b"abc"),
    ("whitespace inside extensions", b"3; a =\tb ; c\r\nabc\r\n0\r\n\r\n", b"abc"),
    ("space before extension", b"3 ;a\r\nabc\r\n0 ;b\r\n\r\n", b"abc"),
    ("whitespace before extensions", b"3\t ;a\t; b =c ;d\r\nabc\r\n0\r\n\r\n", b"abc"),
    ("trailers", b"1\r\na\r\n0\r\nX-A: b\r\nc:\r\nd:\t\xff \r\n\r\n", b"a"),
]

BAD: list[tuple[str, bytes]] = [
    ("no size", b"\r\nabc"),
    ("LF after size", b"1\na\r\n0\r\n\r\n"),
    ("CR after size", b"1\ra\r\n0\r\n\r\n"),
    ("LF after data", b"1\r\na\n0\r\n\r\n"),
    ("CR after data", b"1\r\na\r0\r\n\r\n"),
    ("data too long", b"1\r\nab\r\n0\r\n\r\n"),
    ("two bytes behind data that are no line end", b"1\r\naxx0\r\n\r\n"),
    ("space before size", b" 1\r\na\r\n0\r\n\r\n"),
    ("space after size", b"1 \r\na\r\n0\r\n\r\n"),
    ("space inside size", b"1 0\r\na\r\n0\r\n\r\n"),
    ("space and no extension", b"1 ;\r\na\r\n0\r\n\r\n"),
    ("space and equals", b"1 =a\r\na\r\n0\r\n\r\n"),
    ("space and CR", b"1 \ra\r\n0\r\n\r\n"),
    ("vertical tab before extension", b"1\x0b;a\r\na\r\n0\r\n\r\n"),
    ("tab after size", b"1\t\r\na\r\n0\r\n\r\n"),
    ("sign", b"+1\r\na\r\n0\r\n\r\n"),
    ("minus", b"-1\r\na\r\n0\r\n\r\n"),
    ("0x", b"0x1\r\na\r\n0\r\n\r\n"),
    ("underscore", b"1_0\r\n"),
    ("no hexadecimal", b"g\r\n"),
    ("16 digits", b"0000000000000001\r\na\r\n0\r\n\r\n"),
    ("NUL after size", b"1\0\r\na\r\n0\r\n\r\n"),
    ("empty extension", b"1;\r\na\r\n0\r\n\r\n"),
    ("two semicolons", b"1;;a\r\na\r\n0\r\n\r\n"),
    ("extension without name", b"1;=a\r\na\r\n0\r\n\r\n"),
    ("extension without value", b"1;a=\r\na\r\n0\r\n\r\n"),
    ("whitespace behind extension", b"1;a \r\na\r\n0\r\n\r\n"),
    ("whitespace behind value", b"1;a=b \r\na\r\n0\r\n\r\n"),
    ("open quote", b'1;a="b\r\na\r\n0\r\n\r\n'),
    ("line end in quotes", b'1;a="\r\n"\r\na\r\n0\r\n\r\n'),
    ("text behind quotes", b'1;a="b"c\r\na\r\n0\r\n\r\n'),
    ("LF in extension", b"1;a\na\r\n0\r\n\r\n"),
    ("CR in extension", b"1;a\rb\r\na\r\n0\r\n\r\n"),
    ("control in extension", b'1;a="\x01"\r\na\r\n0\r\n\r\n'),
    ("LF at the end", b"0\r\n\n"),
    ("LF after last chunk", b"0\n\r\n"),
    ("LF after trailer", b"0\r\na: b\n\r\n"),
    ("CR in trailer", b"0\r\na: b\rc\r\n\r\n"),
    ("folded trailer", b"0\r\na: b\r\n c\r\n\r\n"),
    ("trailer without colon", b"0\r\nabc\r\n\r\n"),
    ("trailer without name", b"0\r\n: b\r\n\r\n"),
    ("space before colon in trailer", b"0\r\na : b\r\n\r\n"),
    ("NUL in trailer", b"0\r\na: \0\r\n\r\n"),
    ("request instead of trailers", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
]


@pytest.mark.parametrize(("case", "body", "data"), [pytest.param(*row, id=row[0]) for row in GOOD])
def test_good_bodies(case: str, body: bytes, data: bytes) -> None:
    assert decode_all_ways(body) == (data, len(body), DONE)
    for behind in (b"G", b"0\r\n\r\n", b"\r\n" * 20):
        assert decode([body + behind]) == (data, len(body), DONE)
    for cut in range(len(body)):
        got, used, state = decode([body[:cut]])
        assert (used, state != DONE) == (cut, True)
        assert data.startswith(got)


@pytest.mark.parametrize(("case", "body"), [pytest.param(*row, id=row[0]) for row in BAD])
def test_bad_bodies(case: str, body: bytes) -> None:
    assert decode_all_ways(body)[2] == SYNTAX
    assert decode_all_ways(b"3\r\nabc\r\n" + body)[2] == SYNTAX


def test_nothing_is_consumed_behind_the_end() -> None:
    chunks, consumed = ffi.new("blitz_chunks *"), ffi.new("size_t *")
    for data, used in ((b"0\r\n\r\nmore", 5), (b"more", 0)):
        buffer = bytearray(data)
        assert lib.blitz_chunks_decode(chunks, ffi.from_buffer("uint8_t[]", buffer), len(data), consumed) == 0
        assert (consumed[0], bytes(buffer)) == (used, data)


BOUNDS: list[tuple[str, dict[str, int], bytes, int]] = [
    ("line", {"max_line": 8}, b"1;abcd\r\nx\r\n0\r\n\r\n", DONE),
    ("line, one too long", {"max_line": 8}, b"1;abcde\r\nx\r\n0\r\n\r\n", LIMIT),
    ("endless line", {"max_line": 8}, b"1;" + b"a" * 100, LIMIT),
    ("plain size over the line's bound", {"max_line": 3}, b"01\r\nx\r\n0\r\n\r\n", LIMIT),
    ("trailers", {"max_trailers": 8}, b"0\r\na: b\r\n\r\n", DONE),
    ("trailers, one too long", {"max_trailers": 8}, b"0\r\na: bc\r\n\r\n", LIMIT),
    ("endless space before extension", {"max_line": 8}, b"1" + b" " * 100, LIMIT),
    ("endless trailers", {"max_trailers": 20}, b"0\r\n" + b"a: b\r\n" * 9, LIMIT),
    ("default of a line", {}, b"1;" + b"a" * 4092 + b"\r\nx\r\n0\r\n\r\n", DONE),
    ("default of a line, one too long", {}, b"1;" + b"a" * 4093 + b"\r\nx\r\n0\r\n\r\n", LIMIT),
    ("default of trailers", {}, b"0\r\n" + b"a:\r\n" * 4097, LIMIT),
    ("small chunks without extensions", {"max_line": 8}, b"1\r\nx\r\n" * 500 + b"0\r\n\r\n", DONE),
    ("small chunks with extensions", {}, (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 16 + b"0\r\n\r\n", DONE),
    ("more of them", {}, (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 17 + b"0\r\n\r\n", LIMIT),
    (
        "large chunks pay for their extensions",
        {},
        (b"200;" + b"a" * 1000 + b"\r\n" + b"x" * 512 + b"\r\n") * 100 + b"0\r\n\r\n",
        DONE,
    ),
]


@pytest.mark.parametrize(
    ("case", "bounds", "body", "state"), [pytest.param(*row, id=row[0]) for row in BOUNDS]
)
def test_bounds(case: str, bounds: dict[str, int], body: bytes, state: int) -> None:
    assert decode_all_ways(body, **bounds)[2] == state


def read_with_h11(body: bytes) -> tuple[bytes, int] | None:
    """Data and bytes behind the body, or None when h11 refuses or wants more."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    data = bytearray()
    try:
        assert isinstance(server.next_event(), h11.Request)
        while True:
            event: Any = server.next_event()
            if isinstance(event, h11.EndOfMessage):
                return bytes(data), len(server.trailing_data[0])
            if not isinstance(event, h11.Data):
                return None
            data += event.data
    except h11.RemoteProtocolError:
        return None


TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# RFC 9112 section 7.1.1, BWS as RFC 9110 section 5.6.3 has it; at most 15 digits are ours.
SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*\r\n" % (TOKEN, TOKEN, QUOTED)
)


def without_extensions(body: bytes) -> bytes:
    """The same chunks; raises ValueError where a size line is not as the grammar has it."""
    made, at, size = b"", 0, 1
    while size:
        line = SIZE_LINE.match(body, at)
        if line is None:
            raise ValueError(body[at:])
        size = int(line[1], 16)
        at = line.end() + size + 2 if size else line.end()
        made += line[1] + b"\r\n" + body[line.end() : at]
    return made + body[at:]


PIECES = st.sampled_from(
    [
        b"0", b"1", b"5", b"a", b"F", b"g", b"00", b";", b";a", b";a=b", b'="q"', b'"', b"\\", b" ", b"\t",
        b"\r\n", b"\r", b"\n", b"\0", b"x", b"hello", b"X: y", b":", b"\r\n\r\n", b"0\r\n\r\n", b"1\r\nx\r\n",
        b"5\r\nhello\r\n", b"\xff", b"Content-Length: 5",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map(b"".join))
def test_what_is_accepted_h11_reads_alike(body: bytes) -> None:
    data, used, state = decode_all_ways(body)
    if state == DONE:
        assert read_with_h11(without_extensions(body)) == (data, len(body) - used)


BWS = st.text(" \t", max_size=3)
NAME = st.text("!#$%&'*+.^_`|~09AZaz-", min_size=1, max_size=4)
VALUE = NAME | st.text("a ;=\t\\", max_size=4).map(lambda text: '"' + text.replace("\\", "\\\\") + '"')
EXTENSION = st.one_of(
    st.tuples(BWS, st.just(";"), BWS, NAME),
    st.tuples(BWS, st.just(";"), BWS, NAME, BWS, st.just("="), BWS, VALUE),
).map("".join)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.lists(EXTENSION, max_size=3)), max_size=4))
def test_whitespace_is_read_wherever_the_grammar_has_it(chunks: list[tuple[bytes, list[str]]]) -> None:
    lines = [(b"%x" % len(data) + "".join(extensions).encode(), data) for data, extensions in chunks]
    body = b"".join(line + b"\r\n" + data + b"\r\n" for line, data in lines) + b"0 ; a\r\n\r\n"
    assert decode_all_ways(body) == (b"".join(data for _, data in lines), len(body), DONE)


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=300), st.sampled_from([b"", b";a=b", b';a="\\""'])),
        max_size=8,
    ),
    st.data(),
)
def test_every_cut_gives_the_same_body(chunks: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), ext, chunk) for chunk, ext in chunks) + b"0\r\n\r\n"
    whole = b"".join(chunk for chunk, _ in chunks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert decode(parts) == (whole, len(body), DONE)
    assert read_with_h11(body) == (whole, 0)


def test_one_byte_chunks_cost_no_more_than_their_bytes() -> None:
    body = b"1\r\nx\r\n" * 200_000
    decode([body[:6000]])
    start = time.perf_counter()
    data, used, _ = decode([body])
    seconds = time.perf_counter() - start
    assert (len(data), used) == (200_000, len(body))
    assert seconds < 0.5  # 1.2 MB: a quadratic decoder needs minutes
