"""Request line (RFC 9112 sections 2.2, 2.3 and 3) and what may stand before it."""

from __future__ import annotations

from ..case import ADVISABLE, Await, Byte, Case, HalfClose, Pause, Seen
from .make import EVIL, HOST, Row, either, get, passed, refused, silent, table

END = HOST + b"\r\n"


def line(text: bytes) -> bytes:
    """A request with this request line."""
    return text + b"\r\n" + END


TCHARS = b"!#$%&'*+-.^_`|~09AZaz"
NOT_FOUND_METHOD = refused(400, 405, 501, closed=None)

BASIC: list[Row] = [
    ("baseline", get(), passed()),
    ("byte_by_byte", (Byte(get(b"X-A: b\r\n")),), passed(Seen(has=((b"x-a", b"b"),)))),
    ("split_in_method", (b"GE", b"T /T0KEN HT", b"TP/1.1\r", b"\n" + HOST[:9], HOST[9:] + b"\r\n"), passed()),
    ("unknown_method", line(b"BREW /T0KEN HTTP/1.1"), either(passed(Seen(b"BREW")), NOT_FOUND_METHOD)),
    ("method_case_kept", line(b"get /T0KEN HTTP/1.1"), either(passed(Seen(b"get")), NOT_FOUND_METHOD)),
    ("method_of_all_tchars", line(TCHARS + b" /T0KEN HTTP/1.1"), either(passed(Seen(TCHARS)), NOT_FOUND_METHOD)),
    ("one_empty_line_before", b"\r\n" + get(), passed()),
    ("empty_line_split", (b"\r", Pause(0.03), b"\n", Pause(0.03), get()), passed()),
    ("empty_line_split_between_requests", (get(), Await(), b"\r", Pause(0.03), b"\n" + get(target=b"/T0KEN/2")),
     passed(Seen(), Seen(target=b"/T0KEN/2")), {"methods": (b"GET", b"GET"), "answers": 2}),
    # RFC 9112 section 2.2: at least one is ignored; nginx ignores any number.
    ("two_empty_lines_before", b"\r\n\r\n" + get(), passed()),
    ("twenty_empty_lines_before", b"\r\n" * 20 + get(), passed()),
    ("empty_lines_in_pieces", (b"\r\n\r", Pause(0.03), b"\n\r", Pause(0.03), b"\n" + get()), passed()),
    ("empty_lines_then_lone_cr", b"\r\n\r\n\r" + get(), refused()),
    ("three_empty_lines_between_requests", (get(), Await(), b"\r\n" * 3 + get(target=b"/T0KEN/2")),
     passed(Seen(), Seen(target=b"/T0KEN/2")), {"methods": (b"GET", b"GET"), "answers": 2}),
    ("empty_lines_between_pipelined_requests", get() + b"\r\n\r\n" + get(target=b"/T0KEN/2"),
     passed(Seen(), Seen(target=b"/T0KEN/2")), {"methods": (b"GET", b"GET"), "answers": 2}),
    ("bare_lf_before", b"\n" + get(), either(passed(), refused())),
    ("no_reason_to_trust_cr_before", b"\r" + get(), refused()),
]  # fmt: skip

# Each must be refused: RFC 9112 section 3, "SHOULD respond with 400"; no respected server forwards these.
BAD: list[Row] = [
    ("method_empty", line(b" /T0KEN HTTP/1.1")),
    ("method_with_paren", line(b"GE(T /T0KEN HTTP/1.1")),
    ("method_with_colon", line(b"GET: /T0KEN HTTP/1.1")),
    ("method_quoted", line(b'"GET" /T0KEN HTTP/1.1')),
    ("method_with_nul", line(b"GE\x00T /T0KEN HTTP/1.1")),
    ("method_with_high_byte", line(b"G\xc9T /T0KEN HTTP/1.1")),
    ("method_with_del", line(b"GET\x7f /T0KEN HTTP/1.1")),
    ("space_before_method", line(b" GET /T0KEN HTTP/1.1")),
    ("tab_before_method", line(b"\tGET /T0KEN HTTP/1.1")),
    ("space_line_before", b" \r\n" + get()),
    ("no_target", line(b"GET HTTP/1.1")),
    ("no_target_two_spaces", line(b"GET  HTTP/1.1")),
    ("space_in_target", line(b"GET /T0KEN/a b HTTP/1.1")),
    ("two_requests_in_line", line(b"GET /T0KEN HTTP/1.1 GET /T0KEN/smuggled HTTP/1.1")),
    ("word_after_version", line(b"GET /T0KEN HTTP/1.1 x")),
    ("vtab_for_space", line(b"GET\x0b/T0KEN HTTP/1.1")),
    ("formfeed_for_space", line(b"GET /T0KEN\x0cHTTP/1.1")),
    ("nbsp_for_space", line(b"GET\xa0/T0KEN HTTP/1.1")),
    ("cr_for_space", line(b"GET\r/T0KEN HTTP/1.1")),
    ("cr_before_version", line(b"GET /T0KEN\rHTTP/1.1")),
    ("cr_cr_lf_after_line", b"GET /T0KEN HTTP/1.1\r\r\n" + END),
    ("cr_only_line_end", b"GET /T0KEN HTTP/1.1\rHost: gw.test\r\r"),
    ("cr_line_end_then_field", b"GET /T0KEN HTTP/1.1\rX: y\r\n" + END),
    ("nul_line_end", b"GET /T0KEN HTTP/1.1\x00\r\n" + END),
    ("nul_in_version", line(b"GET /T0KEN HTTP\x00/1.1")),
    ("version_lower_case", line(b"GET /T0KEN http/1.1")),
    ("version_mixed_case", line(b"GET /T0KEN Http/1.1")),
    ("version_no_minor", line(b"GET /T0KEN HTTP/1")),
    ("version_dot_only", line(b"GET /T0KEN HTTP/1.")),
    ("version_no_major", line(b"GET /T0KEN HTTP/.1")),
    ("version_no_numbers", line(b"GET /T0KEN HTTP/")),
    ("version_space_before_slash", line(b"GET /T0KEN HTTP /1.1")),
    ("version_space_after_slash", line(b"GET /T0KEN HTTP/ 1.1")),
    ("version_space_in_number", line(b"GET /T0KEN HTTP/1. 1")),
    ("version_comma", line(b"GET /T0KEN HTTP/1,1")),
    ("version_leading_zero", line(b"GET /T0KEN HTTP/01.1")),
    ("version_minor_leading_zero", line(b"GET /T0KEN HTTP/1.01")),
    ("version_two_digit_minor", line(b"GET /T0KEN HTTP/1.10")),
    ("version_three_numbers", line(b"GET /T0KEN HTTP/1.1.1")),
    ("version_letter_after", line(b"GET /T0KEN HTTP/1.1x")),
    ("version_negative", line(b"GET /T0KEN HTTP/-1.1")),
    ("version_plus", line(b"GET /T0KEN HTTP/+1.1")),
    ("version_hex", line(b"GET /T0KEN HTTP/0x1.1")),
    ("version_other_protocol", line(b"GET /T0KEN ICAP/1.0")),
    ("version_https", line(b"GET /T0KEN HTTPS/1.1")),
    ("version_truncated_name", line(b"GET /T0KEN HTP/1.1")),
    ("version_fullwidth_digit", line(b"GET /T0KEN HTTP/\xef\xbc\x91.1")),
]  # fmt: skip

REFUSED = either(refused(400, 405, 501, 505))

VERSIONS: list[Row] = [
    ("version_0_9_named", line(b"GET /T0KEN HTTP/0.9"), refused(400, 505)),
    ("version_2_0", line(b"GET /T0KEN HTTP/2.0"), refused(400, 505)),
    ("version_3_0", line(b"GET /T0KEN HTTP/3.0"), refused(400, 505)),
    ("version_9_9", line(b"GET /T0KEN HTTP/9.9"), refused(400, 505)),
    ("version_0_0", line(b"GET /T0KEN HTTP/0.0"), refused(400, 505)),
    # RFC 9110 section 2.5: a higher minor version is processed as the highest we know.
    ("version_1_2", line(b"GET /T0KEN HTTP/1.2"), either(passed(), refused(400, 505))),
    ("version_1_9", line(b"GET /T0KEN HTTP/1.9"), either(passed(), refused(400, 505))),
]  # fmt: skip

# HTTP/0.9: never to the upstream. An answer without a head cannot be told from bytes, so none is wanted.
OLD: list[Row] = [
    ("http09_line_and_empty_line", b"GET /T0KEN\r\n\r\n", either(refused(400, 505), silent())),
    ("http09_with_fields", b"GET /T0KEN\r\n" + END, either(refused(400, 505), silent())),
    ("http09_line_only", (b"GET /T0KEN\r\n", HalfClose()), either(refused(400, 505), silent()), {"follow": False}),
    ("http09_hides_request", b"GET /T0KEN\r\n" + EVIL, either(refused(400, 505), silent())),
]  # fmt: skip

# RFC 9112 section 3 lets a recipient split on runs of whitespace; what it forwards must then be clean.
LENIENT: list[Row] = [
    ("two_spaces_after_method", line(b"GET  /T0KEN HTTP/1.1")),
    ("two_spaces_before_version", line(b"GET /T0KEN  HTTP/1.1")),
    ("tab_after_method", line(b"GET\t/T0KEN HTTP/1.1")),
    ("tab_before_version", line(b"GET /T0KEN\tHTTP/1.1")),
    ("space_after_version", line(b"GET /T0KEN HTTP/1.1 ")),
    ("tab_after_version", line(b"GET /T0KEN HTTP/1.1\t")),
    ("bare_lf_after_line", b"GET /T0KEN HTTP/1.1\n" + END),
    ("bare_lf_everywhere", b"GET /T0KEN HTTP/1.1\nHost: gw.test\n\n"),
]  # fmt: skip

FOREIGN: list[Row] = [
    ("tls_hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n\r\n"),
    ("http2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    ("binary_garbage", bytes(range(256)) * 4 + b"\r\n\r\n"),
    ("socks5", (b"\x05\x01\x00", HalfClose())),
    ("smtp", b"EHLO gw.test\r\nMAIL FROM:<a@b>\r\n\r\n"),
    ("ssh_banner", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("proxy_protocol_line", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get()),
    ("response_as_request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
]  # fmt: skip

CASES: list[Case] = [
    *table("start", "9112 3", BASIC),
    *table("start", "9112 3", [(*row, REFUSED) for row in BAD]),
    *table("start", "9110 2.5", VERSIONS),
    *table("start", "9112 2.3", OLD),
    *table("start", "9112 3", [(*row, either(passed(), refused())) for row in LENIENT]),
    *table(
        "start",
        "9112 2.2",
        [(*row, either(refused(400, 405, 501, 505), silent())) for row in FOREIGN],
        follow=False,
    ),
    *table(
        "start",
        "9112 2.2",
        [
            (
                "empty_lines_without_end",
                (b"\r\n" * 100_000, HalfClose()),
                either(refused(400, 408, 413, 431), silent()),
            )
        ],
        follow=False,
        level=ADVISABLE,
    ),
]
