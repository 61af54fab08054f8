"""Upstream connections: reused only when clean; an answer goes only to the request that caused it.

In each case a first request meets an upstream that misbehaves or closes; the next ones (in the case, and
the probes behind every case) must get their own answers, from a connection that is fit.
"""

from __future__ import annotations

from ..case import ADVISABLE, Await, Case, Close, Expect, Observation, Pause, Reset, Script, Seen
from .make import CHUNKED, OK, OK_CLOSE, Row, answer, chunks, get, post, table

TWO = get(target=b"/T0KEN/two")
PAIR = {"methods": (b"GET", b"GET"), "answers": 2}


def after() -> tuple[object, ...]:
    return (get(), Await(), Pause(0.1), TWO)


def own_answers(seen: Observation) -> list[str]:
    wrong = []
    for response, want in zip(seen.final, (None, b"/two"), strict=False):
        if want is not None and response.status == 200 and want not in response.body:
            wrong.append(f"the second request got {response.body[:80]!r}")
    return wrong


def fresh(seen: Observation) -> list[str]:
    """The second request came on another connection than the first."""
    links = [arrival.link for arrival in seen.arrivals]
    return ["an unfit upstream connection was used again"] if len(links) > 1 and links[0] == links[1] else []


def both(seen: Observation) -> list[str]:
    return own_answers(seen) + fresh(seen)


PASS = Expect(
    statuses=(frozenset({200}), frozenset({200})), seen=(Seen(), Seen(target=b"/T0KEN/two")), closed=False
)


def expect(check: object) -> Expect:
    return Expect(statuses=PASS.statuses, seen=PASS.seen, closed=None, check=check)  # type: ignore[arg-type]


ROWS: list[Row] = [
    ("connection_is_reused", after(), expect(lambda seen: [] if len({a.link for a in seen.arrivals}) == 1 or len(seen.arrivals) != 2 else ["a clean connection was not used again"]), {**PAIR, "level": ADVISABLE}),
    ("upstream_said_close", after(), expect(both), OK_CLOSE, PAIR),
    ("upstream_said_close_in_list", after(), expect(both), OK_CLOSE.replace(b"close", b"x-a, Close"), PAIR),
    ("upstream_10", after(), expect(both), OK_CLOSE.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close\r\n", b""), PAIR),
    ("upstream_answers_twice", after(), expect(both), OK + OK, PAIR),
    ("upstream_answers_twice_late", after(), expect(both), Script((OK, Pause(0.03), OK)), PAIR),
    ("upstream_answers_twice_while_idle", (get(), Await(), Pause(0.2), TWO), expect(both), Script((OK, Pause(0.1), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")), PAIR),
    ("upstream_adds_bytes", after(), expect(both), OK + b"x", PAIR),
    ("upstream_adds_crlf", after(), expect(own_answers), OK + b"\r\n", PAIR),
    ("upstream_adds_bytes_late", after(), expect(both), Script((OK, Pause(0.03), b"x")), PAIR),
    ("upstream_adds_to_204", after(), Expect(statuses=(frozenset({204}), frozenset({200})), seen=PASS.seen, check=both), b"HTTP/1.1 204 None\r\n\r\nevil", PAIR),
    ("upstream_adds_to_chunked", after(), expect(both), b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + chunks(b"ok") + b"0\r\n\r\n", PAIR),
    ("upstream_adds_408_when_idle", after(), expect(both), Script((OK, Pause(0.03), b"HTTP/1.1 408 Late\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Close())), PAIR),
    ("upstream_closes_when_idle", after(), expect(both), Script((OK, Pause(0.03), Close())), PAIR),
    ("upstream_resets_when_idle", after(), expect(both), Script((OK, Pause(0.03), Reset())), PAIR),
    ("upstream_closes_at_once_after_answer", after(), expect(both), Script((OK, Close())), PAIR),
    ("upstream_closes_then_post", (get(), Await(), Pause(0.1), post(b"Content-Length: 2\r\n", b"ab", target=b"/T0KEN/two")),
     Expect(statuses=PASS.statuses, seen=(Seen(), Seen(b"POST", b"/T0KEN/two", body=b"ab")), check=fresh), Script((OK, Pause(0.03), Close())), {"methods": (b"GET", b"POST"), "answers": 2}),
    # The connection dies under the second request, before a byte of an answer: one retry is safe for GET.
    ("reused_dies_under_get", after(), Expect(statuses=PASS.statuses, seen=None, check=own_answers), (Script((OK,)), Script((Close(),))), PAIR),
    ("reused_resets_under_get", after(), Expect(statuses=PASS.statuses, seen=None, check=own_answers), (Script((OK,)), Script((Reset(),))), PAIR),
    # It is not for POST: the upstream may have acted on it.
    ("reused_dies_under_post", (get(), Await(), Pause(0.1), post(b"Content-Length: 2\r\n", b"ab", target=b"/T0KEN/two")),
     Expect(statuses=(frozenset({200}), frozenset({502, 503, 504})), seen=None, check=lambda seen: [] if sum(a.request.method == b"POST" for a in seen.arrivals) == 1 else ["a POST was sent twice"]),
     (Script((OK,)), Script((Close(),))), {"methods": (b"GET", b"POST"), "answers": 2}),
    ("fresh_dies_under_get_not_retried_for_ever", get(), Expect(statuses=(frozenset({502, 503, 504}),), seen=None, check=lambda seen: [] if len(seen.arrivals) <= 4 else [f"sent {len(seen.arrivals)} times"]), (Script((Close(),)),) * 20),
    ("dies_after_first_byte_not_retried", after(), Expect(statuses=(frozenset({200}), frozenset({502})), seen=None, check=lambda seen: [] if len(seen.arrivals) == 2 else ["retried after a byte was answered"]), (Script((OK,)), Script((b"H", Pause(0.05), Close()))), PAIR),
    ("cut_answer_not_retried", get(), Expect(statuses=(frozenset({200, 502}),), seen=None, truncated=None, check=lambda seen: [] if len(seen.arrivals) == 1 else ["retried after an answer began"]), Script((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Pause(0.05), Close()))),
    ("garbage_answer_then_next", after(), Expect(statuses=(frozenset({502}), frozenset({200})), seen=None, check=both), b"\x00\x01\x02 garbage\r\n\r\n", PAIR),
    ("reset_before_answer", get(), answer(502, 503), (Script((Reset(),)),) * 6),
    ("client_leaves_during_answer", (get(), Await(), Pause(0.05)), answer(200, 502), Script((b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nev", Pause(0.2), b"il")), {"follow": False}),
]  # fmt: skip

# The upstream answers before it has read all. Its connection still owes it a body: never used for another request.
EARLY: list[Row] = [
    ("early_answer_kept_open", post(b"Content-Length: 400000\r\n", b"x" * 400_000), answer(200, 413, check=lambda seen: []), Script((b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",), on="head")),
    ("early_answer_body_never_comes", (post(b"Content-Length: 50\r\n"), Await(), Pause(0.05)), answer(413), Script((b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",), on="head"), {"follow": False}),
    ("early_answer_chunked_body_cut", (post(CHUNKED, b"5\r\nhello\r\n"), Await(), Pause(0.05)), answer(413), Script((b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",), on="head"), {"follow": False}),
]  # fmt: skip

CASES: list[Case] = [
    *table("reuse", "9112 9.2, 9.3", ROWS, wait=4.0),
    *table("reuse", "9112 9.3", EARLY, methods=(b"POST",), wait=4.0),
]
