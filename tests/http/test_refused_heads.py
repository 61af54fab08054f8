"""Why a head was refused.

Invariant: the sentence says what is wrong with it, and names the key whose limit it passed, however its bytes
came in and whichever parser looks at them.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.errors import BlitzError
from blitz.http.buffer import Buffer
from blitz.http.h1 import HeadReader, head_limits
from tests.head import Head

DEFAULTS = (65536, 16384, 32768, 100)
PARSERS = ("auto", "h11")
START = b"GET / HTTP/1.1\r\nHost: a\r\n"
END = b"\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n"


def refusal(
    data: bytes, parser: Any, *, step: int = 0, limits: tuple[int, ...] = DEFAULTS, response: bool = False
) -> BlitzError:
    """What the reader raises, reading whole or in parts of *step* bytes."""
    reader = HeadReader(head_limits(*limits), parser)
    head, buffer, seen = Head(), Buffer(len(data)), 0
    buffer.view[:] = data
    while buffer.end < len(data):
        buffer.end = min(len(data), buffer.end + step) if step else len(data)
        try:
            if response:
                assert not reader.read_response(head.c, buffer, seen, b"GET")
            else:
                assert not reader.read_request(head.c, buffer, seen)
        except BlitzError as error:
            return error
        seen = buffer.end
    raise AssertionError("it waits for more")


LONG = [
    pytest.param(b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 414, "limits.max_line_size", id="target"),
    pytest.param(b"G" * 20000 + b" / HTTP/1.1\r\n\r\n", 414, "limits.max_line_size", id="method"),
    pytest.param(b"GET /" + b"a" * 90000, 414, "limits.max_line_size", id="no-end-of-line"),
    pytest.param(START + b"A: " + b"b" * 40000 + b"\r\n\r\n", 431, "limits.max_field_size", id="field"),
    pytest.param(START + b"A: " + b"b" * 90000, 431, "limits.max_field_size", id="no-end-of-field"),
    pytest.param(START + b"A" * 40000 + b": b\r\n\r\n", 431, "limits.max_field_size", id="name"),
    pytest.param(START + (b"A: " + b"b" * 20000 + b"\r\n") * 5, 431, "limits.max_head_size", id="head"),
    pytest.param(START + b"A: b\r\n" * 150 + END, 431, "limits.max_fields", id="fields"),
    pytest.param(START + b"A: b\r\n" * 300 + END, 431, "limits.max_fields", id="more-than-a-table"),
]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("step", [0, 1000])
@pytest.mark.parametrize(("data", "status", "key"), LONG)
def test_the_limit_that_was_passed_is_named(
    parser: str, step: int, data: bytes, status: int, key: str
) -> None:
    error = refusal(data, parser, step=step)
    assert error.status_hint == status
    assert {row.values[2] for row in LONG if str(row.values[2]) in str(error)} == {key}
    limit = dict(zip(("head", "line", "field", "fields"), DEFAULTS, strict=True))[key.split("_")[1]]
    assert str(limit) in str(error)
    if b"HTTP" not in data.partition(b"\r\n")[0] or key == "limits.max_line_size":
        return
    answered = refusal(ANSWER + data.partition(b"\r\n")[2], parser, step=step, response=True)
    assert answered.status_hint == 502
    assert key in str(answered)


MOST = st.integers(64, 400)


@settings(deadline=None)
@given(st.data(), MOST, MOST, st.integers(1, 20), st.sampled_from(PARSERS), st.integers(0, 50))
def test_whichever_limit_is_passed(
    data: st.DataObject, line: int, field: int, fields: int, parser: str, step: int
) -> None:
    """A head that passes one limit by a byte or by many, and no other before it."""
    over = data.draw(st.integers(1, 3000))
    kind = data.draw(st.sampled_from(["line", "field", "fields"]))
    head = 4096
    raw = b"GET / HTTP/1.1\r\n"
    if kind == "line":
        raw = b"GET /" + b"a" * (line + over - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    elif kind == "field":
        before = data.draw(st.integers(0, fields - 1))
        raw += b"A: b\r\n" * before + b"A: " + b"b" * (field + over - 3) + b"\r\n\r\n"
    else:
        raw += b"A: b\r\n" * (fields + data.draw(st.integers(1, 200))) + END
    error = refusal(raw, parser, step=step, limits=(head, line, field, fields))
    name = {"line": "line_size", "field": "field_size", "fields": "fields"}[kind]
    assert f"(limits.max_{name})" in str(error)
    assert error.status_hint == (414 if kind == "line" else 431)


WRONG = [
    pytest.param(START + b"A: b\r\n c\r\n" + END, "folded", id="fold"),
    pytest.param(START + b"A: b\r\n\tc\r\n" + END, "folded", id="fold-by-tab"),
    pytest.param(START + b"A: b\nC: d\r\n" + END, "LF without CR", id="bare-lf"),
    pytest.param(START + b"A: b\rC: d\r\n" + END, "CR without LF", id="bare-cr"),
    pytest.param(START + b"A: b\0\r\n" + END, "control byte", id="nul"),
    pytest.param(START + b"A: b\x7f\r\n" + END, "control byte", id="del"),
    pytest.param(b" " + START + END, "first line", id="space-first"),
    pytest.param(START + b"Content-Length: 1\r\nContent-Length: 1\r\n" + END, "content-length", id="lengths"),
    pytest.param(START + b"Content-Length: 1, 1\r\n" + END, "content-length", id="list-of-lengths"),
    pytest.param(START + b"Connection: " + b"a, " * 11 + b"\r\n" + END, "more than 10", id="options"),
    pytest.param(START + b"Connection: a b\r\n" + END, "connection field is malformed", id="option"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS", id="tls"),
]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("data", "words"), WRONG)
def test_the_reason_is_the_true_one(parser: str, step: int, data: bytes, words: str) -> None:
    error = refusal(data, parser, step=step)
    assert (error.status_hint, words in str(error)) == (400, True), error
    if data.startswith(START):
        answer = refusal(ANSWER + data.removeprefix(START), parser, step=step, response=True)
        assert (answer.status_hint, words in str(answer)) == (502, True), answer


@pytest.mark.parametrize("record", [b"\x15\x03\x01\x00\x02\x02\x46", b"\x16\x03\x03\x00\x7a\x02"])
def test_an_upstream_that_speaks_tls_is_told_from_a_bad_one(record: bytes) -> None:
    assert "TLS where plain HTTP" in str(refusal(record, "auto", response=True))
