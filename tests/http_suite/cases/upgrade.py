"""Upgrade (RFC 9110 section 7.8): a tunnel only after a real, permitted 101; h2c never."""

from __future__ import annotations

from ..case import ADVISABLE, Await, AwaitUpstream, Case, Expect, HalfClose, Observation, Pause, Script, Seen
from .make import EVIL, HOST, OK, Row, answer, either, get, passed, post, refused, table

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
WS = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def tunnelled(down: bytes, up: bytes) -> object:
    def check(seen: Observation) -> list[str]:
        wrong = []
        if [each.status for each in seen.interim] != [101]:
            wrong.append(f"expected 101, got {[each.status for each in seen.interim]}")
        if seen.unread != down:
            wrong.append(f"through the tunnel came {seen.unread[:200]!r}, expected {down!r}")
        if not seen.upstream_bytes.endswith(up.removeprefix(b"GET /T0KEN")):
            wrong.append(f"upstream got {seen.upstream_bytes[-200:]!r}, expected it to end with {up!r}")
        return wrong

    return check


def tunnel(down: bytes, up: bytes) -> Expect:
    return Expect(statuses=(), seen=(Seen(has=((b"upgrade", b"websocket"),)),), check=tunnelled(down, up))  # type: ignore[arg-type]


NO_SWITCH = Expect(statuses=(frozenset({502}),), seen=None, never_down=(b"101 Switching",))
GONE = Seen(lacks=(b"upgrade", b"http2-settings"))

TUNNELS: list[Row] = [
    ("websocket", (get(WS), Await(), b"ping", Pause(0.2), HalfClose()), tunnel(b"pong", b"ping"), Script((SWITCH, Pause(0.05), b"pong", Pause(0.3)))),
    ("websocket_data_with_101", (get(WS), Await(), Pause(0.1), HalfClose()), tunnel(b"pong", b"\r\n\r\n"), Script((SWITCH + b"pong", Pause(0.1)))),
    ("websocket_bytes_are_opaque", (get(WS), Await(), EVIL, Pause(0.2), HalfClose()), tunnel(OK, EVIL), Script((SWITCH, Pause(0.05), OK, Pause(0.3)))),
    ("websocket_lower_case", (get(WS.replace(b"Upgrade\r\n", b"upgrade\r\n")), Await(), b"ping", Pause(0.2), HalfClose()), tunnel(b"pong", b"ping"), Script((SWITCH, Pause(0.05), b"pong", Pause(0.3)))),
    ("websocket_connection_list", (get(WS.replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade")), Await(), b"ping", Pause(0.2), HalfClose()), tunnel(b"pong", b"ping"), Script((SWITCH, Pause(0.05), b"pong", Pause(0.3)))),
]  # fmt: skip

REFUSED: list[Row] = [
    # The upstream says no: the connection stays HTTP, and what follows is requests again.
    ("websocket_refused_200", get(WS), passed(Seen(), closed=False), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("websocket_refused_426", get(WS.replace(b"13", b"99")), passed(status=426, closed=None, seen=None), b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"),
    ("websocket_refused_403_close", get(WS), passed(status=403, closed=None), b"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    # Websocket smuggling: no 101, so what is pipelined behind is a request to us, seen by our rules.
    ("websocket_refused_pipelined_bad_request", get(WS) + b"GET /T0KEN/smuggled HTTP/1.1\r\n\r\n",
     Expect(statuses=(frozenset({426}), frozenset({400})), seen=None, closed=True), b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", {"answers": 2, "methods": (b"GET", b"GET")}),
    ("upgrade_without_connection", get(b"Upgrade: websocket\r\n" + KEY), passed(Seen(lacks=(b"upgrade",)))),
    ("connection_without_upgrade", get(b"Connection: Upgrade\r\n" + KEY), either(passed(Seen(lacks=(b"upgrade",))), refused())),
    ("http10_upgrade", b"GET /T0KEN HTTP/1.0\r\n" + HOST + WS + b"\r\n", either(passed(Seen(lacks=(b"upgrade",)), closed=True), refused(400, 426))),
    ("h2c", get(H2C), either(passed(GONE), refused(400, 403, 501, closed=None))),
    ("h2c_lower_connection", get(H2C.replace(b"Connection: Upgrade, HTTP2-Settings", b"connection: upgrade")), either(passed(GONE), refused(400, 403, 501, closed=None))),
    ("h2c_without_settings", get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), either(passed(GONE), refused(400, 403, 501, closed=None))),
    ("h2c_in_list_with_websocket", get(b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" + KEY), either(passed(Seen(), never_up=(b"h2c",)), refused(400, 403, 501, closed=None))),
    ("h2c_second_line", get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n" + KEY), either(passed(Seen(), never_up=(b"h2c",)), refused(400, 403, 501, closed=None))),
    ("h2c_case", get(b"Connection: Upgrade\r\nUpgrade: H2C\r\n"), either(passed(GONE), refused(400, 403, 501, closed=None))),
    ("h2c_tunnel_attempt", get(H2C) + PREFACE, either(
        Expect(statuses=(frozenset({200}), frozenset({400, 405, 501, 505})), seen=(GONE,), closed=True), refused(400, 403, 501),
        Expect(statuses=(frozenset({200}),), seen=(GONE,), closed=True)), {"answers": 2, "methods": (b"GET", b"GET")}),
    ("tls_in_http", get(b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"), either(passed(GONE), refused(400, 403, 501, closed=None))),
    ("upgrade_with_body", post(b"Content-Length: 2\r\n" + WS, b"ab"), either(passed(Seen(b"POST", body=b"ab")), refused(400, 405, 501))),
    ("upgrade_with_both_lengths", post(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n" + WS, b"0\r\n\r\n"), refused()),
    ("upgrade_with_cl_evil_body", post(b"Content-Length: %d\r\n" % len(EVIL) + WS, EVIL), either(passed(Seen(b"POST", body=EVIL)), refused(400, 405, 501))),
]  # fmt: skip

# A 101 that nobody asked for, or for something else, opens nothing.
UNASKED: list[Row] = [
    ("unasked_101", get(), NO_SWITCH, Script((SWITCH, Pause(0.2)))),
    ("unasked_101_then_response", get(), NO_SWITCH, Script((SWITCH + OK, Pause(0.2)))),
    ("unasked_101_bare", get(), NO_SWITCH, Script((b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Pause(0.2)))),
    ("unasked_101_to_post", post(b"Content-Length: 2\r\n", b"ab"), NO_SWITCH, Script((SWITCH, Pause(0.2))), {"methods": (b"POST",)}),
    ("unasked_101_after_upgrade_field_alone", get(b"Upgrade: websocket\r\n" + KEY), NO_SWITCH, Script((SWITCH, Pause(0.2)))),
    ("unasked_101_http10", b"GET /T0KEN HTTP/1.0\r\n" + HOST + b"\r\n", NO_SWITCH, Script((SWITCH, Pause(0.2)))),
    ("unasked_101_h2c_offered", get(H2C), either(NO_SWITCH, answer(400, 403, 501, never_down=(b"101 Switching",))), Script((b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", Pause(0.2)))),
]  # fmt: skip

SOFT: list[Row] = [
    ("switch_to_another_protocol", get(WS), NO_SWITCH, Script((SWITCH.replace(b"websocket", b"h2c"), Pause(0.2)))),
    ("switch_without_upgrade_field", get(WS), NO_SWITCH, Script((b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Pause(0.2)))),
    ("unknown_protocol_not_offered", get(b"Connection: Upgrade\r\nUpgrade: foo/1\r\n"), either(passed(GONE), refused(400, 501, closed=None))),
    ("early_data_before_101", (get(WS) + b"early", AwaitUpstream(), Await(), Pause(0.2), HalfClose()), tunnel(b"pong", b"early"), Script((Pause(0.1), SWITCH, Pause(0.05), b"pong", Pause(0.3)))),
    ("websocket_post", post(b"Content-Length: 0\r\n" + WS), either(passed(Seen(b"POST", lacks=(b"upgrade",))), refused(400, 405, 501, closed=None))),
]  # fmt: skip

CASES: list[Case] = [
    *table("upgrade", "9110 7.8", TUNNELS, follow=False, wait=1.5),
    *table("upgrade", "9110 7.8", REFUSED),
    *table("upgrade", "9110 15.2.2", UNASKED),
    *table("upgrade", "9110 7.8", SOFT, level=ADVISABLE, follow=False, wait=1.5),
]
