"""Persistence (RFC 9112 section 9): who closes when, HTTP/1.0 clients, pipelines."""

from __future__ import annotations

from ..case import ADVISABLE, Await, Byte, Case, Expect, Observation, Pause, Script, Seen
from .make import CHUNKED, HOST, Row, chunks, either, get, lines, passed, post, refused, table

SAYS_CLOSE = ((b"connection", b"close"),)
CLOSED = passed(closed=True)
KEPT = passed(closed=False)


def old(fields: bytes = b"", host: bytes = HOST) -> bytes:
    return b"GET /T0KEN HTTP/1.0\r\n" + host + fields + b"\r\n"


def announced(seen: Observation) -> list[str]:
    last = seen.final[-1] if seen.final else None
    return (
        []
        if last and b"close" in last.tokens(b"connection")
        else ["the last response does not say Connection: close"]
    )


def not_chunked(seen: Observation) -> list[str]:
    return (
        ["chunked answer to an HTTP/1.0 client"] if seen.final and seen.final[-1].framing == "chunked" else []
    )


def says_keep_alive(seen: Observation) -> list[str]:
    return (
        []
        if seen.final and b"keep-alive" in seen.final[-1].tokens(b"connection")
        else ["no Connection: keep-alive to a 1.0 client"]
    )


PERSIST: list[Row] = [
    ("http11_kept", get(), KEPT),
    ("http11_keep_alive_kept", get(b"Connection: keep-alive\r\n"), KEPT),
    ("http11_close", get(b"Connection: close\r\n"), passed(closed=True, check=announced)),
    ("http11_close_case", get(b"connection: CLOSE\r\n"), CLOSED),
    ("http11_close_in_list", get(b"Connection: x-a, close\r\n"), CLOSED),
    ("http11_close_in_second_line", get(lines(b"Connection: x-a", b"Connection: close")), CLOSED),
    ("http11_close_and_keep_alive", get(b"Connection: keep-alive, close\r\n"), CLOSED),
    ("http11_close_with_body", post(b"Connection: close\r\nContent-Length: 2\r\n", b"ab"), passed(Seen(b"POST", body=b"ab"), closed=True)),
    ("http11_option_that_contains_close", get(b"Connection: closed, x-close\r\n"), KEPT),
    ("http11_empty_connection", get(b"Connection: \r\n"), KEPT),
    ("http11_connection_of_commas", get(b"Connection: ,, ,\r\n"), KEPT),
    ("http11_proxy_connection_means_nothing", get(b"Proxy-Connection: close\r\n"), either(KEPT, CLOSED)),
    ("http10_closes", old(), CLOSED),
    ("http10_keep_alive_kept", old(b"Connection: keep-alive\r\n"), passed(closed=False, check=says_keep_alive)),
    ("http10_keep_alive_case", old(b"connection: Keep-Alive\r\n"), KEPT),
    ("http10_close_wins", old(b"Connection: keep-alive, close\r\n"), CLOSED),
    ("http10_proxy_connection_means_nothing", old(b"Proxy-Connection: keep-alive\r\n"), either(CLOSED)),
    ("http10_never_chunked", old(), passed(closed=True, body=b"hello", check=not_chunked), b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + chunks(b"hel", b"lo")),
    ("http10_keep_alive_never_chunked", old(b"Connection: keep-alive\r\n"), passed(closed=None, body=b"hello", check=not_chunked), b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + chunks(b"hello")),
    ("http10_post", b"POST /T0KEN HTTP/1.0\r\n" + HOST + b"Content-Length: 2\r\n\r\nab", passed(Seen(b"POST", body=b"ab"), closed=True)),
    ("http10_behind_request_ignored", old() + get(target=b"/T0KEN/smuggled"), CLOSED),
    ("http11_behind_close_ignored", get(b"Connection: close\r\n") + get(target=b"/T0KEN/smuggled"), CLOSED),
    ("upstream_close_does_not_close_client", get(), KEPT, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
    ("upstream_10_does_not_close_client", get(), KEPT, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("crlf_between_requests", (get(), Await(), b"\r\n" + get(target=b"/T0KEN/two")), passed(Seen(), Seen(target=b"/T0KEN/two")), {"methods": (b"GET", b"GET"), "answers": 2}),
    ("garbage_between_requests", (get(), Await(), b"\x00\x01garbage\r\n\r\n"), Expect(statuses=(frozenset({200}), frozenset({400})), seen=(Seen(),), closed=True), {"methods": (b"GET", b"GET"), "answers": 2}),
    ("ten_requests_in_turn", tuple(step for n in range(10) for step in (get(target=b"/T0KEN/%d" % n), Await(n + 1))),
     passed(*(Seen(target=b"/T0KEN/%d" % n) for n in range(10))), {"methods": (b"GET",) * 10, "answers": 10}),
    ("error_answer_of_upstream_keeps", get(), passed(status=500), b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"),
    ("redirect_of_upstream_passes", get(), passed(status=302, has=((b"location", b"http://else.test/%0d%0a?x"),)), b"HTTP/1.1 302 Found\r\nLocation: http://else.test/%0d%0a?x\r\nContent-Length: 0\r\n\r\n"),
]  # fmt: skip


def pipeline(*requests: bytes, split: bool = False) -> tuple[object, ...]:
    joined = b"".join(requests)
    return (Byte(joined),) if split else (joined,)


def two(n: int) -> bytes:
    return get(target=b"/T0KEN/%d" % n)


def in_order(seen: Observation) -> list[str]:
    got = [each.body.split(b" ")[1][-1:] for each in seen.final if each.status == 200]
    return [] if got == sorted(got) else [f"answers out of order: {got!r}"]


THREE = tuple(Seen(target=b"/T0KEN/%d" % n) for n in range(3))
PIPES: list[Row] = [
    ("pipe_three", two(0) + two(1) + two(2), passed(*THREE, check=in_order), {"methods": (b"GET",) * 3, "answers": 3}),
    ("pipe_three_bytewise", (Byte(two(0) + two(1) + two(2)),), passed(*THREE, check=in_order), {"methods": (b"GET",) * 3, "answers": 3}),
    ("pipe_split_inside_second", (two(0) + two(1)[:14], Pause(0.05), two(1)[14:] + two(2)), passed(*THREE, check=in_order), {"methods": (b"GET",) * 3, "answers": 3}),
    ("pipe_fifty", b"".join(get(target=b"/T0KEN/%02d" % n) for n in range(50)), passed(*(Seen(target=b"/T0KEN/%02d" % n) for n in range(50))), {"methods": (b"GET",) * 50, "answers": 50, "wait": 6.0}),
    ("pipe_post_get", post(b"Content-Length: 2\r\n", b"ab") + two(1), passed(Seen(b"POST", body=b"ab"), Seen(target=b"/T0KEN/1")), {"methods": (b"POST", b"GET"), "answers": 2}),
    ("pipe_chunked_get", post(CHUNKED, chunks(b"ab")) + two(1), passed(Seen(b"POST", body=b"ab"), Seen(target=b"/T0KEN/1")), {"methods": (b"POST", b"GET"), "answers": 2}),
    ("pipe_head_get", get(method=b"HEAD") + two(1), passed(Seen(b"HEAD"), Seen(target=b"/T0KEN/1")), {"methods": (b"HEAD", b"GET"), "answers": 2}),
    ("pipe_get_then_bad", two(0) + b"BAD REQUEST LINE\r\n\r\n", Expect(statuses=(frozenset({200}), frozenset({400})), seen=(THREE[0],), closed=True), {"methods": (b"GET", b"GET"), "answers": 2}),
    ("pipe_bad_then_get", b"GET /T0KEN HTTP/1.1\r\n\r\n" + get(target=b"/T0KEN/smuggled"), refused()),
    ("pipe_bad_body_then_get", post(CHUNKED, b"zz\r\n") + get(target=b"/T0KEN/smuggled"), refused(400, heads=1)),
    ("pipe_slow_first_answer", two(0) + two(1), passed(*THREE[:2]), (Script((Pause(0.3), b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow 0/0")), ), {"methods": (b"GET",) * 2, "answers": 2}),
    ("pipe_first_upstream_dies", two(0) + two(1), Expect(statuses=(frozenset({502}), frozenset({200})), seen=None), Script((b"garbage\r\n\r\n",)), {"methods": (b"GET",) * 2, "answers": 2, "level": ADVISABLE}),
    ("pipe_after_upstream_close_answer", two(0) + two(1), passed(*THREE[:2]), b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", {"methods": (b"GET",) * 2, "answers": 2}),
    ("pipe_http10_keep_alive", b"GET /T0KEN/0 HTTP/1.0\r\nHost: gw.test\r\nConnection: keep-alive\r\n\r\n" + two(1), passed(*THREE[:2]), {"methods": (b"GET",) * 2, "answers": 2}),
]  # fmt: skip

CASES: list[Case] = [
    *table("connection", "9112 9.3", PERSIST),
    *table("connection", "9112 9.3.2", PIPES),
    *table(
        "connection",
        "9112 9.6",
        [
            ("refusal_says_close", b"GET /T0KEN HTTP/1.1\r\n\r\n", refused(check=announced)),
            (
                "refusal_of_bad_body_says_close",
                post(CHUNKED, b"zz\r\n"),
                refused(400, heads=1, check=announced),
            ),
            (
                "refusal_reaches_a_client_that_still_sends",
                (b"GET /T0KEN HTTP/1.1\r\nBad Field: x\r\n\r\n" + b"x" * 300_000),
                refused(),
            ),
        ],
    ),
]
