"""Interim answers from an upstream (RFC 9110 section 15.2): passed or dropped, bounded, never a final answer."""

from __future__ import annotations

from ..case import Case, Close, Pause, Script
from .make import HOST, OK, Row, answer, either, get, passed, table

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
FINE = passed(body=b"ok")
BAD = answer(502, 500, never_down=(b"evil",))


def none(seen: object) -> list[str]:
    from ..case import Observation

    assert isinstance(seen, Observation)
    return [f"interim {each.status} to an HTTP/1.0 client" for each in seen.interim]


ROWS: list[Row] = [
    ("unasked_100", get(), FINE, CONTINUE + OK),
    ("unasked_100_apart", get(), FINE, Script((CONTINUE, Pause(0.05), OK))),
    ("processing_102", get(), FINE, b"HTTP/1.1 102 Processing\r\n\r\n" + OK),
    ("hints_103", get(), FINE, HINTS + OK),
    ("hints_103_twice", get(), FINE, HINTS + HINTS + OK),
    ("unknown_199", get(), FINE, b"HTTP/1.1 199 Odd\r\nX-A: b\r\n\r\n" + OK),
    ("three_kinds", get(), FINE, CONTINUE + b"HTTP/1.1 102 Processing\r\n\r\n" + HINTS + OK),
    ("not_to_http10", b"GET /T0KEN HTTP/1.0\r\n" + HOST + b"\r\n", passed(body=b"ok", closed=True, check=none), CONTINUE + HINTS + OK),
    ("only_interim_then_close", get(), answer(502), Script((CONTINUE, Close()))),
    ("only_hints_then_close", get(), answer(502), Script((HINTS, Pause(0.05), Close()))),
    ("flood_200", get(), either(BAD, FINE, passed(body=b"ok", closed=True)), CONTINUE * 200 + OK),
    ("flood_100000", get(), either(BAD), Script((CONTINUE * 100_000, Pause(0.5))), {"wait": 6.0}),
    ("flood_hints_20000", get(), either(BAD), Script((HINTS * 20_000, Pause(0.5))), {"wait": 6.0}),
    ("flood_never_ends", get(), either(BAD), Script(tuple(step for _ in range(100) for step in (CONTINUE * 50, Pause(0.01)))), {"wait": 6.0}),
    # RFC 9110 section 15.2: ends with the head. A length in it is a lie or a trap.
    ("from_http10_upstream", get(), either(BAD, FINE), b"HTTP/1.0 100 Continue\r\n\r\n" + OK),
    ("switching_between", get(), answer(502, never_down=(b"101 Switching",)), HINTS + b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" + OK),
    ("large_hints", get(), either(BAD, FINE), b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 50 + b"\r\n" + OK),
    ("hints_over_the_limit", get(), answer(502, 500), b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </a>\r\n" * 5000 + b"\r\n" + OK),
    ("after_the_final_one", get(), passed(body=b"ok", closed=None), OK + HINTS),
    ("length_in_100", get(), either(BAD, FINE), b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK),
    ("length_and_body_in_100", get(), either(BAD), b"HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevil" + OK),
    ("chunked_in_100", get(), either(BAD, FINE), b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + OK),
    ("bad_field_in_103", get(), BAD, b"HTTP/1.1 103 Early Hints\r\nBad Field: x\r\n\r\n" + OK),
    ("nul_in_103", get(), BAD, b"HTTP/1.1 103 Early Hints\r\nX-A: \x00\r\n\r\n" + OK),
    ("bare_cr_in_103", get(), answer(502, 500, never_down=(b"x-injected",)), b"HTTP/1.1 103 Early Hints\r\nX-A: b\rX-Injected: y\r\n\r\n" + OK),
    ("cut_in_103", get(), answer(502), Script((b"HTTP/1.1 103 Early Hints\r\nLin", Close()))),
    ("garbage_after_100", get(), BAD, CONTINUE + b"evil\r\n\r\n"),
    ("connection_named_in_103", get(), passed(body=b"ok", never_down=(b"x-a: b",)), b"HTTP/1.1 103 Early Hints\r\nConnection: x-a\r\nX-A: b\r\n\r\n" + OK),
    ("final_answer_after_100_to_head", get(method=b"HEAD"), answer(200), CONTINUE + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", {"methods": (b"HEAD",)}),
]  # fmt: skip

CASES: list[Case] = table("interim", "9110 15.2", ROWS)
