"""Bodies on their way up: every framing, sizes, splits, and what a cut looks like to the upstream."""

from __future__ import annotations

import random

from ..case import ADVISABLE, Await, Byte, Case, Close, HalfClose, Pause, Reset, Script, Seen
from .make import CHUNKED, HOST, OK, Row, answer, chunks, either, get, passed, post, refused, silent, table

BLOB = random.Random(5).randbytes(1_000_000)


def sized(content: bytes, fields: bytes = b"") -> bytes:
    return post(fields + b"Content-Length: %d\r\n" % len(content), content)


def whole(content: bytes, method: bytes = b"POST") -> Seen:
    return Seen(method, body=content)


CUT = either(refused(400, 408, heads=1), silent(heads=1))
STATUS_OF_EARLY = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

WHOLE: list[Row] = [
    ("cl_one_byte", sized(b"x"), passed(whole(b"x"))),
    ("cl_all_bytes", sized(bytes(range(256)) * 3), passed(whole(bytes(range(256)) * 3))),
    ("cl_megabyte", sized(BLOB), passed(whole(BLOB))),
    ("chunked_megabyte", post(CHUNKED, chunks(*(BLOB[at : at + 9973] for at in range(0, len(BLOB), 9973)))), passed(whole(BLOB))),
    ("cl_byte_by_byte", (Byte(sized(b"hello world")),), passed(whole(b"hello world"))),
    ("cl_head_then_body_later", (sized(b"hello")[:-5], Pause(0.1), b"hel", Pause(0.1), b"lo"), passed(whole(b"hello"))),
    ("cl_head_and_half_of_body", (sized(b"hello")[:-2], Pause(0.1), b"lo"), passed(whole(b"hello"))),
    ("put", get(b"Content-Length: 5\r\n", method=b"PUT", body=b"hello"), passed(whole(b"hello", b"PUT"))),
    ("patch_chunked", get(CHUNKED, method=b"PATCH", body=chunks(b"hello")), passed(whole(b"hello", b"PATCH"))),
    ("body_of_crlf", sized(b"\r\n\r\n"), passed(whole(b"\r\n\r\n"))),
    ("body_of_nul", sized(b"\x00" * 100), passed(whole(b"\x00" * 100))),
    ("crlf_behind_body_then_request", (sized(b"hello") + b"\r\n" + get(target=b"/T0KEN/two"),),
     passed(whole(b"hello"), Seen(target=b"/T0KEN/two")), {"methods": (b"POST", b"GET"), "answers": 2}),
    ("http10_cl", b"POST /T0KEN HTTP/1.0\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", passed(whole(b"hello"), closed=True)),
    ("content_type_passes", sized(b"{}", b"Content-Type: application/json; charset=utf-8\r\n"),
     passed(Seen(b"POST", body=b"{}", has=((b"content-type", b"application/json; charset=utf-8"),)))),
    ("content_encoding_passes", sized(b"\x1f\x8b\x00", b"Content-Encoding: gzip\r\n"),
     passed(Seen(b"POST", body=b"\x1f\x8b\x00", has=((b"content-encoding", b"gzip"),)))),
]  # fmt: skip

HALVES: list[Row] = [
    # RFC 9112 section 9.6: a client may close its sending side and still wants the answer.
    ("half_close_after_get", (get(), HalfClose()), passed(closed=True)),
    ("half_close_after_get_close", (get(b"Connection: close\r\n"), HalfClose()), passed(closed=True)),
    ("half_close_after_post", (sized(b"hello"), HalfClose()), passed(whole(b"hello"), closed=True)),
    ("half_close_after_chunked", (post(CHUNKED, chunks(b"hello")), HalfClose()), passed(whole(b"hello"), closed=True)),
    ("half_close_while_upstream_thinks", (get(), Pause(0.05), HalfClose()), passed(closed=True), Script((Pause(0.3), OK))),
    ("half_close_http10", (b"GET /T0KEN HTTP/1.0\r\n" + HOST + b"\r\n", HalfClose()), passed(closed=True)),
    ("half_close_in_head", (get()[:30], Pause(0.05), HalfClose()), either(refused(400, 408), silent())),
    ("half_close_before_head", (HalfClose(),), either(silent(), refused(400, 408))),
    ("half_close_in_request_line", (b"GET /T0K", HalfClose()), either(refused(400, 408), silent())),
    ("half_close_in_last_crlf", (get()[:-1], HalfClose()), either(refused(400, 408), silent())),
    ("half_close_in_cl_body", (sized(b"hello")[:-2], Pause(0.05), HalfClose()), CUT),
    ("half_close_before_cl_body", (sized(b"hello")[:-5], Pause(0.05), HalfClose()), CUT),
]  # fmt: skip

ABORTS: list[Row] = [
    ("reset_in_cl_body", (sized(b"hello")[:-2], Pause(0.1), Reset())),
    ("reset_in_chunked_body", (post(CHUNKED, b"5\r\nhel"), Pause(0.1), Reset())),
    ("close_in_cl_body", (sized(b"hello")[:-2], Pause(0.1), Close())),
    ("close_in_chunked_body", (post(CHUNKED, b"5\r\nhello\r\n"), Pause(0.1), Close())),
    ("reset_in_head", (get()[:20], Pause(0.1), Reset())),
    ("close_at_once", (Close(),)),
    ("reset_at_once", (Reset(),)),
]  # fmt: skip
GONE = silent(heads=1)
ABORTED = refused(400, 408, heads=1, closed=None)

EARLY = [
    # The upstream answers before it has read the body. The answer arrives, and what is left of the body is
    # either read and thrown away or the connection ends; it never becomes a request.
    ("early_answer_then_close", (sized(b"x" * 600_000),), Script((STATUS_OF_EARLY, Close()), on="head")),
    ("early_answer_small_body_later", (sized(b"hello")[:-5], Await(), b"hello"), Script((STATUS_OF_EARLY, Pause(0.05), Close()), on="head")),
    ("early_answer_chunked", (post(CHUNKED, b"5\r\nhello\r\n"), Await(), b"0\r\n\r\n"), Script((STATUS_OF_EARLY, Pause(0.05), Close()), on="head")),
]  # fmt: skip

CASES: list[Case] = [
    *table("bodies", "9112 6", WHOLE, wait=6.0),
    *table("bodies", "9112 9.6", HALVES, follow=False),
    *table("bodies", "9112 8", [(*row, either(GONE, ABORTED)) for row in ABORTS], follow=False, answers=0),
    *table(
        "bodies",
        "9112 9.5",
        [(name, steps, answer(413), script) for name, steps, script in EARLY],
        methods=(b"POST",),
        wait=6.0,
    ),
    *table(
        "bodies",
        "9110 9.3.1",
        [("get_with_chunked_empty_body", get(CHUNKED, body=b"0\r\n\r\n"), passed())],
        level=ADVISABLE,
    ),
]
