"""An upstream's head (RFC 9112 sections 4 and 5) is distrusted as a client's is: what is wrong becomes 502.

A gateway may also clean what it can name exactly (white space before a colon, folding): then the client
must get a clean message. Nothing doubtful passes.
"""

from __future__ import annotations

from ..case import ADVISABLE, Byte, Case, Close, Pause, Script
from .make import Row, answer, either, get, passed, table

BAD = answer(502, 500, never_down=(b"x-injected",))
LENGTH = b"Content-Length: 2\r\n"


def status(line: bytes) -> bytes:
    return line + b"\r\n" + LENGTH + b"\r\nok"


def field(line: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + LENGTH + line + b"\r\n\r\nok"


CLEAN = passed(body=b"ok", closed=None)

GOOD: list[Row] = [
    ("plain", get(), passed(body=b"ok"), status(b"HTTP/1.1 200 OK")),
    ("reason_empty", get(), passed(body=b"ok"), status(b"HTTP/1.1 200 ")),
    ("reason_missing_with_space", get(), passed(status=404, body=b"ok"), status(b"HTTP/1.1 404 ")),
    ("reason_long", get(), passed(body=b"ok"), status(b"HTTP/1.1 200 " + b"very " * 100 + b"fine")),
    ("version_10", get(), passed(body=b"ok"), status(b"HTTP/1.0 200 OK")),
    ("status_599", get(), passed(status=599, body=b"ok"), status(b"HTTP/1.1 599 Odd")),
    ("status_418", get(), passed(status=418, body=b"ok"), status(b"HTTP/1.1 418 I'm a teapot")),
    ("byte_by_byte", get(), passed(body=b"ok"), Script((Byte(status(b"HTTP/1.1 200 OK")),))),
    ("split_in_crlf", get(), passed(body=b"ok"), Script((b"HTTP/1.1 200 OK\r", Pause(0.02), b"\n" + LENGTH + b"\r", Pause(0.02), b"\nok"))),
    ("obs_text_in_value", get(), passed(body=b"ok", has=((b"x-a", b"b\xe9\xff"),)), field(b"X-A: b\xe9\xff")),
    ("tab_in_value", get(), passed(body=b"ok", has=((b"x-a", b"b\tc"),)), field(b"X-A: b\tc")),
    ("empty_value", get(), passed(body=b"ok", has=((b"x-a", b""),)), field(b"X-A:")),
    ("many_fields", get(), passed(body=b"ok", has=((b"x-79", b"v"),)), field(b"\r\n".join(b"X-%d: v" % n for n in range(80)))),
    ("field_20k", get(), passed(body=b"ok"), field(b"X-A: " + b"a" * 20_000)),
]  # fmt: skip

BAD_STATUS = [
    ("status_garbage", b"hello world"),
    ("status_binary", bytes(range(1, 9)) * 10),
    ("status_two_digits", b"HTTP/1.1 20 OK"),
    ("status_four_digits", b"HTTP/1.1 2000 OK"),
    ("status_letters", b"HTTP/1.1 abc OK"),
    ("status_zero", b"HTTP/1.1 000 OK"),
    ("status_low", b"HTTP/1.1 099 OK"),
    ("status_negative", b"HTTP/1.1 -20 OK"),
    ("status_plus", b"HTTP/1.1 +20 OK"),
    ("status_hex", b"HTTP/1.1 0xc8 OK"),
    ("status_missing", b"HTTP/1.1"),
    ("status_missing_with_space", b"HTTP/1.1 "),
    ("status_then_letter", b"HTTP/1.1 200x OK"),
    ("status_nul", b"HTTP/1.1 200\x00OK"),
    ("version_lower_case", b"http/1.1 200 OK"),
    ("version_2", b"HTTP/2.0 200 OK"),
    ("version_none", b"HTTP 200 OK"),
    ("version_two_digits", b"HTTP/11.1 200 OK"),
    ("version_letter", b"HTTP/1.x 200 OK"),
    ("version_other", b"ICY 200 OK"),
    ("version_space", b"HTTP/ 1.1 200 OK"),
    ("line_space_before", b" HTTP/1.1 200 OK"),
    ("line_junk_before", b"x HTTP/1.1 200 OK"),
    ("line_tab_separated", b"HTTP/1.1\t200\tOK"),
    ("reason_nul", b"HTTP/1.1 200 O\x00K"),
    ("reason_bare_cr", b"HTTP/1.1 200 O\rX-Injected: y"),
    ("reason_control", b"HTTP/1.1 200 O\x01K"),
    ("line_is_a_request", b"GET / HTTP/1.1"),
]  # fmt: skip

# The same for field lines: 502, or clean. Which of the two is a matter of policy only where it cannot split.
BAD_FIELDS = [
    ("field_nul", b"X-A: b\x00c"),
    ("field_nul_in_name", b"X\x00A: b"),
    ("field_bare_cr", b"X-A: b\rX-Injected: y"),
    ("field_bare_cr_at_end", b"X-A: b\r"),
    ("field_bare_cr_in_name", b"X\rA: b"),
    ("field_soh", b"X-A: b\x01c"),
    ("field_vtab", b"X-A: b\x0bc"),
    ("field_escape", b"X-A: b\x1b[31mc"),
    ("field_del", b"X-A: b\x7fc"),
    ("field_no_colon", b"X-A b"),
    ("field_empty_name", b": b"),
    ("field_space_in_name", b"X A: b"),
    ("field_bracket_in_name", b"X[A]: b"),
    ("field_high_byte_in_name", b"X\xe9A: b"),
    ("field_space_first", b" X-A: b"),
    ("field_is_a_status_line", b"HTTP/1.1 200 OK"),
]  # fmt: skip

SPLITS: list[Row] = [
    # A bare LF may be read as a line end (RFC 9112 section 2.2). Then it must not leave as one.
    ("lf_everywhere", get(), either(BAD, CLEAN), b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    ("lf_after_status", get(), either(BAD, CLEAN), b"HTTP/1.1 200 OK\n" + LENGTH + b"\r\nok"),
    ("lf_between_fields", get(), either(answer(502, 500), CLEAN), b"HTTP/1.1 200 OK\r\nX-A: b\n" + LENGTH + b"\r\nok"),
    ("lf_hides_transfer_encoding", get(), answer(502, 500), b"HTTP/1.1 200 OK\r\n" + LENGTH + b"X-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("cr_only", get(), BAD, b"HTTP/1.1 200 OK\rContent-Length: 2\r\rok"),
    ("fold", get(), either(BAD, passed(body=b"ok", closed=None, has=((b"x-a", b"b c"),)), passed(body=b"ok", closed=None, has=((b"x-a", b"b  c"),))), field(b"X-A: b\r\n c")),
    ("fold_hides_field", get(), either(BAD, passed(body=b"ok", closed=None, lacks=(b"x-injected",))), field(b"X-A: b\r\n X-Injected: y")),
    ("fold_transfer_encoding", get(), either(BAD, passed(body=b"ok", closed=None)), b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    # RFC 9112 section 5.1: white space before the colon of a response is removed by a proxy.
    ("space_before_colon", get(), either(BAD, passed(body=b"ok", closed=None, has=((b"x-a", b"b"),)), passed(body=b"ok", closed=None, lacks=(b"x-a",))), field(b"X-A : b")),
    ("space_before_colon_of_length", get(), either(BAD, CLEAN), b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
    ("space_before_colon_of_coding", get(), answer(502, 500), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding : chunked\r\n\r\nok"),
    ("nothing_then_close", get(), answer(502), (Script((Close(),)),) * 4),
    ("head_cut_by_close", get(), answer(502), Script((b"HTTP/1.1 200 OK\r\nContent-Le", Close()))),
    ("head_cut_in_last_crlf", get(), answer(502), Script((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r", Close()))),
    ("http09_body_only", get(), answer(502), Script((b"<html>hello</html>", Close()))),
    ("fields_200", get(), answer(502, 500), field(b"\r\n".join(b"X-%d: v" % n for n in range(200)))),
    ("head_200k", get(), answer(502, 500), field(b"\r\n".join(b"X-A: " + b"a" * 2000 for n in range(100)))),
    ("field_100k", get(), answer(502, 500), field(b"X-A: " + b"a" * 100_000)),
    ("head_endless", get(), answer(502, 500), Script((b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200_000,))),
    ("status_line_100k", get(), answer(502, 500), status(b"HTTP/1.1 200 " + b"a" * 100_000)),
]  # fmt: skip

SOFT: list[Row] = [
    ("empty_line_before", get(), either(answer(502), CLEAN), b"\r\n" + status(b"HTTP/1.1 200 OK")),
    ("no_reason_no_space", get(), either(answer(502), CLEAN), status(b"HTTP/1.1 200")),
    ("two_spaces", get(), either(answer(502), CLEAN), status(b"HTTP/1.1  200 OK")),
    ("version_12", get(), either(answer(502), CLEAN), status(b"HTTP/1.2 200 OK")),
    ("status_600", get(), either(answer(502), passed(status=600, closed=None)), status(b"HTTP/1.1 600 Odd")),
    ("status_999", get(), either(answer(502), passed(status=999, closed=None)), status(b"HTTP/1.1 999 Odd")),
    ("reason_high_bytes", get(), either(answer(502), CLEAN), status(b"HTTP/1.1 200 d\xe9j\xe0")),
]  # fmt: skip

CASES: list[Case] = [
    *table("response", "9112 4", GOOD),
    *table("response", "9112 4", [(name, get(), BAD, status(line)) for name, line in BAD_STATUS]),
    *table("response", "9112 5", [(name, get(), BAD, field(line)) for name, line in BAD_FIELDS]),
    *table("response", "9112 2.2", SPLITS),
    *table("response", "9112 4", SOFT, level=ADVISABLE),
]
