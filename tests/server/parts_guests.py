"""Guests on parts of bodies, for tests: each keeps its state in its memory, which is the stream's."""

from __future__ import annotations

from typing import Any

import wasmtime

from blitz.config import Plugin

BUFFER = 65536  # of the guests' fixed area, and so the largest piece that they get

_SET_CHUNK = '(import "blitz" "set_chunk" (func $set_chunk (param i32 i32)))'
_HEAD = f"""
  {_SET_CHUNK}
  (import "blitz" "skip_body" (func $skip_body))
  (import "blitz" "log" (func $log (param i32 i32 i32 i32)))
  (import "blitz" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (memory (export "memory") 6)
  (data (i32.const 300) "info") (data (i32.const 310) "x-seen") (data (i32.const 320) "yes")
  (func (export "blitz_buffer") (result i32) (i32.const 65536))
  (func (export "blitz_buffer_size") (result i32) (i32.const 65536))
  (global $at (mut i32) (i32.const 0))"""

# Each byte is XORed with its place in the stream: wherever that is cut, and in no other stream's place.
BY_PLACE = """
  (local $i i32)
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $len)))
    (i32.store8 (i32.add (i32.const 131072) (local.get $i))
      (i32.xor (i32.load8_u (i32.add (local.get $ptr) (local.get $i)))
        (i32.and (global.get $at) (i32.const 255))))
    (global.set $at (i32.add (global.get $at) (i32.const 1)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $set_chunk (i32.const 131072) (local.get $len))"""
PASS = ""
# Every byte twice: what comes out is larger than what a part may have.
TWICE = """
  (local $i i32) (local $to i32)
  (local.set $to (i32.const 131072))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $len)))
    (i32.store8 (local.get $to) (i32.load8_u (i32.add (local.get $ptr) (local.get $i))))
    (i32.store8 (i32.add (local.get $to) (i32.const 1))
      (i32.load8_u (i32.add (local.get $ptr) (local.get $i))))
    (local.set $to (i32.add (local.get $to) (i32.const 2)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $set_chunk (i32.const 131072) (i32.mul (local.get $len) (i32.const 2)))"""
DROP = "(call $set_chunk (i32.const 0) (i32.const 0))"
# The first piece is dropped, and the rest is not looked at.
FIRST_ONLY = f"{DROP} (return (i32.const 1))"
SPIN = "(loop $again (br $again))"
TRAP = "unreachable"
ERROR = "(return (i32.const -1))"


def by_place(data: bytes) -> bytes:
    """What BY_PLACE makes of the whole."""
    return bytes(byte ^ (index & 255) for index, byte in enumerate(data))


def module(
    *,
    request: str | None = None,
    response: str | None = None,
    head: str | None = None,
    end: bool = False,
    end_code: str = "",
    observes: bool = False,
) -> bytes:
    """A module whose hooks do that: on parts of requests and of responses, on the response's head.

    Args:
        end: it logs the cause of each stream's end, after *end_code*.
        observes: it cannot change anything.
    """
    code = _HEAD if not observes else _HEAD.replace(_SET_CHUNK, "")
    chunk = "(param $ptr i32) (param $len i32) (param $end i32) (result i32)"
    if request is not None:
        code += f'(func (export "process_request_chunk") {chunk} {request} (i32.const 0))'
    if response is not None:
        code += f'(func (export "process_response_chunk") {chunk} {response} (i32.const 0))'
    if head is not None:
        code += f'(func (export "process_response_head") (param i32) (result i32) {head} (i32.const 0))'
    if end:
        code += f"""(func (export "process_end") (param $ptr i32) (param $len i32) {end_code}
          (call $log (i32.const 300) (i32.const 4) (local.get $ptr) (local.get $len)))"""
    return bytes(wasmtime.wat2wasm(f"(module {code})"))


_CODES = ("request", "response", "head", "end", "end_code", "observes")


def guest(directory: Any, **settings: Any) -> Plugin:
    """A plugin of such a module, with other settings besides."""
    codes = {key: settings.pop(key) for key in _CODES if key in settings}
    name = settings.setdefault("name", "guest")
    path = directory / f"{name}.wasm"
    path.write_bytes(module(**codes))
    return Plugin(file=str(path), **settings)
