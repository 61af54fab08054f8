"""Methods with rules of their own (RFC 9110 section 9): HEAD, TRACE, OPTIONS, and Max-Forwards."""

from __future__ import annotations

from ..case import ADVISABLE, Case, Expect, Pause, Script, Seen
from .make import CHUNKED, HOST, Row, answer, chunks, either, get, lines, passed, refused, table

HEAD = {"methods": (b"HEAD",)}


def head(fields: bytes = b"") -> bytes:
    return get(fields, method=b"HEAD")


def not_forwarded(*statuses: int) -> Expect:
    return refused(*statuses, closed=None)


def forwards(value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"max-forwards", value),)


H = Seen(b"HEAD")
HEADS: list[Row] = [
    ("head", head(), passed(H), HEAD),
    ("head_length_of_get_kept", head(), passed(H, has=((b"content-length", b"5000"),)), b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", HEAD),
    ("head_no_length", head(), passed(H), b"HTTP/1.1 200 OK\r\n\r\n", HEAD),
    ("head_chunked_field", head(), passed(H), b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n", HEAD),
    # RFC 9110 section 9.3.2: no content. What an upstream sends all the same never reaches a client.
    ("head_answered_with_body", head(), passed(H, never_down=(b"evil",)), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", HEAD),
    ("head_answered_with_chunks", head(), passed(H, never_down=(b"evil",)), b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + chunks(b"evil"), HEAD),
    ("head_answered_with_response", head(), passed(H, never_down=(b"evil",)), b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", HEAD),
    ("head_answered_with_late_body", head(), passed(H, never_down=(b"evil",)), Script((b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", Pause(0.1), b"evil")), HEAD),
    ("head_then_get_pipelined", head() + get(target=b"/T0KEN/two"), passed(H, Seen(target=b"/T0KEN/two")), {"methods": (b"HEAD", b"GET"), "answers": 2}),
    ("head_404", head(), passed(H, status=404), b"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\n", HEAD),
    ("head_http10", b"HEAD /T0KEN HTTP/1.0\r\n" + HOST + b"\r\n", passed(H, closed=True), HEAD),
    ("head_refused_has_no_body", b"HEAD /T0KEN HTTP/1.1\r\nBad Field: x\r\nHost: gw.test\r\n\r\n", refused(), {"methods": (b"GET",)}),
    ("head_to_bad_upstream_has_no_body", head(), answer(502), b"garbage\r\n\r\n", HEAD),
]  # fmt: skip

OTHERS: list[Row] = [
    ("options_forwarded", get(method=b"OPTIONS"), passed(Seen(b"OPTIONS"))),
    ("delete", get(method=b"DELETE"), passed(Seen(b"DELETE"))),
    ("put_empty", get(b"Content-Length: 0\r\n", method=b"PUT"), passed(Seen(b"PUT"))),
    ("propfind", get(b"Depth: 1\r\n", method=b"PROPFIND"), passed(Seen(b"PROPFIND", has=((b"depth", b"1"),)))),
    ("trace_forwarded_or_refused", get(method=b"TRACE"), either(passed(Seen(b"TRACE")), not_forwarded(400, 403, 405, 501))),
    ("options_max_forwards_zero", get(b"Max-Forwards: 0\r\n", method=b"OPTIONS"), not_forwarded(200, 204, 400, 403, 405, 501)),
    ("trace_max_forwards_zero", get(b"Max-Forwards: 0\r\n", method=b"TRACE"), not_forwarded(200, 400, 403, 405, 501)),
    ("options_max_forwards_decremented", get(b"Max-Forwards: 5\r\n", method=b"OPTIONS"), passed(Seen(b"OPTIONS", has=forwards(b"4")))),
    ("trace_max_forwards_decremented", get(b"Max-Forwards: 5\r\n", method=b"TRACE"), either(passed(Seen(b"TRACE", has=forwards(b"4"))), not_forwarded(400, 403, 405, 501))),
    ("options_max_forwards_one", get(b"Max-Forwards: 1\r\n", method=b"OPTIONS"), passed(Seen(b"OPTIONS", has=forwards(b"0")))),
    ("get_max_forwards_passes", get(b"Max-Forwards: 0\r\n"), passed()),
]  # fmt: skip

SOFT: list[Row] = [
    ("trace_does_not_echo_secrets", get(lines(b"Max-Forwards: 0", b"Authorization: Basic c2VjcmV0", b"Cookie: secret=1"), method=b"TRACE"), answer(200, 400, 403, 405, 501, never_down=(b"c2VjcmV0", b"secret=1"))),
    ("trace_with_body", get(b"Content-Length: 2\r\n", method=b"TRACE", body=b"ab"), either(refused(400, 403, 405, 501), passed(Seen(b"TRACE", body=b"ab")))),
    ("options_max_forwards_invalid", get(b"Max-Forwards: abc\r\n", method=b"OPTIONS"), answer(200, 400)),
    ("options_max_forwards_negative", get(b"Max-Forwards: -1\r\n", method=b"OPTIONS"), answer(200, 400)),
    ("options_max_forwards_huge", get(b"Max-Forwards: 99999999999999999999\r\n", method=b"OPTIONS"), answer(200, 400)),
]  # fmt: skip

CASES: list[Case] = [
    *table("methods", "9110 9.3.2", HEADS),
    *table("methods", "9110 7.6.2", OTHERS),
    *table("methods", "9110 9.3.8", SOFT, level=ADVISABLE),
]
