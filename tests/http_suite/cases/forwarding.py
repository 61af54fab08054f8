"""What an intermediary adds and takes away (RFC 9110 sections 7.6 and 10.1.4, RFC 9111 section 3.1)."""

from __future__ import annotations

from ..case import ADVISABLE, Case, Observation, Seen
from .make import CHUNKED, HOST, Row, chunks, either, get, lines, passed, post, refused, table


def without(*names: bytes, **more: object) -> Seen:
    return Seen(lacks=names)


UP: list[Row] = [
    ("connection_named_field", get(lines(b"Connection: X-A", b"X-A: b")), passed(without(b"x-a"))),
    ("connection_named_case", get(lines(b"Connection: x-a", b"X-A: b")), passed(without(b"x-a"))),
    ("connection_named_behind", get(lines(b"X-A: b", b"Connection: X-A")), passed(without(b"x-a"))),
    ("connection_named_in_list", get(lines(b"Connection: keep-alive, X-A ,X-B", b"X-A: b", b"X-B: c", b"X-C: d")),
     passed(Seen(lacks=(b"x-a", b"x-b"), has=((b"x-c", b"d"),)))),
    ("connection_named_second_line", get(lines(b"Connection: keep-alive", b"Connection: X-A", b"X-A: b")), passed(without(b"x-a"))),
    ("connection_named_twice_present", get(lines(b"Connection: X-A", b"X-A: b", b"X-A: c")), passed(without(b"x-a"))),
    ("connection_named_empty_members", get(lines(b"Connection: ,, X-A,,", b"X-A: b")), passed(without(b"x-a"))),
    ("connection_named_without_space", get(lines(b"Connection:X-A,X-B", b"X-A: b", b"X-B: c")), passed(without(b"x-a", b"x-b"))),
    ("connection_names_itself", get(lines(b"Connection: connection, X-A", b"X-A: b")), passed(without(b"x-a"))),
    ("connection_names_absent", get(b"Connection: X-Nowhere\r\n"), passed()),
    ("connection_option_not_passed", get(b"Connection: x-secret-option\r\n"), passed(never_up=(b"x-secret-option",))),
    ("keep_alive_field", get(lines(b"Connection: keep-alive", b"Keep-Alive: timeout=5, max=10")), passed(without(b"keep-alive"))),
    ("keep_alive_field_unnamed", get(b"Keep-Alive: timeout=5\r\n"), passed(without(b"keep-alive"))),
    ("proxy_connection", get(b"Proxy-Connection: keep-alive\r\n"), passed(without(b"proxy-connection"))),
    ("te_unnamed", get(b"TE: trailers, deflate\r\n"), either(passed(without(b"te")))),
    ("te_named", get(lines(b"Connection: TE", b"TE: trailers")), passed()),
    ("te_gzip_named", get(lines(b"Connection: te", b"TE: gzip;q=0.5")), passed(without(b"te"))),
    ("upgrade_unnamed", get(b"Upgrade: websocket\r\n"), passed(without(b"upgrade"))),
    ("named_but_must_stay_host", get(b"Connection: Host\r\n"), either(passed(Seen(hosts=(b"gw.test",))), refused())),
    ("named_but_must_stay_content_length", post(lines(b"Connection: Content-Length", b"Content-Length: 2"), b"ab"), either(passed(Seen(b"POST", body=b"ab")), refused())),
    ("connection_quoted_string", get(lines(b'Connection: "X-A"', b"X-A: b")), either(passed(), refused())),
    ("connection_with_nul", get(b"Connection: clo\x00se\r\n"), refused()),
    ("cache_control_passes", get(b"Cache-Control: no-cache\r\n"), passed(Seen(has=((b"cache-control", b"no-cache"),)))),
    ("connection_names_cache_control", get(lines(b"Connection: Cache-Control", b"Cache-Control: no-store")), either(passed(without(b"cache-control")), refused())),
    ("connection_names_cookie", get(lines(b"Connection: close, cookie", b"Cookie: a=b")), either(passed(without(b"cookie"), closed=True), refused())),
    ("body_field_survives", post(lines(b"Content-Length: 2", b"Content-Type: a/b"), b"ab"), passed(Seen(b"POST", body=b"ab", has=((b"content-type", b"a/b"),)))),
    ("no_body_framing_invented_for_get", get(), passed(Seen(lacks=(b"transfer-encoding",)))),
    ("conditional_passes", get(lines(b'If-None-Match: "a", W/"b"', b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT")),
     passed(Seen(has=((b"if-none-match", b'"a", W/"b"'),)))),
]  # fmt: skip


def response(*each: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + lines(*each, b"Content-Length: 2") + b"\r\nok"


DOWN: list[Row] = [
    ("down_connection_named_field", get(), passed(lacks=(b"x-a",)), response(b"Connection: X-A", b"X-A: b")),
    ("down_connection_named_list", get(), passed(lacks=(b"x-a", b"x-b"), has=((b"x-c", b"d"),)), response(b"Connection: keep-alive, x-a", b"X-A: b", b"X-B: c", b"connection: X-B", b"X-C: d")),
    ("down_keep_alive_field", get(), passed(lacks=(b"keep-alive",)), response(b"Connection: keep-alive", b"Keep-Alive: timeout=5")),
    ("down_keep_alive_unnamed", get(), passed(lacks=(b"keep-alive",)), response(b"Keep-Alive: timeout=5")),
    ("down_proxy_connection", get(), passed(lacks=(b"proxy-connection",)), response(b"Proxy-Connection: keep-alive")),
    ("down_upgrade_unnamed", get(), passed(), response(b"Upgrade: h2c")),
    ("down_upgrade_h2c_named", get(), passed(lacks=(b"upgrade",)), response(b"Connection: Upgrade", b"Upgrade: h2,h2c")),
    ("down_named_must_stay_content_length", get(), passed(body=b"ok"), response(b"Connection: content-length")),
    ("down_set_cookie_lines_kept", get(), passed(check=lambda seen: [] if [each.get(b"set-cookie") for each in seen.final] == [[b"a=1, x", b"b=2"]] else ["Set-Cookie lines were joined or lost"]), response(b"Set-Cookie: a=1, x", b"Set-Cookie: b=2")),
    ("down_www_authenticate_passes", get(), passed(has=((b"www-authenticate", b'Basic realm="a, b"'),)), response(b'WWW-Authenticate: Basic realm="a, b"')),
    ("down_date_kept", get(), passed(has=((b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),)), response(b"Date: Sun, 06 Nov 1994 08:49:37 GMT")),
    ("down_etag_passes", get(), passed(has=((b"etag", b'W/"a\xe9"'),)), response(b'ETag: W/"a\xe9"')),
    ("down_content_encoding_untouched", get(), passed(body=b"ok", has=((b"content-encoding", b"gzip"),)), response(b"Content-Encoding: gzip")),
    ("down_reason_kept_or_replaced", get(), passed(status=299), b"HTTP/1.1 299 Odd Reason\r\nContent-Length: 2\r\n\r\nok"),
]  # fmt: skip


def via(*ends: bytes) -> object:
    """The upstream's Via must end with our entry behind these."""

    def check(seen: Observation) -> list[str]:
        for arrival in seen.arrivals:
            entries = [
                part.strip() for part in b",".join(arrival.request.get(b"via")).split(b",") if part.strip()
            ]
            if entries[: len(ends)] != list(ends) or len(entries) != len(ends) + 1:
                return [f"Via to the upstream is {entries!r}, expected one entry behind {list(ends)!r}"]
        return []

    return check


def dated(seen: Observation) -> list[str]:
    values = seen.final[-1].get(b"date") if seen.final else []
    return (
        []
        if len(values) == 1 and values[0].endswith(b" GMT") and len(values[0]) == 29
        else [f"Date is {values!r}"]
    )


# Demanded by the RFC in so many words, ignored by most gateways.
EXPLICIT: list[Row] = [
    ("via_added", get(), passed(check=via())),
    ("via_appended", get(b"Via: 1.0 first, 1.1 second\r\n"), passed(check=via(b"1.0 first", b"1.1 second"))),
    ("via_of_http10", b"GET /T0KEN HTTP/1.0\r\n" + HOST + b"\r\n", passed(closed=True, check=lambda seen: [] if seen.arrivals and seen.arrivals[0].request.get(b"via")[:1] and seen.arrivals[0].request.get(b"via")[0].startswith(b"1.0 ") else ["Via does not say that 1.0 was received"])),
    ("date_added_to_answer_without", get(), passed(check=dated), response(b"X-A: b")),
    ("date_on_refusal", b"GET /T0KEN HTTP/1.1\r\n\r\n", refused(check=dated)),
]  # fmt: skip

CASES: list[Case] = [
    *table("forwarding", "9110 7.6.1", UP),
    *table("forwarding", "9110 7.6.1", DOWN),
    *table("forwarding", "9110 7.6.3", EXPLICIT),
    *table(
        "forwarding",
        "9110 7.6.3",
        [
            (
                "trailer_field_unannounced_body",
                post(CHUNKED + b"Trailer: X-T\r\n", chunks(b"ab")),
                passed(Seen(b"POST", body=b"ab")),
            ),
            (
                "proxy_authorization_not_passed",
                get(b"Proxy-Authorization: Basic eDp5\r\n"),
                passed(without(b"proxy-authorization")),
            ),
        ],
        level=ADVISABLE,
    ),
]
