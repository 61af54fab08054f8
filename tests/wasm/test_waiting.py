"""Guests that wait for something outside: what they wait for, how they go on, and where they may not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from blitz._native import ffi, lib
from blitz.errors import PluginTimeout, PluginTrap
from blitz.wasm.engine import Engine
from blitz.wasm.instance import PENDING

from .support import Exchange, Guest, exchanging, running, span

Wat = Callable[[str], bytes]

IMPORTS = """
  (import "blitz" "sleep_ms" (func $sleep (param i32)))
  (import "blitz" "http_fetch"
    (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "blitz" "fetch_header" (func $header (param i32 i32 i32 i32) (result i32)))
  (import "blitz" "fetch_body" (func $body (param i32 i32) (result i32)))
  (import "blitz" "set_header" (func $set (param i32 i32 i32 i32)))
  (memory (export "memory") 2)"""
BUFFER = """(func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))"""


def hook(body: str, more: str = "", data: str = "", buffer: str = BUFFER) -> str:
    return f"""(module {IMPORTS} {buffer} {data} {more}
      (func (export "process_request") (param i32 i32 i32 i32) (result i32) (local $n i32)
        {body} (i32.const 0)))"""


def fetching(
    upstream: str = "auth",
    method: str = "GET",
    target: str = "/check",
    headers: str = "",
    body: str = "",
    timeout: int = 100,
) -> tuple[str, str]:
    """Data and the call of http_fetch, whose result is left on the stack."""
    at, data, arguments = 16384, "", ""
    for text in (upstream, method, target, headers, body):
        octets = "".join(f"\\{byte:02x}" for byte in text.encode())
        data += f'(data (i32.const {at}) "{octets}")'
        arguments += f"(i32.const {at}) (i32.const {len(text.encode())}) "
        at += len(text.encode())
    return data, f"(call $fetch {arguments} (i32.const {timeout}))"


def waits(guest: Guest) -> int:
    return int(lib.blitz_call_waits(guest.instance.ptr))


def pending(guest: Guest, exchange: Exchange, what: int) -> None:
    code = guest.instance.request(exchange.c)
    while code == PENDING and waits(guest) != what:
        code = guest.instance.resume()
    assert code == PENDING, guest.instance.fault()


def test_a_guest_sleeps_until_it_is_told(engine: Engine, wat: Wat) -> None:
    with running(engine, wat(hook("(call $sleep (i32.const 70))"))) as guest, exchanging() as exchange:
        for _ in range(3):
            pending(guest, exchange, lib.BLITZ_WAITS_SLEEP)
            assert lib.blitz_wait_ms(guest.instance.ptr) == 70
            assert guest.instance.resume() == PENDING  # nothing has happened
            assert waits(guest) == lib.BLITZ_WAITS_SLEEP
            lib.blitz_call_answer(guest.instance.ptr, 0)
            assert waits(guest) == lib.BLITZ_WAITS_SLICE
            assert guest.finish(guest.instance.resume()) == lib.BLITZ_V_CONTINUE
            assert waits(guest) == lib.BLITZ_WAITS_NOTHING


def test_many_wait_side_by_side_and_go_on_in_any_order(engine: Engine, wat: Wat) -> None:
    wasm = wat(hook("(call $sleep (i32.const 1)) (call $sleep (i32.const 2))"))
    with contextlib.ExitStack() as stack:
        guests = [stack.enter_context(running(engine, wasm)) for _ in range(3)]
        for guest in guests:
            pending(guest, stack.enter_context(exchanging()), lib.BLITZ_WAITS_SLEEP)
        codes = []
        for number in (1, 0, 2, 2, 1, 0):
            guest = guests[number]
            lib.blitz_call_answer(guest.instance.ptr, 0)
            code = guest.instance.resume()
            while code == PENDING and waits(guest) < lib.BLITZ_WAITS_SLEEP:
                code = guest.instance.resume()
            codes.append(code)
        assert codes == [PENDING] * 3 + [lib.BLITZ_V_CONTINUE] * 3


def test_a_fetch_is_a_request_and_its_answer_can_be_read(engine: Engine, wat: Wat) -> None:
    data, call = fetching(method="POST", headers="X-A: 1\r\nhost: other\r\nX-B:  two \r\n", body="hello")
    body = f"""(local.set $n {call})
      (if (i32.ne (local.get $n) (i32.const 207)) (then unreachable))
      (call $set (i32.const 0) (i32.const 6) (i32.const 40000)
        (call $header (i32.const 8) (i32.const 3) (i32.const 40000) (i32.const 100)))
      (call $set (i32.const 0) (i32.const 6) (i32.const 40000)
        (call $body (i32.const 40000) (i32.const 100)))
      (if (i32.ne (call $header (i32.const 0) (i32.const 6) (i32.const 40000) (i32.const 100))
        (i32.const -1)) (then unreachable))"""
    wasm = wat(hook(body, data=data + '(data (i32.const 0) "x-seen  x-y")'))
    with running(engine, wasm, upstreams=("auth",)) as guest, exchanging() as exchange:
        pending(guest, exchange, lib.BLITZ_WAITS_FETCH)
        fetch = lib.blitz_call_fetch(guest.instance.ptr)
        head = fetch.exchange.request
        assert ffi.buffer(fetch.upstream.ptr, fetch.upstream.len)[:] == b"auth"
        assert span(head, head.method) == b"POST" and span(head, head.target) == b"/check"
        assert fetch.names_host and span(head, head.host) == b"other"
        assert ffi.buffer(fetch.exchange.new_body.ptr, fetch.exchange.new_body.len)[:] == b"hello"
        respond(fetch.exchange.response, 207, (b"x-y", b"in the head"))
        assert lib.blitz_fetch_keep(guest.instance.ptr, b"the body", 8) == 0
        lib.blitz_call_answer(guest.instance.ptr, 207)
        assert guest.finish(guest.instance.resume()) & 3 == lib.BLITZ_V_CONTINUE
        assert (b"x-seen", b"the body") in exchange.request_fields()


def respond(head: Any, status: int, *fields: tuple[bytes, bytes]) -> None:
    assert lib.blitz_head_start_response(head, status, b"", 0, 1) == 0
    for name, value in fields:
        assert lib.blitz_head_add(head, name, len(name), value, len(value)) == 0


def test_what_one_call_has_fetched_no_other_call_sees(engine: Engine, wat: Wat) -> None:
    data, call = fetching()
    body = f"""(if (i32.ne (call $body (i32.const 40000) (i32.const 100)) (i32.const -1)) (then unreachable))
      (drop {call})
      (if (i32.ne (call $body (i32.const 40000) (i32.const 100)) (i32.const 6)) (then unreachable))"""
    with running(engine, wat(hook(body, data=data)), upstreams=("auth",)) as guest, exchanging() as exchange:
        for _ in range(2):
            pending(guest, exchange, lib.BLITZ_WAITS_FETCH)
            respond(lib.blitz_call_fetch(guest.instance.ptr).exchange.response, 200)
            assert lib.blitz_fetch_keep(guest.instance.ptr, b"secret", 6) == 0
            lib.blitz_call_answer(guest.instance.ptr, 200)
            assert guest.finish(guest.instance.resume()) == lib.BLITZ_V_CONTINUE


@pytest.mark.parametrize("granted", [(), ("other",), ("aut", "auth2")], ids=str)
def test_nobody_waits_for_an_upstream_that_was_not_granted(
    engine: Engine, wat: Wat, granted: tuple[str, ...]
) -> None:
    data, call = fetching()
    body = f"(if (i32.ne {call} (i32.const {lib.BLITZ_FETCH_NOT_GRANTED})) (then unreachable))"
    with running(engine, wat(hook(body, data=data)), upstreams=granted) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE


REFUSED = [
    ({"method": ""}, "not a token"),
    ({"method": "G T"}, "not a token"),
    ({"method": "GET / HTTP/1.1\r\nx: y\r\n"}, "not a token"),
    ({"method": "CONNECT"}, "no longer be valid"),
    ({"target": ""}, "origin-form"),
    ({"target": "http://elsewhere/"}, "origin-form"),
    ({"target": "/a b"}, "origin-form"),
    ({"target": "/a\r\nx: y"}, "origin-form"),
    ({"target": "/a\x00"}, "origin-form"),
    ({"headers": "no colon"}, "no colon"),
    ({"headers": "x: a\rb\r\n"}, "not field-content"),
    ({"headers": "x: a\x00\r\n"}, "not field-content"),
    ({"headers": ": a\r\n"}, "not a token"),
    ({"headers": "x : a\r\n"}, "not a token"),
    ({"headers": " x: a\r\n"}, "not a token"),
    ({"headers": "x: a\r\n folded: b\r\n"}, "not a token"),
    ({"headers": "Content-Length: 5\r\n"}, "framing"),
    ({"headers": "Transfer-Encoding: chunked\r\n"}, "framing"),
    ({"headers": "Connection: close\r\n"}, "framing"),
    ({"headers": "Upgrade: h2c\r\n"}, "framing"),
    ({"headers": "content_length: 5\r\n"}, ""),
    ({"headers": "x: y\r\n" * 1001}, "edits"),
    ({"headers": "x: y\r\n" * 300}, "no room for more fields"),
    ({"headers": "host: a b\r\n"}, "valid"),
    ({"timeout": -1}, "timeout_ms"),
]


@pytest.mark.parametrize(("changes", "why"), REFUSED)
def test_a_request_that_is_none_is_refused(
    engine: Engine, wat: Wat, changes: dict[str, Any], why: str
) -> None:
    data, call = fetching(**changes)
    wasm = wat(hook(f"(drop {call})", data=data))
    with running(engine, wasm, upstreams=("auth",)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert "http_fetch" in error.message and why in error.message


CALLS = {"sleep": ("", "(call $sleep (i32.const 5))"), "fetch": fetching()}


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("where", ["start", "_initialize", "init", "allocator", "cleanup"])
def test_only_message_hooks_wait(engine: Engine, wat: Wat, what: str, where: str) -> None:
    data, call = CALLS[what]
    call = call if what == "sleep" else f"(drop {call})"
    more, buffer = "", BUFFER
    if where == "start":
        more = f"(func $s {call}) (start $s)"
    elif where == "_initialize":
        more = f'(func (export "_initialize") {call})'
    elif where in ("init", "cleanup"):
        more = f'(func (export "{where}") (result i32) {call} (i32.const 0))'
    else:
        more = f'(func (export "blitz_alloc") (param i32) (result i32) {call} (i32.const 4096))'
        buffer = ""
    guest = Guest(engine, wat(hook("", more, data, buffer)), upstreams=("auth",))
    try:
        code = guest.start()
        if where == "allocator":
            assert code == 0
            with exchanging() as exchange:
                code = guest.request(exchange)
        elif where == "cleanup":
            code = guest.finish(guest.instance.cleanup())
        error = guest.fails(code)
        assert "a plugin " in error.message and (
            "waits in" in error.message or "cannot wait" in error.message
        )
    finally:
        guest.close()


@pytest.mark.parametrize("how", ["cancel", "time_out", "free"])
@pytest.mark.parametrize("what", CALLS)
def test_one_that_waits_can_be_ended(engine: Engine, wat: Wat, what: str, how: str) -> None:
    data, call = CALLS[what]
    call = call if what == "sleep" else f"(drop {call})"
    guest = Guest(engine, wat(hook(call, data=data)), upstreams=("auth",))
    with exchanging() as exchange:
        assert guest.start() == 0
        pending(guest, exchange, lib.BLITZ_WAITS_SLEEP if what == "sleep" else lib.BLITZ_WAITS_FETCH)
        ended = getattr(guest.instance, how)()
        if how == "time_out":
            assert isinstance(ended, PluginTimeout) and ended.frames
        guest.close()


@pytest.mark.parametrize("ms", [-1, 3600_001, -(2**31)])
def test_nobody_sleeps_for_that_long(engine: Engine, wat: Wat, ms: int) -> None:
    with running(engine, wat(hook(f"(call $sleep (i32.const {ms}))"))) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginTrap) and "sleep_ms: ms must be" in error.message


def test_an_answer_to_nobody_changes_nothing(engine: Engine, wat: Wat) -> None:
    with running(engine, wat(hook(""))) as guest, exchanging() as exchange:
        lib.blitz_call_answer(guest.instance.ptr, 5)
        assert lib.blitz_call_fetch(guest.instance.ptr) == ffi.NULL
        assert lib.blitz_fetch_keep(guest.instance.ptr, b"", 0) == lib.BLITZ_E_STATE
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE
