"""Expect: 100-continue (RFC 9110 section 10.1.1) and the desync tricks around it."""

from __future__ import annotations

from ..case import ADVISABLE, Await, AwaitUpstream, Case, Expect, Observation, Pause, ReadBody, Script, Seen
from .make import CHUNKED, EVIL, HOST, OK, Row, chunks, either, passed, post, refused, table

E = b"Expect: 100-continue\r\n"
CL = b"Content-Length: 5\r\n"
HELLO = Seen(b"POST", body=b"hello")
DENIED = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"


def no_interim(seen: Observation) -> list[str]:
    return [f"interim {each.status} to a client that cannot read it" for each in seen.interim]


def continued(seen: Observation) -> list[str]:
    return (
        []
        if any(each.status == 100 for each in seen.interim)
        else ["no 100 (Continue) before the client sent its body"]
    )


WAITS: list[Row] = [
    ("client_waits", (post(E + CL), Await(), b"hello"), passed(HELLO, check=continued)),
    ("client_waits_chunked", (post(E + CHUNKED), Await(), chunks(b"hello")), passed(HELLO, check=continued)),
    ("client_waits_case", (post(b"eXpEcT: 100-CONTINUE\r\n" + CL), Await(), b"hello"), passed(HELLO, check=continued)),
    ("client_waits_then_next_request", (post(E + CL), Await(), b"hello" + post(CL, b"world", target=b"/T0KEN/two")),
     passed(HELLO, Seen(b"POST", b"/T0KEN/two", body=b"world")), {"answers": 2, "methods": (b"POST", b"POST")}),
    ("client_does_not_wait", post(E + CL, b"hello"), passed(HELLO)),
    ("client_does_not_wait_chunked", post(E + CHUNKED, chunks(b"hello")), passed(HELLO)),
    ("client_does_not_wait_then_request", post(E + CL, b"hello") + post(CL, b"world", target=b"/T0KEN/two"),
     passed(HELLO, Seen(b"POST", b"/T0KEN/two", body=b"world")), {"answers": 2, "methods": (b"POST", b"POST")}),
    ("nothing_to_send", post(E + b"Content-Length: 0\r\n"), passed(Seen(b"POST"))),
    ("get_without_body", (b"GET /T0KEN HTTP/1.1\r\n" + HOST + E + b"\r\n",), passed()),
    # RFC 9110 section 10.1.1: 1xx never goes to an HTTP/1.0 client.
    ("http10_gets_no_100", b"POST /T0KEN HTTP/1.0\r\n" + HOST + E + CL + b"\r\nhello", passed(HELLO, closed=True, check=no_interim)),
    ("http10_waiting_gets_no_100", (b"POST /T0KEN HTTP/1.0\r\n" + HOST + E + CL + b"\r\n", Pause(0.2), b"hello"), passed(HELLO, closed=True, check=no_interim)),
    ("upstream_continues_itself", (post(E + CL), Await(), b"hello"), passed(HELLO), Script((b"HTTP/1.1 100 Continue\r\n\r\n", ReadBody(), OK), on="head")),
    ("upstream_continues_twice", (post(E + CL), Await(), b"hello"), passed(HELLO), Script((b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", ReadBody(), OK), on="head")),
]  # fmt: skip

# The upstream answers without the body. The client gets that answer; the body, sent or not, is never a request.
ENDS: list[Row] = [
    ("refused_client_never_sends", (post(E + CL),), Expect(statuses=(frozenset({403}),), seen=None), Script((DENIED,), on="head"), {"follow": False}),
    ("refused_client_sends_all_the_same", (post(E + b"Content-Length: %d\r\n" % len(EVIL)), AwaitUpstream(), Pause(0.05), EVIL),
     Expect(statuses=(frozenset({403, 408, 502}),), seen=None), Script((DENIED,), on="head")),
    ("refused_client_did_not_wait", post(E + b"Content-Length: %d\r\n" % len(EVIL), EVIL),
     Expect(statuses=(frozenset({403}),), seen=None), Script((DENIED,), on="head")),
    ("refused_chunked_client_did_not_wait", post(E + CHUNKED, chunks(EVIL)),
     Expect(statuses=(frozenset({403}),), seen=None), Script((DENIED,), on="head")),
]  # fmt: skip

UNKNOWN = either(refused(400, 417, closed=None), passed(HELLO), passed(HELLO, closed=True))
TRICKS: list[Row] = [
    ("unknown", post(b"Expect: 200-ok\r\n" + CL, b"hello"), UNKNOWN),
    ("list", post(b"Expect: 100-continue, x\r\n" + CL, b"hello"), UNKNOWN),
    ("twice", post(E + E + CL, b"hello"), UNKNOWN),
    ("twice_one_unknown", post(E + b"Expect: x\r\n" + CL, b"hello"), UNKNOWN),
    ("word_before", post(b"Expect: y 100-continue\r\n" + CL, b"hello"), UNKNOWN),
    ("empty", post(b"Expect: \r\n" + CL, b"hello"), UNKNOWN),
    ("parameter", post(b"Expect: 100-continue;x=y\r\n" + CL, b"hello"), UNKNOWN),
    ("tab_before", post(b"Expect:\t100-continue\r\n" + CL, b"hello"), passed(HELLO)),
    ("space_before_colon", post(b"Expect : 100-continue\r\n" + CL, b"hello"), refused()),
    ("folded", post(b"Expect:\r\n 100-continue\r\n" + CL, b"hello"), either(refused(), passed(HELLO))),
    ("nul_after", post(b"Expect: 100-continue\x00\r\n" + CL, b"hello"), refused()),
    ("zero_cl_get_with_evil_body", b"GET /T0KEN HTTP/1.1\r\n" + HOST + E + b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL, passed(Seen(body=EVIL))),
    ("named_by_connection", post(b"Connection: expect\r\n" + E + CL, b"hello"), either(passed(HELLO), refused())),
    ("both_lengths", post(E + CL + CHUNKED, chunks(b"hello")), refused()),
    ("http10_and_te", b"POST /T0KEN HTTP/1.0\r\n" + HOST + E + CHUNKED + b"\r\n" + chunks(b"hello"), refused()),
]  # fmt: skip

CASES: list[Case] = [
    *table("expect", "9110 10.1.1", WAITS, methods=(b"POST",)),
    *table("expect", "9110 10.1.1", ENDS, methods=(b"POST",)),
    *table("expect", "desync 0.CL", TRICKS, methods=(b"POST",)),
    *table(
        "expect",
        "9110 10.1.1",
        [("unknown_is_417", post(b"Expect: 200-ok\r\n" + CL, b"hello"), refused(417, closed=None))],
        level=ADVISABLE,
        methods=(b"POST",),
    ),
]
