"""Host (RFC 9112 section 3.2, RFC 9110 section 7.2): exactly one, well-formed, or 400."""

from __future__ import annotations

from ..case import ADVISABLE, Case, Seen
from .make import Row, either, passed, refused, table


def line(*hosts: bytes, version: bytes = b"1.1") -> bytes:
    return (
        b"GET /T0KEN HTTP/" + version + b"\r\n" + b"".join(b"Host: " + h + b"\r\n" for h in hosts) + b"\r\n"
    )


def seen(*hosts: bytes) -> Seen:
    return Seen(hosts=hosts)


BAD = refused(400, 421)

GOOD: list[Row] = [
    ("name_and_port", line(b"gw.test:8080"), passed(seen(b"gw.test:8080"))),
    ("ipv4", line(b"192.0.2.7"), passed(seen(b"192.0.2.7"))),
    ("ipv4_port", line(b"192.0.2.7:80"), passed(seen(b"192.0.2.7:80", b"192.0.2.7"))),
    ("ipv6", line(b"[2001:db8::1]"), passed(seen(b"[2001:db8::1]"))),
    ("ipv6_port", line(b"[::1]:8080"), passed(seen(b"[::1]:8080"))),
    ("upper_case", line(b"GW.TEST"), passed(seen(b"GW.TEST", b"gw.test"))),
    ("trailing_dot", line(b"gw.test."), passed(seen(b"gw.test.", b"gw.test"))),
    ("hyphen_digit", line(b"a-1.xn--bcher-kva.test"), passed(seen(b"a-1.xn--bcher-kva.test"))),
    ("underscore", line(b"a_b.test"), passed(seen(b"a_b.test"))),
    ("no_space_after_colon", b"GET /T0KEN HTTP/1.1\r\nHost:gw.test\r\n\r\n", passed(seen(b"gw.test"))),
    ("spaces_around", line(b"  gw.test \t"), passed(seen(b"gw.test"))),
    ("name_case", b"GET /T0KEN HTTP/1.1\r\nhOsT: gw.test\r\n\r\n", passed(seen(b"gw.test"))),
    ("last_of_fields", b"GET /T0KEN HTTP/1.1\r\nA: b\r\nC: d\r\nHost: gw.test\r\n\r\n", passed(seen(b"gw.test"))),
    ("empty_port", line(b"gw.test:"), either(passed(seen(b"gw.test:", b"gw.test")), BAD)),
    # An HTTP/1.0 client may leave it out; the upstream speaks 1.1 and must get one.
    ("http10_with", line(b"gw.test", version=b"1.0"), passed(seen(b"gw.test"), closed=True)),
]  # fmt: skip

MISSING: list[Row] = [
    ("missing", line(), BAD),
    ("missing_with_look_alike", b"GET /T0KEN HTTP/1.1\r\nX-Host: gw.test\r\nHosts: gw.test\r\n\r\n", BAD),
    ("twice_different", line(b"gw.test", b"other.test"), BAD),
    ("twice_same", line(b"gw.test", b"gw.test"), BAD),
    ("twice_other_case", b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\r\nHOST: other.test\r\n\r\n", BAD),
    ("twice_first_empty", line(b"", b"gw.test"), BAD),
    ("twice_http10", line(b"gw.test", b"other.test", version=b"1.0"), BAD),
    ("twice_apart", b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\r\nA: b\r\nC: d\r\nHost: gw.test\r\n\r\n", BAD),
    ("three_times", line(b"gw.test", b"gw.test", b"gw.test"), BAD),
    ("space_before_colon", b"GET /T0KEN HTTP/1.1\r\nHost : gw.test\r\n\r\n", BAD),
    ("folded", b"GET /T0KEN HTTP/1.1\r\nHost:\r\n gw.test\r\n\r\n", either(BAD, passed(seen(b"gw.test")))),
    ("folded_second", b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\r\n other.test\r\n\r\n", BAD),
    ("second_behind_bare_cr", b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\rHost: other.test\r\n\r\n", BAD),
    ("second_behind_bare_lf", b"GET /T0KEN HTTP/1.1\r\nHost: gw.test\nHost: other.test\r\n\r\n", BAD),
    ("space_line_start", b"GET /T0KEN HTTP/1.1\r\n Host: gw.test\r\n\r\n", BAD),
]  # fmt: skip

# RFC 9112 section 3.2: "... or a Host header field with an invalid field value": 400.
MALFORMED = [
    ("space_inside", b"gw .test"),
    ("two_words", b"gw.test other.test"),
    ("tab_inside", b"gw\t.test"),
    ("comma_list", b"gw.test, other.test"),
    ("comma_no_space", b"gw.test,other.test"),
    ("path", b"gw.test/T0KEN"),
    ("query", b"gw.test?x"),
    ("fragment", b"gw.test#x"),
    ("userinfo", b"user@gw.test"),
    ("userinfo_password", b"user:pw@gw.test"),
    ("scheme", b"http://gw.test"),
    ("two_ports", b"gw.test:80:81"),
    ("port_letters", b"gw.test:abc"),
    ("port_mixed", b"gw.test:80a"),
    ("port_negative", b"gw.test:-1"),
    ("port_space", b"gw.test: 80"),
    ("port_only", b":80"),
    ("ipv6_unclosed", b"[::1"),
    ("ipv6_unopened", b"::1]"),
    ("ipv6_bare", b"2001:db8::1"),
    ("ipv6_junk_after", b"[::1]x"),
    ("ipv6_empty", b"[]"),
    ("ipv6_letters", b"[gw.test]"),
    ("backslash", b"gw.test\\other.test"),
    ("quote", b'"gw.test"'),
    ("angle", b"<gw.test>"),
    ("brace", b"{gw.test}"),
    ("pipe", b"gw|test"),
    ("caret", b"gw^test"),
    ("backtick", b"gw`test"),
    ("nul", b"gw\x00.test"),
    ("nul_end", b"gw.test\x00"),
    ("control", b"gw\x01.test"),
    ("vtab_end", b"gw.test\x0b"),
    ("del", b"gw\x7f.test"),
    ("high_byte", b"gw\xe9.test"),
    ("utf8", b"b\xc3\xbccher.test"),
    ("nbsp", b"\xa0gw.test"),
    ("percent_broken", b"gw%zz.test"),
    ("ipv6_zone_raw", b"[fe80::1%eth0]"),
    ("ipv6_two_gaps", b"[1::2::3]"),
    ("ipv6_space", b"[::1 ]"),
    ("port_plus", b"gw.test:+80"),
    ("port_hex", b"gw.test:0x50"),
    ("port_fullwidth", b"gw.test:\xef\xbc\x98"),
    ("asterisk_and_slash", b"*/"),
    ("crlf_encoded_and_space", b"gw.test%0d%0a x"),
    ("empty", b""),
    ("only_spaces", b"   "),
]  # fmt: skip

SOFT: list[Row] = [
    ("port_zero", line(b"gw.test:0"), either(BAD, passed(seen(b"gw.test:0")))),
    ("ipv6_zone", line(b"[fe80::1%25eth0]"), either(BAD, passed(seen(b"[fe80::1%25eth0]")))),
    ("ip_future", line(b"[v1.fe80::a+en1]"), either(BAD, passed(seen(b"[v1.fe80::a+en1]")))),
    ("port_too_large", line(b"gw.test:99999"), BAD),
    ("port_many_digits", line(b"gw.test:000000000000000000080"), BAD),
    ("very_long", line(b"a." * 4000 + b"test"), refused(400, 421, 431)),
    ("http10_without", line(version=b"1.0"), passed(closed=True)),
]  # fmt: skip

CASES: list[Case] = [
    *table("host", "9110 7.2", GOOD),
    *table("host", "9112 3.2", MISSING),
    *table("host", "9112 3.2", [(f"bad_{name}", line(value), BAD) for name, value in MALFORMED]),
    *table("host", "9110 7.2", SOFT, level=ADVISABLE),
]
