"""Field lines (RFC 9112 section 5, RFC 9110 section 5): names, values, folding, line ends."""

from __future__ import annotations

from ..case import ADVISABLE, Case, Seen
from .make import EVIL, HOST, Row, either, get, lines, passed, post, refused, table


def extra(text: bytes, **more: object) -> Seen:
    return Seen(has=((b"x-a", text),))


BAD = refused()

GOOD: list[Row] = [
    ("no_space_after_colon", get(b"X-A:b\r\n"), passed(extra(b"b"))),
    ("spaces_around_value", get(b"X-A: \t b \t \r\n"), passed(extra(b"b"))),
    ("empty_value", get(b"X-A:\r\n"), passed(extra(b""))),
    ("value_of_spaces", get(b"X-A:   \t \r\n"), passed(extra(b""))),
    ("colon_in_value", get(b"X-A: b:c: d\r\n"), passed(extra(b"b:c: d"))),
    ("tab_in_value", get(b"X-A: b\tc\r\n"), passed(extra(b"b\tc"))),
    ("obs_text_in_value", get(b"X-A: b\xe9\xff\x80c\r\n"), passed(extra(b"b\xe9\xff\x80c"))),
    ("utf8_in_value", get(b"X-A: \xe2\x82\xac\r\n"), passed(extra(b"\xe2\x82\xac"))),
    ("quotes_in_value", get(b'X-A: "b\\"c,\' ; d\r\n'), passed(extra(b'"b\\"c,\' ; d'))),
    ("all_visible_in_value", get(b"X-A: " + bytes(range(0x21, 0x7F)) + b"\r\n"), passed(extra(bytes(range(0x21, 0x7F))))),
    ("name_case_kept_or_lowered", get(b"x-A: b\r\n"), passed(extra(b"b"))),
    ("name_of_all_tchars", get(b"!#$%&'*+.^`|~-09AZaz: b\r\n"), passed(Seen(has=((b"!#$%&'*+.^`|~-09AZaz", b"b"),)))),
    ("name_of_one_letter", get(b"a: b\r\n"), passed(Seen(has=((b"a", b"b"),)))),
    ("name_of_digits", get(b"007: b\r\n"), passed(Seen(has=((b"007", b"b"),)))),
    ("field_like_a_request_line", get(b"GET: /smuggled HTTP/1.1\r\n"), passed(Seen(has=((b"get", b"/smuggled HTTP/1.1"),)))),
    ("cookie_passes", get(b"Cookie: a=b; c=\"d\"; __Host-e=%20\r\n"), passed(Seen(has=((b"cookie", b'a=b; c="d"; __Host-e=%20'),)))),
    ("authorization_passes", get(b"Authorization: Bearer a.b-c_d~e+f/g==\r\n"), passed(Seen(has=((b"authorization", b"Bearer a.b-c_d~e+f/g=="),)))),
    ("range_passes", get(b"Range: bytes=0-1,5-\r\n"), passed(Seen(has=((b"range", b"bytes=0-1,5-"),)))),
    ("accept_encoding_passes", get(b"Accept-Encoding: gzip;q=0.5, br\r\n"), passed(Seen(has=((b"accept-encoding", b"gzip;q=0.5, br"),)))),
    ("user_agent_passes", get(b"User-Agent: a/1 (b; c) d\r\n"), passed(Seen(has=((b"user-agent", b"a/1 (b; c) d"),)))),
]  # fmt: skip


def order(seen: object) -> list[str]:
    from ..case import Observation

    assert isinstance(seen, Observation)
    got = [value for arrival in seen.arrivals for value in arrival.request.get(b"x-a")]
    joined = b",".join(got).replace(b" ", b"")
    return [] if joined == b"1,2,3" else [f"lines of one field arrived as {got!r}"]


REPEATED: list[Row] = [
    (
        "repeated_lines_keep_order",
        get(lines(b"X-A: 1", b"X-B: x", b"X-A: 2", b"x-a: 3")),
        passed(check=order),
    ),
]

# RFC 9110 section 5.1 and 5.6.2: a field name is a token. RFC 9112 section 5.1: nothing before the colon.
NAMES = [
    ("space_before_colon", b"X-A : b"),
    ("tab_before_colon", b"X-A\t: b"),
    ("space_in_name", b"X A: b"),
    ("no_colon", b"X-A b"),
    ("no_colon_word", b"abc"),
    ("empty_name", b": b"),
    ("colon_only", b":"),
    ("paren", b"X(A: b"),
    ("comma", b"X,A: b"),
    ("slash", b"X/A: b"),
    ("semicolon", b"X;A: b"),
    ("less", b"X<A: b"),
    ("equals", b"X=A: b"),
    ("question", b"X?A: b"),
    ("at", b"X@A: b"),
    ("bracket", b"X[A: b"),
    ("backslash", b"X\\A: b"),
    ("brace", b"X{A}: b"),
    ("quote", b'"X-A": b'),
    ("nul", b"X\x00A: b"),
    ("control", b"X\x01A: b"),
    ("vtab", b"X\x0bA: b"),
    ("del", b"X\x7fA: b"),
    ("high_byte", b"X\xe9A: b"),
    ("utf8_hyphen", b"X\xe2\x80\x90A: b"),
    ("bare_cr", b"X\rA: b"),
]  # fmt: skip

# RFC 9110 section 5.5: CR, LF, NUL are refused or replaced; we refuse, and the other controls as well.
VALUES = [
    ("nul", b"b\x00c"),
    ("nul_at_end", b"b\x00"),
    ("nul_at_start", b"\x00b"),
    ("bare_cr", b"b\rc"),
    ("bare_cr_at_start", b"\rb"),
    ("bare_cr_at_end", b"b\r"),
    ("bare_cr_hides_field", b"b\rX-Injected: y"),
    ("soh", b"b\x01c"),
    ("bell", b"b\x07c"),
    ("backspace", b"b\x08c"),
    ("vtab", b"b\x0bc"),
    ("formfeed", b"b\x0cc"),
    ("escape", b"b\x1b[2Jc"),
    ("unit_separator", b"b\x1fc"),
    ("del", b"b\x7fc"),
]  # fmt: skip
CLEAN = either(BAD, passed(never_up=(b"\x00",)))

# Names that some server has once taken for a framing field. The head is refused, or the field means nothing.
BODY = EVIL
LOOK_ALIKES = [
    ("cl_space_before_colon", b"Content-Length : 49"),
    ("cl_nbsp_before_colon", b"Content-Length\xa0: 49"),
    ("cl_vtab_before_colon", b"Content-Length\x0b: 49"),
    ("cl_nul_before_colon", b"Content-Length\x00: 49"),
    ("cl_nul_inside", b"Content\x00-Length: 49"),
    ("cl_space_inside", b"Content Length: 49"),
    ("cl_high_byte_first", b"\xffContent-Length: 49"),
    ("cl_unicode_hyphen", b"Content\xe2\x80\x90Length: 49"),
    ("cl_backspace", b"Content-Lengthh\x08: 49"),
    ("cl_quoted", b'"Content-Length": 49'),
    ("cl_colon_twice", b":Content-Length: 49"),
    ("te_space_before_colon", b"Transfer-Encoding : chunked"),
    ("te_tab_before_colon", b"Transfer-Encoding\t: chunked"),
    ("te_vtab_before_colon", b"Transfer-Encoding\x0b: chunked"),
    ("te_nul_before_colon", b"Transfer-Encoding\x00: chunked"),
    ("te_cr_before_colon", b"Transfer-Encoding\r: chunked"),
    ("te_space_inside", b"Transfer Encoding: chunked"),
    ("te_unicode_hyphen", b"Transfer\xe2\x80\x90Encoding: chunked"),
    ("te_no_colon", b"Transfer-Encoding chunked"),
    ("te_equals", b"Transfer-Encoding= chunked"),
]  # fmt: skip

UNDERSCORES: list[Row] = [
    # A CGI-like upstream maps '-' and '_' to the same name. Whether the field passes is policy; it never frames.
    ("underscore_content_length", get(b"Content_Length: 5\r\n"), either(passed(), BAD)),
    ("underscore_transfer_encoding", post(b"Content-Length: 2\r\nTransfer_Encoding: chunked\r\n", b"ab"), either(passed(Seen(b"POST", body=b"ab")), BAD)),
    ("underscore_host", get(b"Host_: other.test\r\nX_Forwarded_For: 192.0.2.9\r\n"), either(passed(Seen(hosts=(b"gw.test",))), BAD)),
]  # fmt: skip

FOLDED = either(BAD, passed(extra(b"b c")), passed(extra(b"b  c")), passed(extra(b"b   c")))
FOLDING: list[Row] = [
    ("fold_space", get(b"X-A: b\r\n c\r\n"), FOLDED),
    ("fold_tab", get(b"X-A: b\r\n\tc\r\n"), either(FOLDED, passed(extra(b"b \tc")))),
    ("fold_first_line_of_value", get(b"X-A:\r\n b c\r\n"), FOLDED),
    ("fold_of_spaces_only", get(b"X-A: b\r\n  \r\n"), either(BAD, passed(extra(b"b")))),
    ("fold_hides_field", get(b"X-A: b\r\n X-Injected: y\r\n"), either(BAD, passed(Seen(lacks=(b"x-injected",))))),
    ("fold_before_first_field", b"GET /T0KEN HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n", either(BAD, passed(Seen(lacks=(b"x-a",))))),
    ("fold_space_line_before_first", b"GET /T0KEN HTTP/1.1\r\n \r\n" + HOST + b"\r\n", either(BAD, passed())),
    ("fold_after_host", b"GET /T0KEN HTTP/1.1\r\n" + HOST + b"\tX-A: b\r\n\r\n", either(BAD)),
]  # fmt: skip

ENDS: list[Row] = [
    ("lf_between_fields", get(b"X-B: c\nX-A: b\r\n"), either(BAD, passed(extra(b"b")))),
    ("lf_lf_ends_head", b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\n\n", either(BAD, passed())),
    ("crlf_lf_ends_head", b"GET /T0KEN HTTP/1.1\r\n" + HOST + b"\n", either(BAD, passed())),
    ("lf_crlf_ends_head", b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\n\r\n", either(BAD, passed())),
    ("cr_cr_lf", get(b"X-A: b\r\r\n"), BAD),
    ("cr_cr_lf_ends_head", b"GET /T0KEN HTTP/1.1\r\n" + HOST + b"\r\r\n\r\n", BAD),
    ("lf_cr", get(b"X-B: c\n\rX-A: b\r\n"), BAD),
    ("nul_after_crlf", get(b"\x00X-A: b\r\n"), BAD),
    ("cr_only_field_end", get(b"X-B: c\rX-A: b\r\n"), BAD),
    ("lf_hides_transfer_encoding", post(b"Content-Length: 2\r\nX-B: c\nTransfer-Encoding: chunked\r\n", b"ab"), BAD),
    ("lf_hides_content_length", post(b"X-B: c\nContent-Length: 2\r\n", b"ab"), either(BAD, passed(Seen(b"POST", body=b"ab")))),
    ("cr_hides_transfer_encoding", post(b"Content-Length: 2\r\nX-B: c\rTransfer-Encoding: chunked\r\n", b"ab"), BAD),
    ("cr_before_transfer_encoding", post(b"Content-Length: 2\r\n\rTransfer-Encoding: chunked\r\n", b"ab"), BAD),
    ("nul_hides_transfer_encoding", post(b"Content-Length: 2\r\nX-B: c\x00\r\nTransfer-Encoding: chunked\r\n", b"ab"), BAD),
    ("fold_hides_transfer_encoding", post(b"Content-Length: 2\r\nX-B: c\r\n Transfer-Encoding: chunked\r\n", b"ab"), either(BAD, passed(Seen(b"POST", body=b"ab", lacks=(b"transfer-encoding",))))),
]  # fmt: skip

SOFT: list[Row] = [
    ("unicode_line_separator_in_value", get(b"X-A: b\xe2\x80\xa8c\r\n"), passed(extra(b"b\xe2\x80\xa8c"))),
    ("next_line_control_in_value", get(b"X-A: b\x85c\r\n"), passed(extra(b"b\x85c"))),
]

CASES: list[Case] = [
    *table("fields", "9110 5.5", GOOD),
    *table("fields", "9110 5.3", REPEATED),
    *table("fields", "9112 5.1", [(f"name_{name}", get(text + b"\r\n"), BAD) for name, text in NAMES]),
    *table(
        "fields",
        "9110 5.5",
        [(f"value_{name}", get(b"X-A: " + text + b"\r\n"), BAD) for name, text in VALUES],
    ),
    *table(
        "fields", "desync", [(f"like_{name}", post(text + b"\r\n", BODY), BAD) for name, text in LOOK_ALIKES]
    ),
    *table("fields", "desync", UNDERSCORES),
    *table("fields", "9112 5.2", FOLDING),
    *table("fields", "9112 2.2", ENDS),
    *table("fields", "9110 5.5", SOFT, level=ADVISABLE),
]
