"""kv_incr, kv_get, kv_set as guests call them. Bad pointers: test_pointers; the table: tests/native."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from blitz._native import lib
from blitz.errors import PluginTrap
from blitz.wasm.engine import Engine
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin
from blitz.wasm.shared import Shared

from .support import Exchange, Guest, exchanging, running, spec

Wasm = Callable[[str], bytes]

# Memory: 0 "key", 16 "12", 32 "text", 64 what kv_get gives, 1024 arguments. $show answers with the value.
GUEST = """(module
  (import "env" "kv_incr" (func $incr (param i32 i32 i64 i64) (result i64)))
  (import "env" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "kv_set" (func $set (param i32 i32 i32 i32 i64)))
  (import "env" "set_body" (func $body (param i32 i32)))
  (import "env" "set_status" (func $status (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "key") (data (i32.const 16) "12") (data (i32.const 32) "text")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func $show (local $n i32)
    (local.set $n (call $get (i32.const 0) (i32.const 3) (i32.const 64) (i32.const 256)))
    (if (i32.lt_s (local.get $n) (i32.const 0))
      (then (call $status (i32.const 404)))
      (else (call $body (i32.const 64) (local.get $n)))))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    BODY
    (call $show)
    (i32.const 1)))"""

SET = "(call $set (i32.const 0) (i32.const 3) (i32.const {value}) (i32.const {size}) (i64.const {ttl}))"
INCR = "(drop (call $incr (i32.const 0) (i32.const {size}) (i64.const {delta}) (i64.const {ttl})))"


def set_(value: int = 16, size: int = 2, ttl: int = 0) -> str:
    return SET.format(value=value, size=size, ttl=ttl)


def incr(delta: int = 1, ttl: int = 0, size: int = 3) -> str:
    return INCR.format(delta=delta, ttl=ttl, size=size)


def answer(exchange: Exchange) -> bytes | None:
    return None if exchange.c.response.status == 404 else exchange.new_body


def shown(guest: Guest) -> bytes | None:
    with exchanging() as exchange:
        assert guest.request(exchange) & 3 == lib.BLITZ_V_STOP, guest.instance.fault()
        return answer(exchange)


CASES = [
    pytest.param("", None, id="nothing"),
    pytest.param(set_(), b"12", id="set"),
    pytest.param(set_(size=0), b"", id="an empty value"),
    pytest.param(set_() + set_(32, 4), b"text", id="the last value holds"),
    pytest.param(set_(value=4096, size=256), b"\0" * 256, id="the longest value"),
    pytest.param(incr(), b"1", id="a new counter"),
    pytest.param(incr() + incr(-3), b"-2", id="down"),
    pytest.param(set_() + incr(30), b"42", id="a number set as text"),
    pytest.param(incr(2**63 - 1) + incr(), b"9223372036854775807", id="held at the end"),
    pytest.param(incr() + set_(32, 4), b"text", id="a text in place of a counter"),
    pytest.param(incr(size=256), None, id="the longest key"),
]


@pytest.mark.parametrize(("body", "value"), CASES)
def test_what_a_guest_reads_back(engine: Engine, wat: Wasm, body: str, value: bytes | None) -> None:
    with running(engine, wat(GUEST.replace("BODY", body))) as guest:
        assert shown(guest) == value


def test_the_sum_comes_back(engine: Engine, wat: Wasm) -> None:
    total = "(call $incr (i32.const 0) (i32.const 3) (i64.const -5000000000) (i64.const 0))"
    body = f"(if (i64.ne {total} (i64.const -5000000000)) (then unreachable))"
    with running(engine, wat(GUEST.replace("BODY", body))) as guest:
        assert shown(guest) == b"-5000000000"


def test_a_small_buffer_gets_what_fits_and_the_whole_length(engine: Engine, wat: Wasm) -> None:
    text = GUEST.replace("BODY", set_(32, 4)).replace(
        "(i32.const 64) (i32.const 256)", "(i32.const 64) (i32.const 2)"
    )
    with running(engine, wat(text)) as guest:
        assert shown(guest) == b"te\0\0"


def test_values_are_one_truth_for_all_instances(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(GUEST.replace("BODY", incr()))) as guest:
        assert [shown(guest), shown(guest)] == [b"1", b"2"]
        guest.renew()
        assert shown(guest) == b"3"


def test_a_value_goes_when_its_time_is_over(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(GUEST.replace("BODY", incr(ttl=20)))) as guest:
        assert [shown(guest), shown(guest)] == [b"1", b"2"]
        # A million calls take far longer than 20 ms.
        assert any(shown(guest) == b"1" for _ in range(1_000_000))


@contextmanager
def sharing(engine: Engine, wasm: bytes, shared: Shared, name: str, namespace: str = "") -> Iterator[Guest]:
    """A guest of that name which was given this shared state."""
    guest = Guest.__new__(Guest)
    guest.module = Module.compile(engine, wasm, f"{name}.wasm")
    guest.plugin = Plugin(engine, guest.module, spec(name, namespace=namespace), shared)
    guest.instance = guest.plugin.new_instance()
    assert guest.start() & 3 == 0
    try:
        yield guest
    finally:
        guest.close()


def test_a_plugin_does_not_see_the_keys_of_another(engine: Engine, wat: Wasm) -> None:
    shared = Shared(64)
    writes, reads = wat(GUEST.replace("BODY", set_(32, 4))), wat(GUEST.replace("BODY", ""))
    with sharing(engine, writes, shared, "one") as one:
        assert shown(one) == b"text"
        with sharing(engine, reads, shared, "two") as two, sharing(engine, reads, shared, "one") as again:
            assert shown(two) is None
            assert shown(again) == b"text"
        with sharing(engine, reads, shared, "two", namespace="one") as allowed:
            assert shown(allowed) == b"text"
        # A name is not the beginning of a key: "one" and "key" are not "onek" and "ey".
        shifted = wat(
            GUEST.replace("BODY", "").replace("(i32.const 0) (i32.const 3)", "(i32.const 1) (i32.const 2)")
        )
        with sharing(engine, shifted, shared, "onek") as other:
            assert shown(other) is None
    shared.close()


FAULTS = [
    pytest.param(incr(ttl=-1), "kv_incr: ttl_ms must be 0", id="incr-ttl"),
    pytest.param(set_(ttl=-(2**63)), "kv_set: ttl_ms must be 0", id="set-ttl"),
    pytest.param(incr(size=257), "kv_incr: the key is longer than 256 bytes", id="incr-key"),
    pytest.param(set_(size=257), "kv_set: the value is longer than 256 bytes", id="value"),
    pytest.param(
        set_().replace("(i32.const 3)", "(i32.const 257)"),
        "kv_set: the key is longer than 256 bytes",
        id="set-key",
    ),
    pytest.param(
        "(drop (call $get (i32.const 0) (i32.const 257) (i32.const 64) (i32.const 9)))",
        "kv_get: the key is longer than 256 bytes",
        id="get-key",
    ),
    pytest.param(
        set_(32, 4) + incr(), "kv_incr: the value of the key is no decimal number of 64 bits", id="text"
    ),
]


@pytest.mark.parametrize(("body", "sentence"), FAULTS)
def test_what_makes_no_sense_is_a_fault(engine: Engine, wat: Wasm, body: str, sentence: str) -> None:
    with running(engine, wat(GUEST.replace("BODY", body))) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginTrap)
        assert sentence in str(error)


BINDGEN = """(module
  (import "wbg" "__wbg_kvincr_0123456789abcdef" (func $incr (param i32 i32 i64 i64) (result i64)))
  (import "wbg" "__wbg_kv_get_0123456789abcdef" (func $get (param i32 i32 i32)))
  (import "wbg" "__wbg_kv_set_0123456789abcdef" (func $set (param i32 i32 i32 i32 i64)))
  (import "wbg" "__wbg_setbody_0123456789abcdef" (func $body (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "key") (data (i32.const 32) "fr\\ffed")
  (func (export "__wbindgen_malloc") (param i32 i32) (result i32) (i32.const 2048))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    BODY
    (call $get (i32.const 512) (i32.const 0) (i32.const 3))
    (call $body (i32.load (i32.const 512)) (i32.load (i32.const 516)))
    (i32.const 1)))"""


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param("", b"", id="none"),
        pytest.param(incr(-7), b"-7", id="counter"),
        pytest.param(set_(32, 5), "fr�ed".encode(), id="a String is UTF-8"),
    ],
)
def test_the_spelling_of_wasm_bindgen(engine: Engine, wat: Wasm, body: str, value: bytes) -> None:
    with running(engine, wat(BINDGEN.replace("BODY", body))) as guest:
        assert guest.plugin.plan.spelling == "wasm-bindgen"
        assert (shown(guest) or b"") == value
