"""The chunked coding in requests (RFC 9112 section 7.1): what is decoded, what is refused.

The upstream must never see a *complete* request made from a broken body. Its head may be there already:
a gateway that streams has sent it before the error arrived. Names such as TERM.EXT are those of the
published work on ambiguous chunk lines.
"""

from __future__ import annotations

from ..case import ADVISABLE, STRICT, Byte, Case, Expect, HalfClose, Pause, Seen
from .make import CHUNKED, EVIL, Row, chunks, either, get, passed, post, refused, silent, table


def body(text: bytes, fields: bytes = b"") -> bytes:
    return post(CHUNKED + fields, text)


def whole(content: bytes) -> Seen:
    return Seen(b"POST", body=content)


HELLO = passed(whole(b"hello"))
# 400 and close; if an answer had begun, only the close. Never a complete request upstream.
BAD = either(refused(400, heads=1), silent(heads=1))
LAST = b"0\r\n\r\n"

GOOD: list[Row] = [
    ("one", body(b"5\r\nhello\r\n" + LAST), HELLO),
    ("many", body(chunks(*(b"%d" % n for n in range(50)))), passed(whole(b"".join(b"%d" % n for n in range(50))))),
    ("empty", body(LAST), passed(whole(b""))),
    ("hex_lower", body(b"a\r\n0123456789\r\n" + LAST), passed(whole(b"0123456789"))),
    ("hex_upper", body(b"A\r\n0123456789\r\n" + LAST), passed(whole(b"0123456789"))),
    ("leading_zeros", body(b"0005\r\nhello\r\n" + LAST), HELLO),
    ("many_zeros_at_end", body(b"5\r\nhello\r\n000\r\n\r\n"), HELLO),
    ("crlf_in_data", body(b"9\r\na\r\n0\r\n\r\nb\r\n" + LAST), passed(whole(b"a\r\n0\r\n\r\nb"))),
    ("data_looks_like_the_end", body(b"5\r\n" + LAST + b"\r\n" + LAST), passed(whole(LAST))),
    ("byte_by_byte", (Byte(body(b"5;a=b\r\nhello\r\n5\r\nworld\r\n" + LAST)),), passed(whole(b"helloworld"))),
    ("split_in_crlf", (body(b"5\r"), Pause(0.02), b"\nhel", Pause(0.02), b"lo\r", Pause(0.02), b"\n0\r\n\r", Pause(0.02), b"\n"), HELLO),
    ("all_bytes", body(chunks(bytes(range(256)))), passed(whole(bytes(range(256))))),
    ("large_chunk", body(chunks(b"x" * 300_000)), passed(whole(b"x" * 300_000))),
    ("many_small_chunks", body(chunks(*[b"x"] * 3000)), passed(whole(b"x" * 3000))),
    ("then_pipelined_request", body(b"5\r\nhello\r\n" + LAST) + get(target=b"/T0KEN/two"),
     passed(whole(b"hello"), Seen(target=b"/T0KEN/two")), {"methods": (b"POST", b"GET"), "answers": 2}),
]  # fmt: skip

EXTENSIONS: list[Row] = [
    ("ext_name", body(b"5;a\r\nhello\r\n" + LAST), HELLO),
    ("ext_value", body(b"5;a=b\r\nhello\r\n" + LAST), HELLO),
    ("ext_several", body(b"5;a=b;c;d=e\r\nhello\r\n0;f\r\n\r\n"), HELLO),
    ("ext_quoted", body(b'5;a="b c"\r\nhello\r\n' + LAST), either(HELLO, BAD)),
    ("ext_quoted_semicolon", body(b'5;a="b;c\\"d"\r\nhello\r\n' + LAST), either(HELLO, BAD)),
    ("ext_spaces", body(b"5 ; a = b\r\nhello\r\n" + LAST), either(HELLO, BAD)),
    ("ext_tab", body(b"5\t;\ta\r\nhello\r\n" + LAST), either(HELLO, BAD)),
    ("ext_not_forwarded", body(b"5;name-of-ext=value-of-ext\r\nhello\r\n" + LAST), passed(whole(b"hello"), never_up=(b"name-of-ext",))),
]  # fmt: skip

BAD_SIZES = [
    ("size_empty", b"\r\nhello\r\n"),
    ("size_space_before", b" 5\r\nhello\r\n"),
    ("size_tab_before", b"\t5\r\nhello\r\n"),
    ("size_plus", b"+5\r\nhello\r\n"),
    ("size_minus", b"-5\r\nhello\r\n"),
    ("size_minus_zero", b"-0\r\n\r\n"),
    ("size_0x", b"0x5\r\nhello\r\n"),
    ("size_0X", b"0X5\r\nhello\r\n"),
    ("size_h", b"5h\r\nhello\r\n"),
    ("size_underscore", b"0_5\r\nhello\r\n"),
    ("size_not_hex", b"g\r\nhello\r\n"),
    ("size_word", b"five\r\nhello\r\n"),
    ("size_dot", b"5.0\r\nhello\r\n"),
    ("size_comma", b"5,5\r\nhello\r\n"),
    ("size_two_numbers", b"5 5\r\nhello\r\n"),
    ("size_quoted", b'"5"\r\nhello\r\n'),
    ("size_nul_before", b"\x005\r\nhello\r\n"),
    ("size_nul_after", b"5\x00\r\nhello\r\n"),
    ("size_vtab_after", b"5\x0b\r\nhello\r\n"),
    ("size_formfeed_before", b"\x0c5\r\nhello\r\n"),
    ("size_nbsp_after", b"5\xa0\r\nhello\r\n"),
    ("size_high_digit", b"\xef\xbc\x95\r\nhello\r\n"),
    ("size_over_64_bits", b"10000000000000005\r\nhello\r\n"),
    ("size_all_f", b"ffffffffffffffff\r\nhello\r\n"),
    ("size_over_63_bits", b"8000000000000005\r\nhello\r\n"),
    ("size_hundred_digits", b"f" * 100 + b"\r\nhello\r\n"),
    ("size_wraps_in_32_bits", b"f" * 20 + b"5\r\nhello\r\n"),
]  # fmt: skip

# Line ends. RFC 9112 section 2.2 speaks of a bare LF after start line and fields only; in chunk lines nothing
# but CRLF is allowed (erratum 7633).
ENDS = [
    ("lf_after_size", b"5\nhello\r\n" + LAST),
    ("cr_after_size", b"5\rhello\r\n" + LAST),
    ("cr_x_after_size", b"5\rXhello\r\n" + LAST),
    ("cr_cr_lf_after_size", b"5\r\r\nhello\r\n" + LAST),
    ("lf_cr_after_size", b"5\n\rhello\r\n" + LAST),
    ("lf_after_data", b"5\r\nhello\n" + LAST),
    ("cr_after_data", b"5\r\nhello\r" + LAST),
    ("cr_x_after_data", b"5\r\nhello\rX" + LAST),
    ("cr_cr_after_data", b"5\r\nhello\r\r" + LAST),
    ("cr_cr_lf_after_data", b"5\r\nhello\r\r\n" + LAST),
    ("lf_lf_after_data", b"5\r\nhello\n\n" + LAST),
    ("lf_cr_after_data", b"5\r\nhello\n\r" + LAST),
    ("nothing_after_data", b"5\r\nhello" + LAST),
    ("two_letters_after_data", b"5\r\nhelloXX" + LAST),
    ("spaces_after_data", b"5\r\nhello  \r\n" + LAST),
    ("nul_after_data", b"5\r\nhello\x00\r\n" + LAST),
    ("extra_crlf_after_data", b"5\r\nhello\r\n\r\n" + LAST),
    ("data_longer_than_size", b"5\r\nhello, world\r\n" + LAST),
    ("data_shorter_than_size", b"a\r\nhello\r\n" + LAST + EVIL),
    ("extra_crlf_before_first", b"\r\n5\r\nhello\r\n" + LAST),
    ("lf_after_last_size", b"5\r\nhello\r\n0\n\r\n"),
    ("cr_after_last_size", b"5\r\nhello\r\n0\r\r\n"),
    ("lf_at_very_end", b"5\r\nhello\r\n0\r\n\n" + EVIL),
    ("lf_lf_at_very_end", b"5\r\nhello\r\n0\n\n" + EVIL),
    ("cr_at_very_end", b"5\r\nhello\r\n0\r\n\rX" + EVIL),
    ("last_0x0", b"5\r\nhello\r\n0x0\r\n\r\n"),
    ("last_minus_zero", b"5\r\nhello\r\n-0\r\n\r\n"),
]  # fmt: skip

# Extensions that hide a line end.
FUNKY = [
    ("ext_lf_term_ext", b"5;\nhello\r\n" + LAST),  # TERM.EXT
    ("ext_lf_in_name", b"5;a\nb\r\nhello\r\n" + LAST),  # EXT.TERM
    ("ext_lf_hides_chunk", b"2;\nxx\r\n31\r\n0\r\n\r\n" + EVIL + LAST),
    ("ext_cr_in_name", b"5;a\rb\r\nhello\r\n" + LAST),
    ("ext_cr_hides_chunk", b"2;\rxx\r\n31\r\n0\r\n\r\n" + EVIL + LAST),
    ("ext_lf_in_quotes", b'5;a="\n"\r\nhello\r\n' + LAST),
    ("ext_nul", b"5;a\x00b\r\nhello\r\n" + LAST),
    ("ext_control", b"5;a\x01\r\nhello\r\n" + LAST),
    ("ext_del", b"5;a\x7f\r\nhello\r\n" + LAST),
    ("spill_term", b"5\r\nhelloX\r\n" + LAST),  # SPILL.TERM
    ("one_two_lf", b"5\r\nhello\n" + b"2\r\nab\r\n" + LAST),  # ONE.TWO
    ("two_one_cr", b"5\r\nhello\rA\r\n" + LAST),  # TWO.ONE
    ("zero_two", b"5\r\nhello" + b"5\r\nworld\r\n" + LAST),  # ZERO.TWO
    ("lf_size_ends_body", b"0\n\r\n" + EVIL),
    ("ext_last_lf", b"5\r\nhello\r\n0;\n\r\n" + EVIL),
]  # fmt: skip

TRAILED = b"5\r\nhello\r\n0\r\n"
TRAILERS: list[Row] = [
    ("trailer", body(TRAILED + b"X-T: u\r\n\r\n"), HELLO),
    ("trailer_two", body(TRAILED + b"X-T: u\r\nX-U: v\r\n\r\n"), HELLO),
    ("trailer_announced", body(TRAILED + b"X-T: u\r\n\r\n", b"Trailer: X-T\r\n"), HELLO),
    # Fields for framing, routing or authentication must not come from a trailer section (RFC 9110 section 6.5.1).
    ("trailer_content_length", body(TRAILED + b"Content-Length: 99\r\n\r\n"), either(passed(Seen(b"POST", body=b"hello", trailers=())), BAD)),
    ("trailer_transfer_encoding", body(TRAILED + b"Transfer-Encoding: chunked\r\n\r\n"), either(passed(Seen(b"POST", body=b"hello", trailers=())), BAD)),
    ("trailer_host", body(TRAILED + b"Host: other.test\r\n\r\n"), either(passed(Seen(b"POST", body=b"hello", trailers=(), hosts=(b"gw.test",))), BAD)),
    ("trailer_connection", body(TRAILED + b"Connection: close, x-a\r\n\r\n"), either(passed(Seen(b"POST", body=b"hello", trailers=()), closed=None), BAD)),
    ("trailer_authorization", body(TRAILED + b"Authorization: Basic eDp5\r\n\r\n"), either(passed(Seen(b"POST", body=b"hello", lacks=(b"authorization",))), BAD)),
    ("trailer_then_request", body(TRAILED + b"X-T: u\r\n\r\n") + get(target=b"/T0KEN/two"),
     passed(whole(b"hello"), Seen(target=b"/T0KEN/two")), {"methods": (b"POST", b"GET"), "answers": 2}),
]  # fmt: skip

BAD_TRAILERS = [
    ("trailer_no_colon", b"X-T u\r\n\r\n"),
    ("trailer_space_before_colon", b"X-T : u\r\n\r\n"),
    ("trailer_empty_name", b": u\r\n\r\n"),
    ("trailer_folded", b"X-T: u\r\n v\r\n\r\n"),
    ("trailer_space_first", b" X-T: u\r\n\r\n"),
    ("trailer_nul", b"X-T: u\x00\r\n\r\n"),
    ("trailer_bare_cr", b"X-T: u\rX-U: v\r\n\r\n"),
    ("trailer_bare_lf", b"X-T: u\nX-U: v\r\n\r\n"),
    ("trailer_lf_lf", b"X-T: u\n\n" + EVIL),
    ("trailer_cr_cr_lf", b"X-T: u\r\r\n\r\n"),
    ("trailer_control", b"X-T: u\x01\r\n\r\n"),
    ("trailer_name_bracket", b"X[T]: u\r\n\r\n"),
    ("trailer_is_a_request", EVIL),
]  # fmt: skip

BOUNDS: list[Row] = [
    ("bound_ext_8k", body(b"5;" + b"a" * 8192 + b"\r\nhello\r\n" + LAST), BAD),
    ("bound_ext_200k", body(b"5;" + b"a" * 200_000 + b"\r\nhello\r\n" + LAST), BAD),
    ("bound_ext_endless", (body(b"5;" + b"a" * 500_000), HalfClose()), BAD, {"follow": False}),
    ("bound_zeros", body(b"0" * 100_000 + b"5\r\nhello\r\n" + LAST), BAD),
    ("bound_trailer_100k", body(TRAILED + b"X-T: " + b"u" * 100_000 + b"\r\n\r\n"), either(refused(400, 413, 431, heads=1), silent(heads=1))),
    ("bound_trailers_5000", body(TRAILED + b"X-T: u\r\n" * 5000 + b"\r\n"), either(refused(400, 413, 431, heads=1), silent(heads=1))),
]  # fmt: skip

# The CRLF ends the line whatever the quotes say: a broken extension, and then perhaps a broken second request.
QUOTED_END = Expect(statuses=(frozenset({200}), frozenset({400})), seen=(whole(b"hello"),), closed=True)

CUT = either(refused(400, 408, heads=1), silent(heads=1))
CUT_ROWS: list[Row] = [
    ("cut_before_first_chunk", (body(b""), Pause(0.05), HalfClose()), CUT),
    ("cut_in_size", (body(b"5"), Pause(0.05), HalfClose()), CUT),
    ("cut_in_data", (body(b"5\r\nhel"), Pause(0.05), HalfClose()), CUT),
    ("cut_after_data", (body(b"5\r\nhello"), Pause(0.05), HalfClose()), CUT),
    ("cut_after_chunk", (body(b"5\r\nhello\r\n"), Pause(0.05), HalfClose()), CUT),
    ("cut_after_zero", (body(b"5\r\nhello\r\n0\r\n"), Pause(0.05), HalfClose()), CUT),
    ("cut_in_trailer", (body(TRAILED + b"X-T: u\r\n"), Pause(0.05), HalfClose()), CUT),
]  # fmt: skip

CASES: list[Case] = [
    *table("chunked", "9112 7.1", GOOD),
    *table("chunked", "9112 7.1.1", EXTENSIONS),
    *table("chunked", "9112 7.1", [(name, body(text + LAST), BAD) for name, text in BAD_SIZES]),
    *table("chunked", "9112 7.1", [(name, body(text), BAD) for name, text in ENDS]),
    *table("chunked", "desync chunks", [(name, body(text), BAD) for name, text in FUNKY]),
    *table("chunked", "9112 7.1.2", TRAILERS),
    *table("chunked", "9112 7.1.2", [(name, body(TRAILED + text), BAD) for name, text in BAD_TRAILERS]),
    *table("chunked", "9112 7.1.1", BOUNDS, wait=6.0),
    *table("chunked", "9112 8", CUT_ROWS, follow=False),
    *table(
        "chunked",
        "9112 7.1.1",
        [
            (
                "ext_crlf_in_quotes",
                body(b'5;a="\r\nhello\r\n' + LAST + b'"\r\n\r\n'),
                either(BAD, QUOTED_END),
                {"answers": 2, "methods": (b"POST", b"GET"), "level": STRICT},
            ),
            ("ext_bare_semicolon", body(b"5;\r\nhello\r\n" + LAST), either(HELLO, BAD)),
            ("ext_bad_token", body(b"5;a[b]=c\r\nhello\r\n" + LAST), BAD),
            ("ext_equals_only", body(b"5;=\r\nhello\r\n" + LAST), BAD),
            ("ext_unclosed_quote", body(b'5;a="b\r\nhello\r\n' + LAST), BAD),
            ("size_space_after", body(b"5 \r\nhello\r\n" + LAST), either(HELLO, BAD)),
            (
                "bound_ext_in_sum",
                body(b"".join(b"1;" + b"a" * 2000 + b"\r\nx\r\n" for _ in range(300)) + LAST),
                BAD,
            ),
        ],
        level=ADVISABLE,
    ),
]
