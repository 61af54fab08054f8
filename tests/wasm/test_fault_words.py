"""Every way in which a guest can end a call has one sentence in plain words, and the guest's frames.

Kinds of faults by depths of calls, each with the functions' names and without.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from blitz.errors import PluginError, PluginMemory, PluginTimeout, PluginTrap
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING

from .support import Guest, exchanging, running

Wat = Callable[[str], bytes]

KEPT = 20  # the engine's; one line says so where there may have been more
CUT = "... (the engine keeps the 20 innermost)"
PAGE = 65536
MEMORY = 16 * PAGE
IMPORTS = """(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (import "env" "set_status" (func $set_status (param i32)))"""
IMPORTED = 3
DECLARED = """
  (memory (export "memory") 1) (table $t 2 2 funcref) (elem (table $t) (i32.const 1) func $f0)
  (tag $e (param i32)) (type $nothing (func)) (type $other (func (param f64)))
  (type $s (struct (field (mut i32)))) (type $a (array (mut i32)))
  (type $list (struct (field (ref null $list)) (field (ref $a))))
  (global $kept (mut (ref null $list)) (ref.null $list))
  (data (i32.const 0) "\\06\\00\\00\\00o\\00h\\00!\\00")"""

KINDS = {
    "unreachable": ("(unreachable)", "unreachable code was executed (a panic or an abort of the guest)"),
    "division": ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer division by zero"),
    "remainder": ("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", "integer division by zero"),
    "overflow": ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "integer overflow"),
    "conversion": ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid conversion to integer"),
    "load": ("(drop (i32.load (i32.const 0xffffff0)))", "memory access out of bounds"),
    "store": ("(i64.store8 offset=4294967295 (i32.const -1) (i64.const 1))", "memory access out of bounds"),
    "fill": (
        "(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7))",
        "memory access out of bounds",
    ),
    "copy": (
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 65536))",
        "memory access out of bounds",
    ),
    "element": ("(drop (table.get $t (i32.const 2)))", "table access out of bounds"),
    "call beyond the table": (
        "(call_indirect (type $nothing) (i32.const 9))",
        "table access out of bounds",
    ),
    "call of null": (
        "(call_indirect (type $nothing) (i32.const 0))",
        "indirect call to a null table entry",
    ),
    "call of another type": (
        "(call_indirect (type $other) (f64.const 0) (i32.const 1))",
        "indirect call of another type",
    ),
    "null": ("(drop (struct.get $s 0 (ref.null $s)))", "use of a null reference"),
    "call_ref of null": ("(call_ref $nothing (ref.null $nothing))", "use of a null reference"),
    "array": (
        "(drop (array.get $a (array.new $a (i32.const 1) (i32.const 3)) (i32.const 3)))",
        "array access out of bounds",
    ),
    "cast": (
        "(drop (ref.cast (ref $s) (array.new $a (i32.const 1) (i32.const 3))))",
        "a cast to another type failed",
    ),
    "exception": ("(throw $e (i32.const 7))", "an exception was not caught"),
    "a heap of objects": (
        "(loop $l (global.set $kept (struct.new $list (global.get $kept) (array.new $a (i32.const 1)"
        " (i32.const 9000)))) (br $l))",
        f"no room for an object: the GC heap may have {MEMORY} bytes, as the memory",
    ),
    "memory that is full": (
        "(loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) (unreachable)",
        "unreachable code was executed (a panic or an abort of the guest); its memory is full: "
        f"{MEMORY} of {MEMORY} bytes",
    ),
    "memory that would be twice as large": (
        "(drop (memory.grow (i32.const 9)))"
        "(if (i32.lt_s (memory.grow (i32.const 10)) (i32.const 0)) (then (unreachable)))",
        "unreachable code was executed (a panic or an abort of the guest); its memory has "
        f"{10 * PAGE} of {MEMORY} bytes",
    ),
    "exit": ("(call $exit (i32.const 3))", "the guest exited with status 3"),
    "AssemblyScript's abort": (
        "(call $abort (i32.const 4) (i32.const 0) (i32.const 30) (i32.const 7))",
        "the guest aborted: oh! (:30:7)",
    ),
    "a host call": (
        "(call $set_status (i32.const 1000))",
        "set_status(1000): the status is not within 200 to 599",
    ),
}
OF_MEMORY = ("a heap of objects",)
FOREVER = "(loop $again (br $again))"


def module(body: str, depth: int, where: str = "process_request") -> str:
    """*where* calls f0, which calls f1, and so on; f*depth* does *body*."""
    chain = "".join(f"(func $f{at} (call $f{at + 1}))" for at in range(depth))
    calls = {name: "(call $f0)" if name == where else "" for name in ("start", "init", "process_request")}
    return f"""(module {IMPORTS} {DECLARED} {chain} (func $f{depth} {body})
      (func (export "blitz_buffer") (result i32) (i32.const 1024))
      (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
      (func $request (export "process_request") (param i32 i32 i32 i32) (result i32)
        {calls["process_request"]} (i32.const 0))
      (func $init (export "init") (result i32) {calls["init"]} (i32.const 0))
      (func $start {calls["start"]}) (start $start))"""


def nameless(wasm: bytes) -> bytes:
    """Without its custom sections."""
    out, at = wasm[:8], 8
    while at < len(wasm):
        size, shift, end = 0, 0, at + 1
        while True:
            size |= (wasm[end] & 0x7F) << shift
            shift, end = shift + 7, end + 1
            if wasm[end - 1] < 0x80:
                break
        if wasm[at] != 0:
            out += wasm[at : end + size]
        at = end + size
    return out


def expected(depth: int, entrance: str, *, named: bool) -> tuple[str, ...]:
    """The frames of ``module``; how its entrances are numbered follows from how many functions it has."""
    numbers = {"request": depth + 3, "init": depth + 4, "start": depth + 5}
    functions = [(f"f{at}", at) for at in range(depth, -1, -1)] + [(entrance, numbers[entrance])]
    frames = [name if named else f"<wasm function {IMPORTED + at}>" for name, at in functions]
    return (*frames[:KEPT], CUT) if len(frames) >= KEPT else tuple(frames)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_has_a_sentence_and_frames(engine: Engine, wat: Wat, kind: str) -> None:
    body, sentence = KINDS[kind]
    draw = random.Random(kind)
    for depth in (0, draw.randrange(1, 18), 18, draw.randrange(19, 200)):
        for named in (True, False):
            wasm = wat(module(body, depth))
            settings = {"grants": ("gc",), "memory": MEMORY}
            wasm = wasm if named else nameless(wasm)
            with running(engine, wasm, **settings) as guest, exchanging() as exchange:
                error = guest.fails(guest.request(exchange))
            assert type(error) is (PluginMemory if kind in OF_MEMORY else PluginTrap)
            assert error.message == f"guest failed in process_request: {sentence}"
            assert error.frames == expected(depth, "request", named=named), (depth, named)


def test_an_overflow_names_the_size_of_the_stack_and_says_that_frames_are_left_out(
    engine: Engine, wat: Wat
) -> None:
    for body in ("(call $f0)", "(call $f0) (drop (memory.grow (i32.const 0)))"):
        for depth in (0, 1, 7):
            with running(engine, wat(module(body, depth)), grants=("gc",)) as guest, exchanging() as exchange:
                error = guest.fails(guest.request(exchange))
            assert error.message == (
                "guest failed in process_request: the stack overflowed: its calls took more than "
                "524288 bytes, which is a fixed limit"
            )
            if depth == 0:
                assert error.frames == ("f0", f"... {KEPT - 2} more of the same", "f0", CUT)
            else:
                assert len(error.frames) == KEPT + 1 and error.frames[-1] == CUT
                assert all(re.fullmatch(r"f\d", frame) for frame in error.frames[:-1])


@pytest.mark.parametrize("cycle", [1, 2, 5])
def test_recursion_out_of_the_memory_may_be_a_stack_of_the_compilers(
    engine: Engine, wat: Wat, cycle: int
) -> None:
    """They keep one at the memory's beginning; it grows downwards, and below 0 addresses are very large."""
    chain = "".join(
        f"(func $r{at} (global.set $stack (i32.sub (global.get $stack) (i32.const 512)))"
        f" (i32.store8 (global.get $stack) (i32.const 1)) (call $r{(at + 1) % cycle}))"
        for at in range(cycle)
    )
    text = module("(call $r0)", 0).replace(
        "(func $f0", f"(global $stack (mut i32) (i32.const 16384)) {chain} (func $f0"
    )
    with running(engine, wat(text), grants=("gc",)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
    assert error.message == (
        "guest failed in process_request: memory access out of bounds; its calls nest deeply: "
        "the stack that its compiler keeps in the memory may have overflowed"
    )


# ---------------------------------------------------------------- past the deadline


def late(guest: Guest, code: int) -> PluginError:
    """End a call that has had a few slices, as the gateway does at a deadline."""
    for _ in range(3):
        assert code == PENDING
        code = guest.instance.resume()
    error = guest.instance.time_out()
    assert isinstance(error, PluginTimeout)
    assert guest.instance.resume() < 0
    return error


@pytest.mark.parametrize("where", ["start", "init", "process_request"])
def test_a_timeout_says_where_the_guest_was(engine: Engine, wat: Wat, where: str) -> None:
    draw = random.Random(where)
    for depth in (0, draw.randrange(1, 18), draw.randrange(19, 60)):
        for named in (True, False):
            wasm = wat(module(FOREVER, depth, where))
            wasm = wasm if named else nameless(wasm)
            with running(engine, wasm, grants=("gc",), started=False) as guest, exchanging() as exchange:
                code = guest.instance.start()
                if where == "process_request":
                    assert guest.finish(code) == 0
                    code = guest.instance.request(exchange.c)
                error = late(guest, code)
            assert error.hook == where
            entrance = "request" if where == "process_request" else where
            assert error.frames == expected(depth, entrance, named=named), (depth, named)


def test_a_start_section_that_ends_as_it_is_timed_out_is_late_all_the_same(engine: Engine, wat: Wat) -> None:
    work = (
        "(local $n i32) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))"
        " (i32.const {}))))"
    )
    for rounds in (3_000_000, 6_000_000, 12_000_000, 50_000_000):
        with running(
            engine, wat(module(work.format(rounds), 0, "start")), grants=("gc",), started=False
        ) as guest:
            if guest.instance.start() != PENDING:
                continue
            assert isinstance(guest.instance.time_out(), PluginTimeout)
            assert guest.instance.start() < 0 and guest.instance.resume() < 0


def test_a_fault_stays_what_it_was_when_its_time_is_over_too(engine: Engine, wat: Wat) -> None:
    with running(engine, wat(module("(unreachable)", 3)), grants=("gc",)) as guest, exchanging() as exchange:
        assert guest.request(exchange) == FAULT
        assert guest.instance.time_out().frames == expected(3, "request", named=True)


def test_the_page_lists_every_sentence() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "plugin-abi.md").read_text(encoding="utf-8")
    table = page[page.index("\n## Faults\n") :]
    for kind, (_, sentence) in KINDS.items():
        if kind not in ("AssemblyScript's abort", "a host call"):
            assert sentence.partition(";")[0] in table, sentence
    assert "the stack overflowed: its calls took more than 524288 bytes, which is a fixed limit" in table
