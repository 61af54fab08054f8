"""Request target: its four forms (RFC 9112 section 3.2) and its bytes (RFC 3986)."""

from __future__ import annotations

from ..case import ADVISABLE, Case, Seen
from .make import HOST, Row, either, get, passed, refused, silent, table


def line(target: bytes, host: bytes = b"gw.test", method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"


def seen(target: bytes = b"/T0KEN", *hosts: bytes) -> Seen:
    return Seen(target=target, hosts=hosts)


BAD = refused(400, 404, 405, 414, 421, 501)

# A path and query are the upstream's to interpret: byte for byte the same.
UNCHANGED = [
    ("dot_segments", b"/T0KEN/a/../b/./c"),
    ("double_slash", b"/T0KEN//a///b"),
    ("trailing_slash", b"/T0KEN/"),
    ("encoded_slash", b"/T0KEN/a%2Fb%2fc"),
    ("encoded_dots", b"/T0KEN/%2e%2E/a"),
    ("encoded_unreserved", b"/T0KEN/%7Euser/%41%2D"),
    ("encoded_space_plus", b"/T0KEN/a%20b+c"),
    ("encoded_utf8", b"/T0KEN/%C3%A9%E2%82%AC"),
    ("encoded_high_byte", b"/T0KEN/%FF%80"),
    ("encoded_crlf", b"/T0KEN/%0d%0aX-Injected:%20y"),
    ("encoded_percent", b"/T0KEN/%2525"),
    ("encoded_question", b"/T0KEN/a%3Fb%23c"),
    ("hex_case_kept", b"/T0KEN/%aA%Bb"),
    ("sub_delims", b"/T0KEN/!$&'()*+,;=:@-._~"),
    ("path_parameters", b"/T0KEN;v=1/a;b=c,d"),
    ("colon_in_first_segment", b"/T0KEN:8080/x"),
    ("empty_query", b"/T0KEN?"),
    ("query", b"/T0KEN?a=b&c=d&&=&e"),
    ("query_with_slashes_and_marks", b"/T0KEN?u=http://h/p?q=1/../2"),
    ("query_encoded", b"/T0KEN?q=%26%3D%23%00"),
    ("url_in_path", b"/T0KEN/http://other.test/x"),
]  # fmt: skip

# Not in RFC 3986, but in the wild: exactly as it came, percent-encoded, or refused.
ODD = [("quote", b'"'), ("less", b"<"), ("greater", b">"), ("backslash", b"\\"), ("caret", b"^"), ("backtick", b"`"),
       ("brace_open", b"{"), ("bar", b"|"), ("brace_close", b"}"), ("bracket", b"[1]"), ("bad_percent", b"%zz"),
       ("percent_at_end", b"%"), ("percent_one_digit", b"%4"), ("percent_nul", b"%00")]  # fmt: skip


def encoded(text: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in text)


ODD_ROWS: list[Row] = [
    (
        f"odd_{name}",
        get(target=b"/T0KEN/a" + text),
        either(
            passed(seen(b"/T0KEN/a" + text)),
            passed(seen(b"/T0KEN/a" + encoded(text))),
            BAD,
            refused(closed=None),
        ),
    )
    for name, text in ODD
]

# Bytes that no form of a URI may have: refused, or at least never forwarded as they are.
FORBIDDEN = [("nul", b"\x00"), ("soh", b"\x01"), ("backspace", b"\x08"), ("vtab", b"\x0b"), ("formfeed", b"\x0c"),
             ("escape", b"\x1b"), ("del", b"\x7f")]  # fmt: skip

HIGH = [("latin1", b"\xe9"), ("utf8", b"\xc3\xa9"), ("overlong_slash", b"\xc0\xaf"), ("c1_control", b"\x85")]

FORMS: list[Row] = [
    ("absolute", line(b"http://gw.test/T0KEN"), passed(seen(b"/T0KEN", b"gw.test"))),
    ("absolute_upper_case", line(b"HTTP://GW.TEST/T0KEN"), passed(seen(b"/T0KEN", b"gw.test", b"GW.TEST"))),
    ("absolute_port_in_both", line(b"http://gw.test:81/T0KEN", b"gw.test:81"), passed(seen(b"/T0KEN", b"gw.test:81"))),
    ("absolute_with_query", line(b"http://gw.test/T0KEN?a=/../b"), passed(seen(b"/T0KEN?a=/../b", b"gw.test"))),
    ("absolute_no_path", line(b"http://gw.test"), passed(seen(b"/", b"gw.test"))),
    ("absolute_query_no_path", line(b"http://gw.test?T0KEN"), either(passed(seen(b"/?T0KEN", b"gw.test")), BAD)),
    # RFC 9112 section 3.2.2: Host is ignored for the target's authority; a mismatch may also be refused.
    ("absolute_other_host", line(b"http://gw.test/T0KEN", b"other.test"), either(passed(seen(b"/T0KEN", b"gw.test")), BAD)),
    ("absolute_other_port", line(b"http://gw.test/T0KEN", b"gw.test:81"), either(passed(seen(b"/T0KEN", b"gw.test")), BAD)),
    ("absolute_host_prefix", line(b"http://gw.test/T0KEN", b"gw.test.evil.test"), either(passed(seen(b"/T0KEN", b"gw.test")), BAD)),
    ("absolute_without_host_field", b"GET http://gw.test/T0KEN HTTP/1.1\r\n\r\n", refused()),
    ("absolute_two_host_fields", line(b"http://gw.test/T0KEN", b"gw.test\r\nHost: other.test"), refused()),
    ("absolute_http10_without_host", b"GET http://gw.test/T0KEN HTTP/1.0\r\n\r\n", either(passed(seen(b"/T0KEN", b"gw.test"), closed=True), BAD)),
    ("absolute_empty_authority", line(b"http:///T0KEN"), BAD),
    ("absolute_only_port", line(b"http://:80/T0KEN"), BAD),
    ("absolute_one_slash", line(b"http:/gw.test/T0KEN"), BAD),
    ("absolute_https_to_a_plain_listener", line(b"https://gw.test/T0KEN"), either(passed(seen(b"/T0KEN", b"gw.test")), BAD)),
    ("absolute_ipv6", line(b"http://[2001:db8::1]:81/T0KEN", b"[2001:db8::1]:81"), passed(seen(b"/T0KEN", b"[2001:db8::1]:81"))),
    ("absolute_empty_port", line(b"http://gw.test:/T0KEN"), either(passed(seen(b"/T0KEN", b"gw.test", b"gw.test:")), BAD)),
    ("absolute_encoded_host", line(b"http://gw%2etest/T0KEN"), BAD),
    ("absolute_backslash", line(b"http://gw.test\\@other.test/T0KEN"), BAD),
    ("absolute_in_options", line(b"http://gw.test/T0KEN", method=b"OPTIONS"), passed(Seen(b"OPTIONS", b"/T0KEN", hosts=(b"gw.test",))), {"methods": (b"OPTIONS",)}),
    ("double_authority", line(b"http://gw.test/http://other.test/T0KEN"), passed(seen(b"/http://other.test/T0KEN", b"gw.test"))),
    ("absolute_userinfo", line(b"http://user@gw.test/T0KEN"), BAD),
    ("absolute_userinfo_trick", line(b"http://gw.test@other.test/T0KEN"), BAD),
    ("absolute_bad_port", line(b"http://gw.test:8x/T0KEN"), BAD),
    ("absolute_fragment", line(b"http://gw.test/T0KEN#f"), either(BAD, passed(seen(b"/T0KEN", b"gw.test")))),
    ("absolute_unknown_scheme", line(b"gopher://gw.test/T0KEN"), either(BAD, passed(seen(b"/T0KEN", b"gw.test")))),
    ("absolute_space_in_host", b"GET http://gw.test /T0KEN HTTP/1.1\r\n" + HOST + b"\r\n", BAD),
    ("absolute_nul_in_host", line(b"http://gw\x00.test/T0KEN"), BAD),
    ("relative", line(b"T0KEN/x"), BAD),
    ("relative_dots", line(b"../T0KEN"), BAD),
    ("query_only", line(b"?T0KEN"), BAD),
    ("fragment_only", line(b"#T0KEN"), BAD),
    ("fragment", line(b"/T0KEN#f"), either(BAD, passed(seen(b"/T0KEN")), passed(seen(b"/T0KEN%23f")))),
    ("fragment_hides_path", line(b"/T0KEN#/../admin"), either(BAD, passed(seen(b"/T0KEN")), passed(seen(b"/T0KEN%23/../admin")))),
    ("backslash_first", line(b"\\T0KEN"), BAD),
    ("asterisk_get", line(b"*"), BAD),
    ("asterisk_with_path", line(b"*/T0KEN", method=b"OPTIONS"), BAD),
    ("asterisk_options", line(b"*", method=b"OPTIONS"), either(
        passed(Seen(b"OPTIONS", b"*")), refused(200, 204, 400, 404, 405, 501, closed=None)), {"methods": (b"OPTIONS",)}),
    ("authority_get", line(b"gw.test:80"), BAD),
    ("above_the_root", line(b"/../../T0KEN"), either(passed(seen(b"/../../T0KEN")), BAD)),
    ("above_the_root_encoded", line(b"/T0KEN/%2e%2e/%2e%2e/x"), either(passed(seen(b"/T0KEN/%2e%2e/%2e%2e/x")), BAD)),
    ("asterisk_options_with_query", line(b"*?T0KEN", method=b"OPTIONS"), BAD, {"methods": (b"OPTIONS",)}),
    ("semicolon_before_dots", line(b"/T0KEN/..;/x"), either(passed(seen(b"/T0KEN/..;/x")), BAD)),
    ("two_slashes_first", line(b"//other.test/T0KEN"), either(passed(seen(b"//other.test/T0KEN", b"gw.test")), BAD)),
    ("very_long_path_within_bounds", get(target=b"/T0KEN/" + b"a" * 8000), passed(seen(b"/T0KEN/" + b"a" * 8000))),
]  # fmt: skip

CONNECT: list[Row] = [
    ("connect", line(b"gw.test:443", b"gw.test:443", b"CONNECT")),
    ("connect_lower_case", line(b"gw.test:443", b"gw.test:443", b"connect")),
    ("connect_path", line(b"/T0KEN", method=b"CONNECT")),
    ("connect_with_data_behind", line(b"gw.test:443", b"gw.test:443", b"CONNECT") + get(target=b"/T0KEN/smuggled")),
]  # fmt: skip

CASES: list[Case] = [
    *table("target", "3986 6", [(name, get(target=text), passed(seen(text))) for name, text in UNCHANGED]),
    *table("target", "3986 2", ODD_ROWS),
    *table(
        "target",
        "3986 2",
        [(f"byte_{name}", get(target=b"/T0KEN/a" + text + b"b"), BAD) for name, text in FORBIDDEN],
    ),
    *table(
        "target",
        "3986 2",
        [
            (
                f"byte_{name}",
                get(target=b"/T0KEN/a" + text + b"b"),
                either(passed(seen(b"/T0KEN/a" + encoded(text) + b"b")), BAD),
            )
            for name, text in HIGH
        ],
    ),
    *table("target", "9112 3.2", FORMS),
    *table(
        "target",
        "9110 9.3.6",
        [(*row, either(refused(400, 403, 404, 405, 501), silent())) for row in CONNECT],
        methods=(b"POST",),
    ),
    *table(
        "target",
        "9112 3.2.4",
        [
            (
                "options_absolute_no_path_becomes_asterisk",
                line(b"http://gw.test", method=b"OPTIONS"),
                passed(Seen(b"OPTIONS", b"*", hosts=(b"gw.test",))),
            )
        ],
        level=ADVISABLE,
    ),
]
