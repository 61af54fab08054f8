"""The clocks that every plugin has count milliseconds, and say so; nanoseconds are a grant of their own."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from blitz._native import lib
from blitz.wasm.engine import Engine

from .support import exchanging, running

Wat = Callable[[str], bytes]

WASI = '"wasi_snapshot_preview1"'
# x-time is 64 samples of a clock and x-resolution what it says of itself, as bytes of its memory in hex.
GUEST = """(module
  (import %(wasi)s "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import %(wasi)s "clock_res_get" (func $resolution (param i32 i32) (result i32)))
  (import "blitz" "set_status" (func $set_status (param i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $i i32) (local $status i32)
    (local.set $status (i32.const 200))
    (drop (call $resolution (i32.const %(clock)d) (i32.const 8)))
    (if (i64.eq (i64.load (i32.const 8)) (i64.const 1000000)) (then (local.set $status (i32.const 201))))
    (loop $again
      (drop (call $time (i32.const %(clock)d) (i64.const 1) (i32.const 16)))
      (if (i64.ne (i64.rem_u (i64.load (i32.const 16)) (i64.const 1000000)) (i64.const 0))
        (then (local.set $status (i32.add (local.get $status) (i32.const 10))) (local.set $i (i32.const 63))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 64))))
    (call $set_status (local.get $status))
    (i32.const 1)))"""
COARSE, FINE = 201, 210


@pytest.mark.parametrize("clock", [0, 1])
@pytest.mark.parametrize(
    ("grants", "asks", "status"),
    [
        (("clock", "random"), None, COARSE),
        (("clock", "fine_clock"), None, FINE),
        (("clock", "fine_clock"), ("clock", "fine_clock"), FINE),
        (("clock", "fine_clock"), ("clock",), COARSE),  # nobody asked
    ],
)
def test_wasi_counts_milliseconds_unless_nanoseconds_are_granted(
    engine: Engine, wat: Wat, clock: int, grants: tuple[str, ...], asks: tuple[str, ...] | None, status: int
) -> None:
    wasm = wat(GUEST % {"wasi": WASI, "clock": clock})
    with running(engine, wasm, grants=grants, asks=asks) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == lib.BLITZ_V_STOP
        assert exchange.c.response.status == status


def test_what_javascript_calls_clock_and_random_bytes(engine: Engine, wat: Wat) -> None:
    """As wasm-bindgen imports Date.now and crypto.getRandomValues on a slice."""
    wasm = wat("""(module
      (import "__wbindgen_placeholder__" "__wbg_now_0123456789abcdef" (func $now (result f64)))
      (import "__wbindgen_placeholder__" "__wbg_getRandomValues_0123456789abcdef"
        (func $fill (param i32 i32)))
      (import "blitz" "set_status" (func $set_status (param i32)))
      (memory (export "memory") 1)
      (func (export "__wbindgen_malloc") (param i32 i32) (result i32) (i32.const 1024))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (local $zeros i64)
        (call $fill (i32.const 16) (i32.const 16))
        (call $set_status (i32.add
          (i32.add (i32.const 200) (i32.trunc_f64_u (f64.div (call $now) (f64.const 1e11))))
          (i32.mul (i32.const 100) (i64.eqz (i64.or (i64.load (i32.const 16)) (i64.load (i32.const 24)))))))
        (i32.const 1)))""")
    with running(engine, wasm) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == lib.BLITZ_V_STOP
        assert exchange.c.response.status == 200 + int(time.time() * 1000 / 1e11)
