"""Invariants: whatever the scanner accepts, h11 accepts with the same method, target, headers and framing;
any bytes give a head, incomplete, declined or a limit, and nothing else, the same on every path.

Heads come from a corpus of real ones, through mutations that know what a head is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11
from h11._connection import _body_framing
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz._native import ffi, lib
from tests.head import Body, Head
from tests.native import readers

CORPUS = readers.corpus("scanned") + readers.corpus("h11")
REFUSALS = {0, lib.BLITZ_E_DECLINED, lib.BLITZ_E_LIMIT}
FRAMING = {"content-length": Body.LENGTH, "chunked": Body.CHUNKED, "http/1.0": Body.CLOSE}

NASTY = [bytes([byte]) for byte in b'\r\n\0\t \x0b\x0c\x7f\x80\xff\x85\xa0:,;"#%\\_-/@']
NASTY += [b"\r\n", b"%00", b"\r\n ", b"\r\n\t", b"\r\n\r\n"]
NAMES = (
    b"Host|Content-Length|Transfer-Encoding|Connection|Expect|Upgrade|TE|Content_Length|Transfer-Encoding |X|"
    b"| Host|content-length|HTTP2-Settings|Authorization|X_Y|Transfer.Encoding|Keep-Alive|x-forwarded-for"
).split(b"|")
VALUES = (
    b"a|b.c:80|[::1]||0|5|05|+5|5, 5|5,6|0x5|99999999999999999999|9223372036854775807|9223372036854775808|"
    b"chunked|Chunked|chunked, chunked|gzip, chunked|identity|close|keep-alive|close, X|upgrade|"
    b"Upgrade, Host|h2c|websocket|100-continue|\tx\t|a b|\xe9"
).split(b"|")
METHODS = [b"GET", b"get", b"CONNECT", b"OPTIONS", b"TRACE", b"PRI", b"HEAD", b"G@T", b"M-SEARCH", b""]
TARGETS = [
    b"/",
    b"*",
    b"http://a/b",
    b"http://b",
    b"a:80",
    b"/a#b",
    b"//",
    b"/\xff",
    b"",
    b"/a%zz",
    b"?a",
    b"/ b",
]
VERSIONS = [b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b"HTTP/1,1", b""]
ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n ", b""]

Lines = list[bytes]
Mutation = Callable[[Lines, "Choose"], None]


class Choose:
    """Choices drawn by hypothesis, with the few shapes that mutations need."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw

    def index(self, size: int) -> int:
        return self._draw(st.integers(0, size - 1))

    def of(self, options: list[bytes]) -> bytes:
        return self._draw(st.sampled_from(options))


def insert_line(lines: Lines, choose: Choose) -> None:
    lines.insert(1 + choose.index(len(lines)), choose.of(NAMES) + b": " + choose.of(VALUES) + b"\r\n")


def repeat_line(lines: Lines, choose: Choose) -> None:
    lines.insert(choose.index(len(lines)), lines[choose.index(len(lines))])


def drop_line(lines: Lines, choose: Choose) -> None:
    if len(lines) > 1:
        del lines[choose.index(len(lines))]


def swap_lines(lines: Lines, choose: Choose) -> None:
    a, b = choose.index(len(lines)), choose.index(len(lines))
    lines[a], lines[b] = lines[b], lines[a]


def end_otherwise(lines: Lines, choose: Choose) -> None:
    at = choose.index(len(lines))
    lines[at] = lines[at].removesuffix(b"\r\n") + choose.of(ENDS)


def insert_bytes(lines: Lines, choose: Choose) -> None:
    at = choose.index(len(lines))
    cut = choose.index(len(lines[at]) + 1)
    lines[at] = lines[at][:cut] + choose.of(NASTY) + lines[at][cut:]


def insert_beside_colon(lines: Lines, choose: Choose) -> None:
    at = choose.index(len(lines))
    name, colon, value = lines[at].partition(b":")
    lines[at] = name + choose.of([*NASTY, b""]) + colon + choose.of([*NASTY, b""]) + value


def change_value(lines: Lines, choose: Choose) -> None:
    at = choose.index(len(lines))
    name, colon, _ = lines[at].partition(b":")
    if colon:
        lines[at] = name + b": " + choose.of(VALUES) + b"\r\n"


def change_case(lines: Lines, choose: Choose) -> None:
    at = choose.index(len(lines))
    lines[at] = lines[at].swapcase()


def drop_byte(lines: Lines, choose: Choose) -> None:
    at = choose.index(len(lines))
    cut = choose.index(len(lines[at]) + 1)
    lines[at] = lines[at][:cut] + lines[at][cut + 1 :]


def change_start(lines: Lines, choose: Choose) -> None:
    parts = lines[0].removesuffix(b"\r\n").split(b" ")
    at = choose.index(len(parts))
    response = parts[0].startswith(b"HTTP")
    options = (
        [VERSIONS, [b"200", b"99", b"600", b"20", b"101", b"204"]]
        if response
        else [METHODS, TARGETS, VERSIONS]
    )
    parts[at] = choose.of(options[min(at, len(options) - 1)])
    lines[0] = b" ".join(parts) + b"\r\n"


def many_fields(lines: Lines, choose: Choose) -> None:
    lines[1:1] = [b"N%d: v\r\n" % i for i in range(250 + choose.index(10))]


MUTATIONS: list[Mutation] = [
    insert_line,
    repeat_line,
    drop_line,
    swap_lines,
    end_otherwise,
    insert_bytes,
    insert_beside_colon,
    change_value,
    change_case,
    drop_byte,
    change_start,
    many_fields,
]


def h11_framing(event: h11.Request | h11.Response, method: bytes) -> tuple[Body, int | None]:
    kind, arguments = _body_framing(method, event)
    body = FRAMING[kind]
    if body == Body.LENGTH:
        # h11 calls no body a body of no bytes.
        declared = any(name == b"content-length" for name, _ in event.headers)
        return (Body.LENGTH, int(arguments[0])) if declared and arguments[0] else (Body.NONE, None)
    return body, None


def raw_fields(head: Head) -> list[tuple[bytes, bytes]]:
    """As received: those that the rules took out too."""

    def text(span: Any) -> bytes:
        return bytes(ffi.buffer(lib.blitz_head_at(head.c, span), span.len)) if span.len else b""

    fields = [head.c.fields[i] for i in range(head.c.n_fields)]
    return [(text(field.name), text(field.value)) for field in fields]


def assert_readers_agree(data: bytes, method: bytes | None) -> None:
    results = [readers.scan(data, method, path) for path in readers.PATHS]
    heads = [result for result in results if isinstance(result, Head)]
    if not heads:
        assert len(set(results)) == 1, results
        assert results[0] in REFUSALS
        return
    assert len(heads) == len(results), results
    judged = readers.judge(data, method)
    assert isinstance(judged, Head), readers.name_of(judged)
    for head in heads:
        assert readers.meaning(head) == readers.meaning(judged)
    event = readers.read_with_h11(data[: readers.extent(data)], method)
    assert event is not None
    assert_h11_says(event, heads[0], method)
    in_parts = readers.scan_in_parts(data, method, "portable", 3)
    assert isinstance(in_parts, Head)
    assert readers.meaning(in_parts) == readers.meaning(judged)


def assert_h11_says(event: object, head: Head, method: bytes | None) -> None:
    """h11's event itself, before our builder and rules: nothing of it was lost on the way."""
    if isinstance(event, h11.Request):
        assert (event.method, event.target, event.http_version) == (head.method, head.target, head.version)
    else:
        assert isinstance(event, h11.Response | h11.InformationalResponse)
        assert (event.status_code, event.reason, event.http_version) == (
            head.status,
            head.reason,
            head.version,
        )
    fields = [(name, readers.as_h11_shows(name, value)) for name, value in raw_fields(head)]
    assert event.headers.raw_items() == fields
    if isinstance(event, h11.InformationalResponse):
        assert head.body == Body.NONE
        return
    body, length = h11_framing(event, method or head.method)
    ours = (head.body, head.content_length)
    assert ours == (body, length) or (ours == (Body.LENGTH, 0) and body == Body.NONE)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CORPUS), st.lists(st.sampled_from(MUTATIONS), max_size=5), st.data())
def test_mutated_real_heads(
    seed: tuple[str, bytes, bytes | None], mutations: list[Mutation], data: st.DataObject
) -> None:
    _, raw, method = seed
    lines = raw.removesuffix(b"\r\n").splitlines(keepends=True)
    for mutate in mutations:
        mutate(lines, Choose(data))
    if method is not None:
        method = data.draw(st.sampled_from([b"GET", b"HEAD", b"POST"]))
    assert_readers_agree(b"".join(lines) + b"\r\n" + data.draw(st.sampled_from([b"", b"x", raw])), method)


GOOD_START = b"GET / HTTP/1.1\r\nHost: a\r\n"
ATOMS = st.sampled_from(
    [*NASTY, *NAMES, *VALUES, *METHODS, *TARGETS, *VERSIONS, b": ", GOOD_START, b"GET /a HTTP/1.1\r\n"]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"", GOOD_START]), st.lists(ATOMS, max_size=20).map(b"".join))
def test_requests_put_together_from_their_parts(before: bytes, data: bytes) -> None:
    assert_readers_agree(before + data, None)


FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=5)


@settings(max_examples=300, deadline=None)
@given(FIELDS, st.sampled_from([None, b"GET", b"HEAD"]))
def test_well_formed_lines_of_any_meaning(fields: list[tuple[bytes, bytes]], method: bytes | None) -> None:
    start = GOOD_START if method is None else b"HTTP/1.1 200 OK\r\n"
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    assert_readers_agree(start + lines + b"\r\n", method)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([None, b"GET"]),
    st.sampled_from([b"", GOOD_START]),
)
def test_any_bytes(data: bytes, method: bytes | None, before: bytes) -> None:
    assert_readers_agree(before + data, method)
