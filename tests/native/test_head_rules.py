"""What a head means, case by case. Each request and response goes through both readers: gate, h11, builder
and rules give the verdict; the scanner gives the same or declines. Invariant: no head means two things."""

from __future__ import annotations

from typing import Any

import pytest

from blitz._native import lib
from tests.head import Body, Head
from tests.native import readers

KEEP = lib.BLITZ_HEAD_KEEP_ALIVE
EXPECT = lib.BLITZ_HEAD_EXPECT_CONTINUE
UPGRADE = lib.BLITZ_HEAD_UPGRADE
NAMED = lib.BLITZ_HEAD_NAMED_OPTIONS


def verdict(data: bytes, method: bytes | None) -> dict[str, Any] | str:
    """What both readers say: a refusal by name, or the meaning of the head."""
    judged = readers.judge(data, method)
    for path in readers.PATHS:
        scanned = readers.scan(data, method, path)
        if isinstance(judged, int):
            assert isinstance(scanned, int), (path, scanned)
            assert scanned in (lib.BLITZ_E_DECLINED, judged), (path, readers.name_of(scanned))
        elif isinstance(scanned, Head):
            assert readers.meaning(scanned) == readers.meaning(judged), path
        else:
            assert scanned == lib.BLITZ_E_DECLINED, (path, readers.name_of(scanned))
    return readers.name_of(judged) if isinstance(judged, int) else readers.meaning(judged)


def check(case: str, data: bytes, method: bytes | None, expected: str | dict[str, Any]) -> None:
    found = verdict(data, method)
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected, case
        return
    for key, value in expected.items():
        assert found[key] == value, (case, key)


def framing(body: Body, length: int | None = None) -> dict[str, Any]:
    return {"framing": (body, length)}


def start(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def get(*fields: bytes) -> bytes:
    return start(b"GET / HTTP/1.1", b"Host: a", *fields)


def post(*fields: bytes) -> bytes:
    return start(b"POST / HTTP/1.1", b"Host: a", *fields)


def target(line: bytes, host: bytes = b"a") -> bytes:
    return start(line, b"Host: " + host)


NONE = framing(Body.NONE)
CHUNKED = framing(Body.CHUNKED)
NINETEEN = 9223372036854775807

REQUESTS: list[tuple[str, bytes, str | dict[str, Any]]] = [
    # RFC 9112 section 6: framing.
    ("no body", get(), NONE),
    ("post without framing has no body", post(), NONE),
    ("length", post(b"Content-Length: 5"), framing(Body.LENGTH, 5)),
    ("length 0", post(b"Content-Length: 0"), framing(Body.LENGTH, 0)),
    ("largest length", post(b"Content-Length: %d" % NINETEEN), framing(Body.LENGTH, NINETEEN)),
    ("length over 63 bits", post(b"Content-Length: %d" % (NINETEEN + 1)), "BAD_CONTENT_LENGTH"),
    ("length over 64 bits", post(b"Content-Length: 18446744073709551621"), "BAD_CONTENT_LENGTH"),
    ("length of 21 digits", post(b"Content-Length: 100000000000000000000"), "h11"),
    ("length with plus", post(b"Content-Length: +5"), "h11"),
    ("length with minus", post(b"Content-Length: -5"), "h11"),
    ("length with a space inside", post(b"Content-Length: 1 2"), "h11"),
    ("length in hexadecimal", post(b"Content-Length: 0x5"), "h11"),
    ("length with underscore", post(b"Content-Length: 1_0"), "h11"),
    (
        "length with leading zeros",
        post(b"Content-Length: 0005"),
        {"framing": (Body.LENGTH, 5), "fields": [(b"Host", b"a"), (b"Content-Length", b"5")]},
    ),
    (
        "length of zeros",
        post(b"Content-Length: 00"),
        {"fields": [(b"Host", b"a"), (b"Content-Length", b"0")]},
    ),
    ("length of 20 digits", post(b"Content-Length: 00000000000000000005"), "BAD_CONTENT_LENGTH"),
    ("length with fraction", post(b"Content-Length: 5.0"), "h11"),
    ("empty length", post(b"Content-Length:"), "h11"),
    ("list of equal lengths", post(b"Content-Length: 5, 5"), "E_SYNTAX"),
    ("list of lengths", post(b"Content-Length: 5, 6"), "E_SYNTAX"),
    ("equal lengths twice", post(b"Content-Length: 5", b"content-length: 5"), "E_SYNTAX"),
    ("lengths twice", post(b"Content-Length: 5", b"Content-Length: 6"), "E_SYNTAX"),
    ("arabic digits", post("Content-Length: \u0665".encode()), "h11"),
    ("chunked", post(b"Transfer-Encoding: chunked"), CHUNKED),
    ("chunked in capitals", post(b"TRANSFER-ENCODING: CHUNKED"), CHUNKED),
    ("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked"), "h11"),
    ("chunked, identity", post(b"Transfer-Encoding: chunked, identity"), "h11"),
    ("identity", post(b"Transfer-Encoding: identity"), "h11"),
    ("chunked twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "h11"),
    ("chunked in a list", post(b"Transfer-Encoding: chunked, chunked"), "h11"),
    ("chunked and a comma", post(b"Transfer-Encoding: chunked,"), "h11"),
    ("chunked with parameter", post(b"Transfer-Encoding: chunked;a=b"), "h11"),
    ("xchunked", post(b"Transfer-Encoding: xchunked"), "h11"),
    ("quoted chunked", post(b'Transfer-Encoding: "chunked"'), "h11"),
    ("empty coding", post(b"Transfer-Encoding:"), "h11"),
    ("vertical tab before chunked", post(b"Transfer-Encoding: \x0bchunked"), "E_SYNTAX"),
    ("both", post(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "BAD_FRAMING_BOTH"),
    ("both, the other way", post(b"Transfer-Encoding: chunked", b"Content-Length: 0"), "BAD_FRAMING_BOTH"),
    ("coding in 1.0", start(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), "BAD_TE_IN_10"),
    ("content of GET", get(b"Content-Length: 1"), framing(Body.LENGTH, 1)),
    ("content of GET in 1.0", start(b"GET / HTTP/1.0", b"Content-Length: 1"), "BAD_BODY_METHOD"),
    ("no content of GET in 1.0", start(b"GET / HTTP/1.0", b"Content-Length: 0"), framing(Body.LENGTH, 0)),
    ("content of POST in 1.0", start(b"POST / HTTP/1.0", b"Content-Length: 1"), framing(Body.LENGTH, 1)),
    ("TRACE", target(b"TRACE / HTTP/1.1"), NONE),
    ("content of TRACE", start(b"TRACE / HTTP/1.1", b"Host: a", b"Content-Length: 1"), "BAD_BODY_METHOD"),
    # Look-alikes.
    ("content_length", post(b"Content_Length: 5"), "BAD_FIELD_NAME"),
    ("transfer_encoding", post(b"Transfer_Encoding: chunked"), "BAD_FIELD_NAME"),
    ("transfer.encoding", post(b"transfer.encoding: chunked"), "BAD_FIELD_NAME"),
    ("content-length with a space", post(b"Content-Length : 5"), "h11"),
    ("x_user", get(b"X_User: root", b"X-User: me"), {"fields": [(b"Host", b"a"), (b"X-User", b"me")]}),
    ("x_forwarded_for", get(b"x_forwarded_for: 1"), {"fields": [(b"Host", b"a")]}),
    ("x.forwarded.for", get(b"x.forwarded.for: 1"), {"fields": [(b"Host", b"a")]}),
    ("any token", get(b"!#$%&'*+.^`|~: 1"), {"fields": [(b"Host", b"a"), (b"!#$%&'*+.^`|~", b"1")]}),
    ("_ and another odd byte", get(b"a.b_c: 1", b"x_a!c: 2"), {"fields": [(b"Host", b"a")]}),
    # Versions and methods.
    ("1.0", start(b"GET / HTTP/1.0"), {"version": b"1.0", "flags": 0, "host": b""}),
    ("1.2", target(b"GET / HTTP/1.2"), {"version": b"1.2", "flags": KEEP}),
    ("1.9 without host", start(b"GET / HTTP/1.9"), "BAD_HOST_MISSING"),
    ("2.0", target(b"GET / HTTP/2.0"), "BAD_VERSION"),
    ("0.9 with a version", target(b"GET / HTTP/0.9"), "BAD_VERSION"),
    ("1.10", target(b"GET / HTTP/1.10"), "h11"),
    ("http in lower case", target(b"GET / http/1.1"), "h11"),
    ("no version", target(b"GET /"), "h11"),
    ("preface of HTTP/2", start(b"PRI * HTTP/2.0"), "BAD_VERSION"),
    ("preface as 1.1", target(b"PRI * HTTP/1.1"), "BAD_H2C"),
    ("lower-case method", target(b"get / HTTP/1.1"), "BAD_METHOD"),
    ("method with a digit", target(b"GET1 / HTTP/1.1"), "BAD_METHOD"),
    ("extension method", target(b"M-SEARCH / HTTP/1.1"), {"start": (b"M-SEARCH", b"/", 0, b"")}),
    ("CONNECT", target(b"CONNECT a:443 HTTP/1.1", b"a:443"), "BAD_METHOD_CONNECT"),
    ("CONNECT with a path", target(b"CONNECT / HTTP/1.1"), "BAD_METHOD_CONNECT"),
    ("two spaces", target(b"GET  / HTTP/1.1"), "h11"),
    ("space in target", target(b"GET /a b HTTP/1.1"), "h11"),
    ("tab", target(b"GET\t/ HTTP/1.1"), "h11"),
    ("space behind the version", target(b"GET / HTTP/1.1 "), "h11"),
    ("space before the method", b" " + get(), "E_SYNTAX"),
    ("empty line first", b"\r\n" + get(), "E_SYNTAX"),
    # RFC 9112 section 3.2: targets.
    (
        "query",
        target(b"GET /?a=%zz&b={1}|^\\`[] HTTP/1.1"),
        {"start": (b"GET", b"/?a=%zz&b={1}|^\\`[]", 0, b"")},
    ),
    ("path", target(b"GET /a;b=c/:@!$&'()*+,=-._~%2F|^[] HTTP/1.1"), NONE),
    ("fragment", target(b"GET /a#b HTTP/1.1"), "BAD_TARGET"),
    ("fragment in query", target(b"GET /?a#b HTTP/1.1"), "BAD_TARGET"),
    ("quote", target(b'GET /"a HTTP/1.1'), "BAD_TARGET"),
    ("angle", target(b"GET /?<a> HTTP/1.1"), "BAD_TARGET"),
    ("backslash in path", target(b"GET /a\\b HTTP/1.1"), "BAD_TARGET"),
    ("brace in path", target(b"GET /{a} HTTP/1.1"), "BAD_TARGET"),
    ("NUL, encoded", target(b"GET /a%00 HTTP/1.1"), "BAD_TARGET"),
    ("half an escape", target(b"GET /a%4 HTTP/1.1"), "BAD_TARGET"),
    ("bad escape", target(b"GET /a%zz HTTP/1.1"), "BAD_TARGET"),
    ("obs-text", target(b"GET /\xc3\xa9 HTTP/1.1"), "h11"),
    ("no slash", target(b"GET a HTTP/1.1"), "BAD_TARGET"),
    ("query without slash", target(b"GET ?a HTTP/1.1"), "BAD_TARGET"),
    ("asterisk", target(b"OPTIONS * HTTP/1.1"), {"start": (b"OPTIONS", b"*", 0, b"")}),
    ("asterisk for GET", target(b"GET * HTTP/1.1"), "BAD_TARGET"),
    ("absolute", target(b"GET http://a/b?c HTTP/1.1"), {"start": (b"GET", b"/b?c", 0, b""), "host": b"a"}),
    ("absolute, default port", target(b"GET HTTP://A:80/ HTTP/1.1"), {"start": (b"GET", b"/", 0, b"")}),
    ("absolute, https port", target(b"GET https://a/ HTTP/1.1", b"a:443"), {"host": b"a:443"}),
    ("absolute, other scheme's port", target(b"GET http://a/ HTTP/1.1", b"a:443"), "BAD_TARGET_HOST"),
    ("absolute without path", target(b"GET http://a HTTP/1.1"), {"start": (b"GET", b"/", 0, b"")}),
    ("absolute, query only", target(b"GET http://a?b HTTP/1.1"), {"start": (b"GET", b"/?b", 0, b"")}),
    ("absolute, OPTIONS", target(b"OPTIONS http://a HTTP/1.1"), {"start": (b"OPTIONS", b"*", 0, b"")}),
    ("absolute, other host", target(b"GET http://b/ HTTP/1.1"), "BAD_TARGET_HOST"),
    ("absolute, other port", target(b"GET http://a:81/ HTTP/1.1"), "BAD_TARGET_HOST"),
    ("absolute, longer host", target(b"GET http://a.b/ HTTP/1.1"), "BAD_TARGET_HOST"),
    ("absolute with user", target(b"GET http://u@a/ HTTP/1.1"), "BAD_TARGET"),
    ("absolute without authority", target(b"GET http:///a HTTP/1.1"), "BAD_TARGET"),
    ("absolute with fragment", target(b"GET http://a/#b HTTP/1.1"), "BAD_TARGET"),
    ("absolute with bad path", target(b"GET http://a/\\ HTTP/1.1"), "BAD_TARGET"),
    ("other scheme", target(b"GET ftp://a/ HTTP/1.1"), "BAD_TARGET"),
    (
        "absolute in 1.0 brings its host",
        start(b"GET http://a:8/b HTTP/1.0"),
        {"host": b"a:8", "fields": [(b"Host", b"a:8")], "start": (b"GET", b"/b", 0, b"")},
    ),
    # Host.
    ("no host", start(b"GET / HTTP/1.1"), "h11"),
    ("two hosts", get(b"Host: a"), "h11"),
    ("two hosts in 1.0", start(b"GET / HTTP/1.0", b"Host: a", b"Host: a"), "h11"),
    ("empty host", target(b"GET / HTTP/1.1", b""), "BAD_HOST_SYNTAX"),
    ("host as IPv4", target(b"GET / HTTP/1.1", b"127.0.0.1:8080"), {"host": b"127.0.0.1:8080"}),
    ("host as IPv6", target(b"GET / HTTP/1.1", b"[::1]:80"), {"host": b"[::1]:80"}),
    ("host as full IPv6", target(b"GET / HTTP/1.1", b"[1:2:3:4:5:6:7:8]"), NONE),
    ("host as IPv6 with IPv4", target(b"GET / HTTP/1.1", b"[::ffff:1.2.3.4]"), NONE),
    ("host with underscore", target(b"GET / HTTP/1.1", b"my_app.local."), {"host": b"my_app.local."}),
    ("empty port", target(b"GET / HTTP/1.1", b"a:"), {"host": b"a:"}),
    ("empty port is the default", target(b"GET http://a:/ HTTP/1.1", b"a:80"), NONE),
    ("colon alone", target(b"GET / HTTP/1.1", b":"), "BAD_HOST_SYNTAX"),
    ("port 0", target(b"GET / HTTP/1.1", b"a:0"), NONE),
    ("port 65535", target(b"GET / HTTP/1.1", b"a:65535"), NONE),
    *(
        (f"host {host!r}", target(b"GET / HTTP/1.1", host), "BAD_HOST_SYNTAX")
        for host in (
            b"a:65536",
            b"a:x",
            b"a:8 0",
            b"a:-1",
            b"a:+1",
            b"a:000080",
            b":80",
            b"a,b",
            b"a b",
            b"a/b",
            b"a?b",
            b"a#b",
            b"u@a",
            b"a\\b",
            b"a%00b",
            b"%61",
            b"a..b",
            b".a",
            b".",
            b"http://a",
            b"a:80:80",
            b"[::1",
            b"::1",
            b"[::1]a",
            b"[]",
            b"[1]",
            b"[:::]",
            b"[1:2:3:4:5:6:7:8:9]",
            b"[1::2::3]",
            b"[12345::]",
            b"[::1.2.3]",
            b"[::1.2.3.256]",
            b"[::01.2.3.4]",
            b"[v1.a]",
            b"[fe80::1%25eth0]",
            b"[1:2:3:4:5:6:7::8]",
            b"\xe9",
            b"a;b",
            b"a\tb",
            b"a'b",
            b'"a"',
            b"<a>",
            b"x" * 256,
        )
    ),
    ("host of 255 bytes", target(b"GET / HTTP/1.1", b"x" * 255), NONE),
    ("one group as ::", target(b"GET / HTTP/1.1", b"[1:2:3:4:5:6::8]"), NONE),
    # Connection.
    ("1.1 lasts", get(), {"flags": KEEP}),
    ("close", get(b"Connection: close"), {"flags": 0}),
    ("Close in a list", get(b"Connection: x-a , CLOSE"), {"flags": NAMED}),
    ("close in the second field", get(b"Connection: te", b"Connection: close"), {"flags": 0}),
    ("closed is not close", get(b"Connection: closed"), {"flags": KEEP | NAMED}),
    ("empty elements", get(b"Connection: , ,close,"), {"flags": 0}),
    ("1.0 with keep-alive", start(b"GET / HTTP/1.0", b"Connection: keep-alive"), {"flags": KEEP}),
    ("1.0 with both", start(b"GET / HTTP/1.0", b"Connection: keep-alive, close"), {"flags": 0}),
    (
        "named fields leave, and so do their names",
        get(b"X-A: 1", b"Connection: keep-alive, X-a, x-none", b"X-B: 2"),
        {"fields": [(b"Host", b"a"), (b"Connection", b"keep-alive"), (b"X-B", b"2")], "flags": KEEP | NAMED},
    ),
    (
        "framing, Host and forwarding fields stay",
        post(
            b"Content-Length: 5", b"X-Forwarded-For: b", b"Connection: host, content-length, X-Forwarded-For"
        ),
        {
            "fields": [
                (b"Host", b"a"),
                (b"Content-Length", b"5"),
                (b"X-Forwarded-For", b"b"),
                (b"Connection", b"host, content-length, X-Forwarded-For"),
            ],
            "framing": (Body.LENGTH, 5),
        },
    ),
    ("no token", get(b"Connection: close; a"), "BAD_CONNECTION"),
    ("two words", get(b"Connection: close keep-alive"), "BAD_CONNECTION"),
    ("ten names", get(b"Connection: " + b", ".join(b"x%d" % i for i in range(10))), {"flags": KEEP | NAMED}),
    ("eleven names", get(b"Connection: " + b", ".join(b"x%d" % i for i in range(11))), "BAD_CONNECTION_MANY"),
    # Singletons.
    ("two Authorization", get(b"Authorization: a", b"authorization: b"), "BAD_DUPLICATE"),
    ("two Content-Type", get(b"Content-Type: a", b"Content-Type: a"), "BAD_DUPLICATE"),
    ("two Range", get(b"Range: a", b"Range: b"), "BAD_DUPLICATE"),
    ("two Cookie", get(b"Cookie: a", b"Cookie: b"), NONE),
    # Expect.
    ("expect", post(b"Content-Length: 1", b"Expect: 100-Continue"), {"flags": KEEP | EXPECT}),
    (
        "expect without content",
        post(b"Expect: 100-continue"),
        {"flags": KEEP, "fields": [(b"Host", b"a")]},
    ),
    ("expect something", post(b"Content-Length: 1", b"Expect: 200-ok"), "BAD_EXPECT"),
    ("expect twice", post(b"Expect: 100-continue", b"Expect: 100-continue"), "BAD_EXPECT"),
    ("expect a list", post(b"Expect: 100-continue, a"), "BAD_EXPECT"),
    (
        "expect in 1.0",
        start(b"POST / HTTP/1.0", b"Content-Length: 1", b"Expect: anything"),
        {"flags": 0, "fields": [(b"Content-Length", b"1")]},
    ),
    # Upgrade.
    ("websocket", get(b"Connection: Upgrade", b"Upgrade: WebSocket"), {"flags": KEEP | UPGRADE}),
    ("upgrade with version", get(b"Connection: Upgrade", b"Upgrade: IRC/6.9"), {"flags": KEEP | UPGRADE}),
    ("upgrade not named", get(b"Upgrade: websocket"), {"flags": KEEP}),
    ("upgrade named, not there", get(b"Connection: upgrade"), {"flags": KEEP}),
    (
        "h2c",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        {"flags": KEEP | NAMED},
    ),
    ("h2c among others", get(b"Connection: upgrade", b"Upgrade: websocket, h2c"), {"flags": KEEP}),
    ("HTTP/2.0", get(b"Connection: upgrade", b"Upgrade: HTTP/2.0"), {"flags": KEEP}),
    ("two protocols", get(b"Connection: upgrade", b"Upgrade: a, b"), {"flags": KEEP}),
    ("two upgrades", get(b"Connection: upgrade", b"Upgrade: a", b"Upgrade: a"), {"flags": KEEP}),
    ("upgrade of no token", get(b"Connection: upgrade", b"Upgrade: a b"), "BAD_UPGRADE"),
    (
        "upgrade with content",
        post(b"Connection: upgrade", b"Upgrade: a", b"Content-Length: 1"),
        {"flags": KEEP},
    ),
    (
        "upgrade with a length of 0",
        get(b"Connection: upgrade", b"Upgrade: a", b"Content-Length: 0"),
        {"flags": KEEP | UPGRADE},
    ),
    (
        "upgrade with a length of 000",
        post(b"Connection: upgrade", b"Upgrade: a", b"Content-Length: 000"),
        {"flags": KEEP | UPGRADE},
    ),
    (
        "upgrade with chunks, how many it cannot know",
        post(b"Connection: upgrade", b"Upgrade: a", b"Transfer-Encoding: chunked"),
        {"flags": KEEP},
    ),
    (
        "upgrade in 1.0",
        start(b"GET / HTTP/1.0", b"Connection: upgrade, keep-alive", b"Upgrade: a"),
        {"flags": KEEP},
    ),
    # Field lines.
    ("obs-fold", get(b"X: a", b" b"), "E_SYNTAX"),
    ("obs-fold by tab", get(b"X: a", b"\tb"), "E_SYNTAX"),
    ("no colon", get(b"X"), "h11"),
    ("no name", get(b": a"), "h11"),
    ("space in name", get(b"X Y: a"), "h11"),
    ("space before colon", get(b"X : a"), "h11"),
    ("bare LF", get(b"X: a\nY: b"), "E_SYNTAX"),
    ("bare CR", get(b"X: a\rY: b"), "E_SYNTAX"),
    ("LF alone", b"GET / HTTP/1.1\nHost: a\n\n", "E_SYNTAX"),
    ("NUL in value", get(b"X: a\0"), "E_SYNTAX"),
    ("DEL in value", get(b"X: a\x7f"), "E_SYNTAX"),
    ("control in value", get(b"X: a\x01b"), "E_SYNTAX"),
    ("obs-text in name", get(b"X\xe9: a"), "h11"),
    ("obs-text in value", get(b"X: \xe9\x80\xff"), {"fields": [(b"Host", b"a"), (b"X", b"\xe9\x80\xff")]}),
    ("whitespace around a value", get(b"X:\t a \tb \t"), {"fields": [(b"Host", b"a"), (b"X", b"a \tb")]}),
    ("no space", get(b"X:a"), {"fields": [(b"Host", b"a"), (b"X", b"a")]}),
    ("empty value", get(b"X:", b"Y: "), {"fields": [(b"Host", b"a"), (b"X", b""), (b"Y", b"")]}),
    ("incomplete", get()[:-1], "0"),
]


@pytest.mark.parametrize(("case", "data", "expected"), [pytest.param(*row, id=row[0]) for row in REQUESTS])
def test_request(case: str, data: bytes, expected: str | dict[str, Any]) -> None:
    check(case, data, None, expected)


def answer(*fields: bytes, status: bytes = b"200 OK", version: bytes = b"HTTP/1.1") -> bytes:
    return start(version + b" " + status, *fields)


RESPONSES: list[tuple[str, bytes, bytes, str | dict[str, Any]]] = [
    ("by close", b"GET", answer(), framing(Body.CLOSE) | {"flags": 0}),
    ("by length", b"GET", answer(b"Content-Length: 3"), framing(Body.LENGTH, 3) | {"flags": KEEP}),
    ("chunked", b"GET", answer(b"Transfer-Encoding: Chunked"), CHUNKED | {"flags": KEEP}),
    ("close", b"GET", answer(b"Content-Length: 0", b"Connection: close"), {"flags": 0}),
    ("both", b"GET", answer(b"Transfer-Encoding: chunked", b"Content-Length: 3"), "BAD_FRAMING_BOTH"),
    ("lengths", b"GET", answer(b"Content-Length: 3", b"Content-Length: 3"), "E_SYNTAX"),
    ("gzip", b"GET", answer(b"Transfer-Encoding: gzip"), "h11"),
    ("coding in 1.0", b"GET", answer(b"Transfer-Encoding: chunked", version=b"HTTP/1.0"), "BAD_TE_IN_10"),
    ("1.0", b"GET", answer(b"Content-Length: 0", version=b"HTTP/1.0"), {"flags": 0, "version": b"1.0"}),
    (
        "1.0 that lasts",
        b"GET",
        answer(b"Content-Length: 0", b"Connection: Keep-Alive", version=b"HTTP/1.0"),
        {"flags": KEEP},
    ),
    ("2.0", b"GET", answer(version=b"HTTP/2.0"), "BAD_VERSION"),
    ("to HEAD", b"HEAD", answer(b"Content-Length: 3"), NONE | {"flags": KEEP}),
    ("to HEAD, chunked", b"HEAD", answer(b"Transfer-Encoding: chunked"), NONE | {"flags": KEEP}),
    ("to HEAD, bad length", b"HEAD", answer(b"Content-Length: x"), "h11"),
    ("204", b"GET", answer(status=b"204 No Content"), NONE | {"flags": KEEP}),
    ("204 with length", b"GET", answer(b"Content-Length: 5", status=b"204 No"), NONE | {"flags": 0}),
    ("304 with length", b"GET", answer(b"Content-Length: 5", status=b"304 Same"), NONE | {"flags": KEEP}),
    ("100", b"GET", answer(status=b"100 Continue"), NONE | {"flags": KEEP}),
    ("100 with coding", b"GET", answer(b"Transfer-Encoding: chunked", status=b"103 X"), NONE | {"flags": 0}),
    (
        "101",
        b"GET",
        answer(b"Connection: upgrade", b"Upgrade: websocket", status=b"101 Switching"),
        NONE | {"flags": KEEP | UPGRADE},
    ),
    ("101 without upgrade", b"GET", answer(status=b"101 Switching"), "BAD_UPGRADE"),
    (
        "101 to h2c",
        b"GET",
        answer(b"Connection: upgrade", b"Upgrade: h2c", status=b"101 S"),
        "BAD_UPGRADE",
    ),
    ("1.2", b"GET", answer(b"Content-Length: 0", version=b"HTTP/1.2"), {"flags": KEEP, "version": b"1.2"}),
    ("status 099", b"GET", answer(status=b"099 Low"), "h11"),
    ("status 600", b"GET", answer(b"Content-Length: 0", status=b"600 High"), "BAD_STATUS"),
    ("status 999", b"GET", answer(status=b"999 High"), "BAD_STATUS"),
    ("status of 4 digits", b"GET", answer(status=b"2000 OK"), "h11"),
    ("status of 2 digits", b"GET", answer(status=b"20 OK"), "h11"),
    ("no reason", b"GET", answer(status=b"200 "), {"start": (b"", b"", 200, b"")}),
    ("no reason, no space", b"GET", answer(status=b"200"), {"start": (b"", b"", 200, b"")}),
    ("reason with spaces around", b"GET", answer(status=b"200  OK "), {"start": (b"", b"", 200, b"OK")}),
    ("reason with obs-text", b"GET", answer(status=b"200 \xe9\t!"), {"start": (b"", b"", 200, b"\xe9\t!")}),
    ("reason with control", b"GET", answer(status=b"200 \x01"), "E_SYNTAX"),
    ("named fields", b"GET", answer(b"X: 1", b"Connection: x"), {"fields": [], "flags": NAMED}),
    ("content_length", b"GET", answer(b"Content_Length: 3"), "BAD_FIELD_NAME"),
    ("underscores pass", b"GET", answer(b"X_Y: 3"), {"fields": [(b"X_Y", b"3")]}),
    ("two Content-Type pass", b"GET", answer(b"Content-Type: a", b"Content-Type: b"), framing(Body.CLOSE)),
    ("space before colon", b"GET", answer(b"X : a"), "h11"),
    ("obs-fold", b"GET", answer(b"X: a", b" b"), "E_SYNTAX"),
    ("NUL", b"GET", answer(b"X: a\0b"), "E_SYNTAX"),
]


@pytest.mark.parametrize(
    ("case", "method", "data", "expected"), [pytest.param(*row, id=row[0]) for row in RESPONSES]
)
def test_response(case: str, method: bytes, data: bytes, expected: str | dict[str, Any]) -> None:
    check(case, data, method, expected)


# What the builder lets in and h11 would not: the rules stand on their own.
BUILT: list[tuple[str, list[tuple[bytes, bytes]], str]] = [
    ("no host", [], "BAD_HOST_MISSING"),
    ("two hosts", [(b"Host", b"a"), (b"host", b"a")], "BAD_HOST_MANY"),
    (
        "lengths",
        [(b"Host", b"a"), (b"Content-Length", b"5"), (b"content-length", b"5")],
        "BAD_CONTENT_LENGTH",
    ),
    ("list of lengths", [(b"Host", b"a"), (b"Content-Length", b"5,5")], "BAD_CONTENT_LENGTH"),
    ("empty length", [(b"Host", b"a"), (b"Content-Length", b"")], "BAD_CONTENT_LENGTH"),
    ("signed length", [(b"Host", b"a"), (b"Content-Length", b"+5")], "BAD_CONTENT_LENGTH"),
    ("long length", [(b"Host", b"a"), (b"Content-Length", b"9" * 19)], "BAD_CONTENT_LENGTH"),
    ("longer length", [(b"Host", b"a"), (b"Content-Length", b"1" * 20)], "BAD_CONTENT_LENGTH"),
    ("identity", [(b"Host", b"a"), (b"Transfer-Encoding", b"identity")], "BAD_TRANSFER_ENCODING"),
    (
        "two codings",
        [(b"Host", b"a"), (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        "BAD_TRANSFER_ENCODING",
    ),
    ("list of codings", [(b"Host", b"a"), (b"Transfer-Encoding", b"gzip, chunked")], "BAD_TRANSFER_ENCODING"),
]


@pytest.mark.parametrize(("case", "fields", "expected"), [pytest.param(*row, id=row[0]) for row in BUILT])
def test_built_request(case: str, fields: list[tuple[bytes, bytes]], expected: str) -> None:
    assert readers.name_of(Head.request(b"POST", b"/", fields).check()) == expected


def test_answer_to_connect_is_refused() -> None:
    assert readers.name_of(Head.response(200).check(b"CONNECT")) == "BAD_METHOD_CONNECT"


def test_a_second_check_takes_out_nothing_that_was_added_since() -> None:
    head = Head.request(
        b"GET", b"/", [(b"Host", b"a"), (b"X-User", b"root"), (b"Connection", b"close, x-user")]
    )
    assert head.check() == 0
    assert head.fields() == [(b"Host", b"a"), (b"Connection", b"close")]
    head.add(b"X-User", b"me")
    assert head.check() == 0
    assert head.fields() == [(b"Host", b"a"), (b"Connection", b"close"), (b"X-User", b"me")]
    assert not head.keep_alive


def test_a_full_table_that_gets_its_host_from_the_target() -> None:
    fields = [(b"n%d" % i, b"") for i in range(253)]
    fields += [(b"gone", b""), (b"Connection", b"gone"), (b"Expect", b"100-continue")]
    head = Head.request(b"POST", b"http://a/", fields, minor=0)
    assert head.check() == 0
    assert head.get(b"host") == b"a"
    assert head.get(b"expect") is None
    head = Head.request(b"GET", b"http://a/", [(b"n%d" % i, b"") for i in range(256)], minor=0)
    assert readers.name_of(head.check()) == "E_LIMIT"
