"""How an answer's body ends (RFC 9112 sections 6.3 and 8): every framing, every lie about it.

A body that was cut short must look cut short to the client: an unfinished chunked body, or fewer bytes
than Content-Length says, and then the end of the connection. If nothing was sent yet it is a 502.
"""

from __future__ import annotations

import random

from ..case import ADVISABLE, Byte, Case, Close, Expect, HalfClose, Observation, Pause, Reset, Script, Seen
from .make import CHUNKED, HOST, OK, Row, answer, chunks, either, get, passed, post, table

START = b"HTTP/1.1 200 OK\r\n"
BLOB = random.Random(7).randbytes(700_000)
AB = passed(body=b"ab")
BAD = answer(502, 500, never_down=(b"evil",))
LAST = b"0\r\n\r\n"


def length(value: bytes, body: bytes = b"ab") -> bytes:
    return START + b"Content-Length: " + value + b"\r\n\r\n" + body


def chunked(body: bytes, fields: bytes = b"") -> bytes:
    return START + fields + CHUNKED + b"\r\n" + body


# 502 when it was noticed before the head went out, else an answer that ends visibly early.
CUT = either(answer(502), Expect(seen=None, truncated=True, closed=True))

GOOD: list[Row] = [
    ("cl", get(), AB, length(b"2")),
    ("cl_zero", get(), passed(body=b""), length(b"0", b"")),
    ("cl_large", get(), passed(body=BLOB), length(b"700000", BLOB)),
    ("cl_byte_by_byte", get(), passed(body=b"hello"), Script((Byte(length(b"5", b"hello")),))),
    ("cl_pause_in_body", get(), passed(body=b"hello"), Script((length(b"5", b"he"), Pause(0.15), b"llo"))),
    ("cl_body_is_a_response", get(), passed(body=OK), length(b"%d" % len(OK), OK)),
    ("chunked", get(), AB, chunked(chunks(b"ab"))),
    ("chunked_empty", get(), passed(body=b""), chunked(LAST)),
    ("chunked_large", get(), passed(body=BLOB), chunked(chunks(*(BLOB[at : at + 7919] for at in range(0, len(BLOB), 7919))))),
    ("chunked_byte_by_byte", get(), passed(body=b"hello"), Script((Byte(chunked(b"5;a=b\r\nhello\r\n0\r\nX-T: u\r\n\r\n")),))),
    ("chunked_extension_not_passed", get(), passed(body=b"ab", never_down=(b"ext-name",)), chunked(b"2;ext-name=1\r\nab\r\n" + LAST)),
    ("chunked_trailer", get(), AB, chunked(b"2\r\nab\r\n0\r\nX-T: u\r\n\r\n")),
    ("chunked_trailer_content_length", get(), AB, chunked(b"2\r\nab\r\n0\r\nContent-Length: 9\r\n\r\n")),
    ("chunked_value_case", get(), AB, START + b"transfer-encoding: CHUNKED\r\n\r\n" + chunks(b"ab")),
    ("chunked_connection_close", get(), AB, Script((chunked(chunks(b"ab"), b"Connection: close\r\n"), Close()))),
    ("close_delimited", get(), passed(body=b"ab"), Script((START + b"\r\nab", Close()))),
    ("close_delimited_empty", get(), passed(body=b""), Script((START + b"\r\n", Close()))),
    ("close_delimited_large", get(), passed(body=BLOB), Script((START + b"Connection: close\r\n\r\n" + BLOB, Close()))),
    ("close_delimited_10", get(), passed(body=b"ab"), Script((b"HTTP/1.0 200 OK\r\n\r\nab", Close()))),
    ("close_delimited_half_close", get(), passed(body=b"ab"), Script((START + b"\r\nab", HalfClose(), Pause(0.3)))),
    ("close_delimited_to_10_client", b"GET /T0KEN HTTP/1.0\r\n" + HOST + b"\r\n", passed(body=b"ab", closed=True), Script((START + b"\r\nab", Close()))),
    ("close_delimited_to_10_keep_alive", b"GET /T0KEN HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n", passed(body=b"ab", closed=None), Script((START + b"\r\nab", Close()))),
    ("status_204", get(), passed(status=204), b"HTTP/1.1 204 None\r\n\r\n"),
    ("status_304", get(), passed(status=304), b'HTTP/1.1 304 Same\r\nETag: "a"\r\n\r\n'),
    ("status_304_with_length", get(), passed(status=304), b"HTTP/1.1 304 Same\r\nContent-Length: 5000\r\n\r\n"),
    ("status_205_empty", get(), passed(status=205, body=b""), b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n"),
]  # fmt: skip

# A length nobody can trust: 502 (RFC 9112 section 6.3).
BAD_LENGTHS = [
    ("cl_twice_different", b"2\r\nContent-Length: 4"),
    ("cl_list_different", b"2, 4"),
    ("cl_empty", b""),
    ("cl_word", b"two"),
    ("cl_plus", b"+2"),
    ("cl_minus", b"-2"),
    ("cl_hex", b"0x2"),
    ("cl_decimal", b"2.0"),
    ("cl_underscore", b"0_2"),
    ("cl_space_inside", b"2 4"),
    ("cl_vtab", b"\x0b2"),
    ("cl_nul", b"2\x00"),
    ("cl_over_64_bits", b"18446744073709551618"),
    ("cl_hundred_digits", b"2" * 100),
    ("cl_semicolon", b"2;"),
]  # fmt: skip

BOTH = either(
    BAD,
    passed(body=b"ab", closed=None, lacks=(b"content-length",)),
    Expect(seen=None, truncated=True, closed=True),
)
CODINGS: list[Row] = [
    ("cl_twice_same", get(), either(BAD, AB), length(b"2\r\nContent-Length: 2")),
    ("cl_list_same", get(), either(BAD, AB), length(b"2, 2")),
    ("cl_and_chunked", get(), BOTH, chunked(chunks(b"ab"), b"Content-Length: 4\r\n")),
    ("chunked_and_cl", get(), BOTH, START + CHUNKED + b"Content-Length: 4\r\n\r\n" + chunks(b"ab")),
    ("cl_and_chunked_large", get(), BOTH, chunked(chunks(b"ab"), b"Content-Length: 5000\r\n")),
    ("cl_and_chunked_smuggles", get(), BOTH, chunked(LAST + OK, b"Content-Length: %d\r\n" % (5 + len(OK))), {"level": ADVISABLE}),
    ("te_unknown", get(), BAD, START + b"Transfer-Encoding: cow\r\n\r\nevil"),
    ("te_gzip", get(), BAD, START + b"Transfer-Encoding: gzip\r\n\r\nevil"),
    ("te_gzip_chunked", get(), BAD, START + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks(b"evil")),
    ("te_chunked_gzip", get(), BAD, START + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + chunks(b"evil")),
    ("te_chunked_twice", get(), BAD, START + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunks(b"evil")),
    ("te_lines_twice", get(), BAD, START + CHUNKED + CHUNKED + b"\r\n" + chunks(b"evil")),
    ("te_lines_identity", get(), BAD, START + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + chunks(b"evil")),
    ("te_vtab", get(), BAD, START + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + chunks(b"evil")),
    ("te_parameter", get(), BAD, START + b"Transfer-Encoding: chunked;x=y\r\n\r\n" + chunks(b"evil")),
    ("te_empty", get(), BAD, START + b"Transfer-Encoding: \r\n\r\nevil"),
    ("head_both_framings", get(method=b"HEAD"), either(answer(502), passed(Seen(b"HEAD"), closed=None)), START + CHUNKED + b"Content-Length: 4\r\n\r\n", {"methods": (b"HEAD",)}),
    ("head_two_lengths", get(method=b"HEAD"), answer(502), START + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n", {"methods": (b"HEAD",)}),
    ("te_and_304", get(), either(answer(502), passed(status=304, closed=None)), b"HTTP/1.1 304 Same\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("cl_bad_in_304", get(), answer(502), b"HTTP/1.1 304 Same\r\nContent-Length: x\r\n\r\n"),
    ("te_close_delimited_identity", get(), BAD, Script((START + b"Transfer-Encoding: identity\r\n\r\nevil", Close()))),
    ("te_upper_with_tab", get(), either(BAD, AB), START + b"Transfer-Encoding:\tChunked\t\r\n\r\n" + chunks(b"ab")),
    ("te_in_10", get(), either(BAD, passed(body=b"ab", closed=None), CUT), Script((b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n" + chunks(b"ab"), Close()))),
]  # fmt: skip

CUTS: list[Row] = [
    ("cut_cl_nothing", get(), CUT, Script((length(b"5", b""), Close()))),
    ("cut_cl_short", get(), CUT, Script((length(b"5", b"he"), Close()))),
    ("cut_cl_short_late", get(), CUT, Script((length(b"5", b"he"), Pause(0.1), Close()))),
    ("cut_cl_reset", get(), CUT, Script((length(b"5", b"he"), Pause(0.1), Reset()))),
    ("cut_cl_large", get(), CUT, Script((length(b"900000", BLOB), Close()))),
    ("cut_cl_half_close", get(), CUT, Script((length(b"5", b"he"), HalfClose(), Pause(0.3)))),
    ("cut_chunked_nothing", get(), CUT, Script((chunked(b""), Close()))),
    ("cut_chunked_in_size", get(), CUT, Script((chunked(b"2\r\nab\r\n5"), Close()))),
    ("cut_chunked_in_data", get(), CUT, Script((chunked(b"5\r\nhe"), Close()))),
    ("cut_chunked_after_data", get(), CUT, Script((chunked(b"2\r\nab"), Close()))),
    ("cut_chunked_between", get(), CUT, Script((chunked(b"2\r\nab\r\n"), Close()))),
    ("cut_chunked_between_late", get(), CUT, Script((chunked(b"2\r\nab\r\n"), Pause(0.1), Close()))),
    ("cut_chunked_after_zero", get(), CUT, Script((chunked(b"2\r\nab\r\n0\r\n"), Close()))),
    ("cut_chunked_in_trailer", get(), CUT, Script((chunked(b"2\r\nab\r\n0\r\nX-T: u\r\n"), Close()))),
    ("cut_chunked_reset", get(), CUT, Script((chunked(b"2\r\nab\r\n"), Pause(0.1), Reset()))),
    ("cut_close_delimited_reset", get(), CUT, Script((START + b"\r\nab", Pause(0.1), Reset()))),
    ("cut_cl_to_10_client", b"GET /T0KEN HTTP/1.0\r\n" + HOST + b"\r\n", CUT, Script((length(b"5", b"he"), Pause(0.1), Close()))),
    ("cut_first_of_two_pipelined", get() + get(target=b"/T0KEN/two"), either(
        Expect(seen=None, truncated=True, closed=True),
        Expect(statuses=(frozenset({502}), frozenset({200})), seen=None),
        Expect(statuses=(frozenset({502}),), seen=None, closed=True)),
     Script((length(b"5", b"he"), Pause(0.1), Close())), {"methods": (b"GET", b"GET"), "answers": 2}),
]  # fmt: skip


def visibly(seen: Observation) -> list[str]:
    """Cut, or refused; never a clean end."""
    last = seen.final[-1] if seen.final else None
    return (
        []
        if last is not None and (last.status == 502 or not last.complete)
        else ["a broken body looks complete"]
    )


BROKEN = Expect(
    statuses=(frozenset({200, 502}),),
    seen=None,
    closed=True,
    truncated=None,
    check=visibly,
    never_down=(b"evil",),
)
BROKEN_502 = answer(502)
BAD_CHUNKS = [
    ("chunk_size_word", b"zz\r\nevil\r\n"),
    ("chunk_size_0x", b"0x4\r\nevil\r\n"),
    ("chunk_size_minus", b"-4\r\nevil\r\n"),
    ("chunk_size_plus", b"+4\r\nevil\r\n"),
    ("chunk_size_empty", b"\r\nevil\r\n"),
    ("chunk_size_overflow", b"10000000000000004\r\nevil\r\n"),
    ("chunk_size_underscore", b"0_4\r\nevil\r\n"),
    ("chunk_size_space_before", b" 4\r\nevil\r\n"),
    ("chunk_size_nul", b"4\x00\r\nevil\r\n"),
    ("chunk_cr_after_size", b"4\revil\r\n"),
    ("chunk_ext_cr", b"4;a\rb\r\nevil\r\n"),
]  # fmt: skip
# Here the data came before the mistake: it may have gone out already.
LATE_CHUNKS = [
    ("chunk_data_too_long", b"2\r\nabX\r\n"),
    ("chunk_no_crlf_after_data", b"2\r\nab0\r\n\r\n"),
    ("chunk_cr_after_data", b"2\r\nab\r0\r\n\r\n"),
    ("chunk_extra_crlf", b"2\r\nab\r\n\r\n"),
    ("chunk_trailer_no_colon", b"2\r\nab\r\n0\r\nX-T\r\n\r\n"),
    ("chunk_trailer_nul", b"2\r\nab\r\n0\r\nX-T: \x00\r\n\r\n"),
    ("chunk_trailer_is_a_response", b"2\r\nab\r\n0\r\n" + OK),
]  # fmt: skip
LF_CHUNKS = [
    ("chunk_lf_after_size", b"2\nab\r\n"),
    ("chunk_lf_after_data", b"2\r\nab\n"),
    ("chunk_ext_lf", b"2;a\nb\r\n"),
    ("chunk_lf_last", b"2\r\nab\r\n0\n\r\n"),
]  # fmt: skip
LATE = Expect(statuses=(frozenset({200, 502}),), seen=None, closed=None, truncated=None, check=visibly)

ENDLESS = either(answer(502), Expect(seen=None, truncated=True, closed=True))
# What costs memory or time and brings no data ends, as it does from a client.
BOUNDS: list[Row] = [
    ("bound_ext_200k", get(), ENDLESS, chunked(b"2;" + b"a" * 200_000 + b"\r\nab\r\n" + LAST)),
    ("bound_zeros", get(), ENDLESS, chunked(b"0" * 100_000 + b"2\r\nab\r\n" + LAST)),
    ("bound_ext_in_sum", get(), ENDLESS, chunked((b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 500 + LAST)),
    ("bound_trailer_100k", get(), ENDLESS, chunked(b"2\r\nab\r\n0\r\nX-T: " + b"u" * 100_000 + b"\r\n\r\n")),
    ("bound_trailers_5000", get(), ENDLESS, chunked(b"2\r\nab\r\n0\r\n" + b"X-T: u\r\n" * 5000 + b"\r\n")),
]  # fmt: skip

# More than was announced: what is left over is never part of any answer, and the connection is not used again.
EXTRA = passed(body=b"ab", closed=None, never_down=(b"evil",))
MORE: list[Row] = [
    ("extra_after_cl", get(), EXTRA, length(b"2", b"abevil")),
    ("extra_response_after_cl", get(), EXTRA, length(b"2", b"ab" + START + b"Content-Length: 4\r\n\r\nevil")),
    ("extra_after_chunked", get(), EXTRA, chunked(chunks(b"ab") + b"evil")),
    ("extra_response_after_chunked", get(), EXTRA, chunked(chunks(b"ab") + START + b"Content-Length: 4\r\n\r\nevil")),
    ("extra_after_zero_length", get(), passed(body=b"", closed=None, never_down=(b"evil",)), length(b"0", b"evil")),
    ("extra_late", get(), EXTRA, Script((length(b"2"), Pause(0.05), START + b"Content-Length: 4\r\n\r\nevil"))),
    ("extra_crlf_after_cl", get(), passed(body=b"ab", closed=None), length(b"2", b"ab\r\n")),
    ("extra_after_204", get(), passed(status=204, closed=None, never_down=(b"evil",)), b"HTTP/1.1 204 None\r\n\r\nevil"),
    ("extra_response_after_204", get(), passed(status=204, closed=None, never_down=(b"evil",)), b"HTTP/1.1 204 None\r\n\r\n" + START + b"Content-Length: 4\r\n\r\nevil"),
    ("extra_length_in_204", get(), either(answer(502), passed(status=204, closed=None, lacks=(b"content-length",), never_down=(b"evil",))), b"HTTP/1.1 204 None\r\nContent-Length: 4\r\n\r\nevil"),
    ("extra_chunked_in_204", get(), either(answer(502), passed(status=204, closed=None, lacks=(b"transfer-encoding",), never_down=(b"evil",))), b"HTTP/1.1 204 None\r\n" + CHUNKED + b"\r\n" + chunks(b"evil")),
    ("extra_after_304", get(), passed(status=304, closed=None, never_down=(b"evil",)), b"HTTP/1.1 304 Same\r\n\r\nevil"),
    ("extra_length_in_304", get(), passed(status=304, closed=None, never_down=(b"evil",)), b"HTTP/1.1 304 Same\r\nContent-Length: 4\r\n\r\nevil"),
    ("extra_chunked_in_304", get(), passed(status=304, closed=None, never_down=(b"evil",)), b"HTTP/1.1 304 Same\r\n" + CHUNKED + b"\r\n" + chunks(b"evil")),
    ("extra_zero_length_in_204", get(), either(answer(502), passed(status=204, closed=None, lacks=(b"content-length",))), b"HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n"),
]  # fmt: skip

CASES: list[Case] = [
    *table("answer", "9112 6.3", GOOD, wait=6.0),
    *table("answer", "9112 6.3", [(f"bad_{name}", get(), BAD, length(value)) for name, value in BAD_LENGTHS]),
    *table("answer", "9112 6.3", CODINGS),
    *table("answer", "9112 8", CUTS, wait=6.0),
    *table(
        "answer",
        "9112 7.1",
        [
            (name, get(), either(BROKEN_502, BROKEN), Script((chunked(text + LAST),)))
            for name, text in BAD_CHUNKS
        ],
    ),
    *table(
        "answer",
        "9112 7.1",
        [(name, get(), LATE, Script((chunked(text + LAST),))) for name, text in LATE_CHUNKS],
    ),
    *table(
        "answer",
        "9112 7.1",
        [
            (name, get(), either(LATE, passed(closed=None)), Script((chunked(text + LAST),)))
            for name, text in LF_CHUNKS
        ],
    ),
    *table("answer", "9112 7.1.1", BOUNDS, wait=6.0),
    *table("answer", "9112 6.3, 9.2", MORE),
    *table(
        "answer",
        "9112 7.1.2",
        [
            (
                "chunked_trailer_passes",
                get(b"TE: trailers\r\nConnection: TE\r\n"),
                passed(
                    body=b"ab",
                    check=lambda seen: (
                        [] if seen.final[-1].trailers == [(b"X-T", b"u")] else ["trailer lost"]
                    ),
                ),
                chunked(b"2\r\nab\r\n0\r\nX-T: u\r\n\r\n", b"Trailer: X-T\r\n"),
            ),
            (
                "status_205_with_body",
                get(),
                either(answer(502), passed(status=205, closed=None)),
                b"HTTP/1.1 205 Reset\r\nContent-Length: 2\r\n\r\nab",
            ),
            (
                "put_answer_passes",
                post(b"Content-Length: 2\r\n", b"ab"),
                passed(Seen(b"POST", body=b"ab"), status=201),
                b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
        level=ADVISABLE,
    ),
]
