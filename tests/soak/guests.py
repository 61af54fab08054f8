"""The plugins of the soak: good ones whose work is looked at, and the hostile ones of ``tests/hostile``."""

from __future__ import annotations

from tests.conftest import compile_wat
from tests.hostile.guests import GUESTS, HostileGuest

__all__ = ["BROKEN", "hostile_guests", "mark", "versioned"]

BUFFER = """(memory (export "memory") 2)
  (func (export "blitz_buffer") (result i32) (i32.const 16384))
  (func (export "blitz_buffer_size") (result i32) (i32.const 98304))"""


def hostile_guests() -> list[HostileGuest]:
    """Those that load and start. What others do is refused at load, see ``BROKEN``."""
    return [
        guest for guest in GUESTS if guest.outcome != "refused" and not guest.outcome.startswith("start-")
    ]


def mark(field: str, value: str, init: str = "", body: str = "") -> bytes:
    """A module whose process_response sets *field* of the answer; *init* and *body* are more code."""
    at = 16 + len(field)
    return compile_wat(
        f"""(module
  (import "blitz" "set_header" (func $set (param i32 i32 i32 i32)))
  {BUFFER}
  (data (i32.const 16) "{field}{value}")
  (func (export "init") (result i32) {init} (i32.const 0))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) {body} (i32.const 0))
  (func (export "process_response") (param i32 i32 i32) (result i32)
    (call $set (i32.const 16) (i32.const {len(field)}) (i32.const {at}) (i32.const {len(value)}))
    (i32.const 0)))"""
    )


def versioned(number: int) -> bytes:
    """The module that reloads replace; every number is other code, compiled anew."""
    return mark("x-version", f"v{number:08}")


# What a reload has to refuse, with a word of the sentence.
BROKEN: list[tuple[bytes, str]] = [
    (b"no module at all", "is not WebAssembly"),
    (b"\0asm\x01\0\0\0\x01", "is cut short"),
    (mark("x-version", "bad", init="(unreachable)"), "unreachable"),
    (mark("x-version", "bad", init="(loop $l (br $l))"), "init ran longer than"),
    (mark("x-version", "bad", body="(unreachable)"), "its trial call failed"),
]
