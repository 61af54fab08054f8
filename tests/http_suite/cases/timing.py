"""Every wait has an end. The target runs with profile ``timed``: one second for each wait."""

from __future__ import annotations

from ..case import ADVISABLE, Await, Case, Close, Expect, Pause, Script, Seen, Step
from .make import CHUNKED, Row, answer, either, get, passed, post, refused, silent, table

LATE = either(refused(408, 400, closed=True), silent())
LATE_BODY = either(refused(408, 400, 504, closed=True, heads=1), silent(heads=1))
SOON = 3.5


def trickle(data: bytes, pause: float, step: int = 1) -> tuple[Step, ...]:
    return tuple(part for at in range(0, len(data), step) for part in (data[at : at + step], Pause(pause)))


HEAD = get(b"X-A: " + b"b" * 40 + b"\r\n")

ROWS: list[Row] = [
    ("head_never_ends", get()[:30], LATE),
    ("head_one_byte", b"G", LATE),
    # Each byte comes in time; the whole does not: the bound is on the whole head.
    ("head_trickles", trickle(HEAD, 0.1), LATE),
    ("head_trickles_fields", (b"GET /T0KEN HTTP/1.1\r\n", *trickle(b"X-A: b\r\n" * 40, 0.2, 8)), LATE),
    ("body_stalls", post(b"Content-Length: 10\r\n", b"12345"), LATE_BODY),
    ("body_never_starts", post(b"Content-Length: 10\r\n"), LATE_BODY),
    ("chunk_stalls", post(CHUNKED, b"5\r\nhel"), LATE_BODY),
    ("chunk_size_stalls", post(CHUNKED, b"5"), LATE_BODY),
    ("last_chunk_stalls", post(CHUNKED, b"5\r\nhello\r\n0\r\n"), LATE_BODY),
    ("upstream_never_answers", get(), answer(504), Script((Pause(4),))),
    ("upstream_never_answers_post", post(b"Content-Length: 2\r\n", b"ab"), answer(504), Script((Pause(4),))),
    ("upstream_head_stalls", get(), answer(504, 502), Script((b"HTTP/1.1 200 OK\r\nContent-", Pause(4)))),
    ("upstream_body_stalls", get(), either(answer(502, 504), Expect(seen=None, truncated=True, closed=True)), Script((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", Pause(4)))),
    ("upstream_chunk_stalls", get(), either(answer(502, 504), Expect(seen=None, truncated=True, closed=True)), Script((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", Pause(4)))),
    ("upstream_only_interim_then_stalls", get(), answer(504, 502), Script((b"HTTP/1.1 100 Continue\r\n\r\n", Pause(4)))),
]  # fmt: skip

SLOW_BUT_FINE: list[Row] = [
    ("slow_body_within_bounds", (post(b"Content-Length: 12\r\n"), *trickle(b"hello, world", 0.15)), passed(Seen(b"POST", body=b"hello, world"), closed=None)),
    ("slow_answer_within_bounds", get(), passed(body=b"hello, world", closed=None), Script((b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", *trickle(b"hello, world", 0.15)))),
    ("thinking_upstream_within_bounds", get(), passed(body=b"ok", closed=None), Script((Pause(0.5), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))),
]  # fmt: skip

IDLE: list[Row] = [
    ("idle_before_first_byte", (Pause(0),), LATE),
    ("idle_after_answer", (get(), Await()), passed(closed=True), {"answers": 2, "methods": (b"GET", b"GET")}),
    ("idle_with_empty_lines", (b"\r\n",), LATE),
    # One deadline for the whole head: empty lines do not begin it anew.
    ("empty_lines_trickle", trickle(b"\r\n" * 20, 0.2, 2), LATE),
    ("head_behind_empty_lines", (*trickle(b"\r\n" * 4, 0.2, 2), *trickle(HEAD, 0.1)), LATE),
]  # fmt: skip

CASES: list[Case] = [
    *table("time", "9112 9.5", ROWS, profile="timed", follow=False, wait=SOON + 1),
    *table("time", "9112 9.5", SLOW_BUT_FINE, profile="timed", follow=False, wait=6.0),
    *table("time", "9112 9.5", IDLE, profile="timed", follow=False, wait=SOON),
    *table(
        "time",
        "9110 15.6.5",
        [
            (
                "upstream_head_trickles",
                get(),
                answer(504, 502),
                Script((*trickle(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 60, 0.1), Close())),
            ),
            ("idle_upstream_stall_spares_others", get(), answer(504), Script((Pause(4),))),
        ],
        profile="timed",
        follow=False,
        wait=SOON + 4,
        level=ADVISABLE,
    ),
]
