"""Wasm GC is off unless granted: its values live in a heap beside the memory that ``memory`` bounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from blitz._native import lib
from blitz.errors import PluginLoadError
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT

from .support import MIB, Guest, exchanging, running

Wat = Callable[[str], bytes]

HOOK = """
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) {does} (i32.const 0))"""

# What it declares, what its hook does.
NEEDING = {
    "struct": (
        "(type $s (struct (field (mut i32))))",
        "(struct.set $s 0 (struct.new $s (i32.const 1)) (i32.const 2))",
    ),
    "array": ("(type $a (array (mut i64)))", "(drop (array.new $a (i64.const 1) (i32.const 9)))"),
    "i31": ("", "(drop (i31.get_u (ref.i31 (i32.const 1))))"),
    "anyref in a table": ("(table 1 anyref)", ""),
    "eqref in a global": ("(global (mut eqref) (ref.null eq))", ""),
    "a reference that the caller gives": ("(func (param (ref any)))", ""),
    "an import's type": (
        '(type $s (struct (field i32))) (import "wbg" "__wbg_new_0123456789abcdef" (func (param (ref $s))))',
        "",
    ),
    "a group of types": ("(rec (type $f (func)) (type $g (func (param (ref $f)))))", ""),
    "an open type": ("(type $f (sub (func)))", ""),
    "a tag": ("(tag (param i32))", ""),
    "throw": ("(tag $t)", "(block $h (try_table (catch $t $h) (throw $t)))"),
    "exnref": ("(table 1 exnref)", ""),
    "a typed function reference": (
        "(type $f (func)) (func (param (ref null $f)) (call_ref $f (local.get 0)))",
        "",
    ),
    "array in code that never runs": (
        "(type $a (array i8)) (func (drop (array.new_default $a (i32.const 1))))",
        "",
    ),
}
WITHOUT = {
    "nothing": ("", ""),
    "externrefs": ("(table 10 externref) (global (mut externref) (ref.null extern))", ""),
    "a table of functions": ("(table 1 funcref) (elem (i32.const 0) $f) (func $f)", ""),
    "vectors": ("(func (param v128))", ""),
    "tail calls": ("(func $f (return_call $f))", ""),
    "several results": ("(func (result i32 i32) (i32.const 1) (i32.const 2))", ""),
    "bulk memory": ("", "(memory.fill (i32.const 0) (i32.const 0) (i32.const 9))"),
}
# Nothing that one could grant.
NEVER = {
    "stack switching": "(type $f (func)) (type $c (cont $f))",
    "pages of one byte": "(memory 1 (pagesize 1))",
    "the old exceptions": "(tag $t) (func try catch $t end)",
    "a second memory": "(memory 1)",
    "a shared memory": "(memory 1 1 shared)",
    "atomics": "(func (drop (i32.atomic.load (i32.const 0))))",
}

# Keeps all that it makes.
HOARDER = (
    """(module
  (type $a (array (mut i32)))
  (type $n (struct (field (ref null $n)) (field (ref $a))))
  (global $all (mut (ref null $n)) (ref.null $n))"""
    + HOOK.format(
        does="""
    (loop $l
      (global.set $all (struct.new $n (global.get $all) (array.new $a (i32.const 1) (i32.const 4000))))
      (br $l))"""
    )
    + ")"
)


def module_of(declared: str, does: str = "") -> str:
    """Imports stand first in the text of a module."""
    return f"(module {declared} {HOOK.format(does=does)})"


def cases(table: dict[str, object]) -> list[object]:
    return [pytest.param(value, id=name) for name, value in table.items()]


@pytest.mark.parametrize("parts", cases(NEEDING))
def test_every_feature_with_a_heap_of_its_own_needs_it(
    engine: Engine, wat: Wat, parts: tuple[str, str]
) -> None:
    wasm = wat(module_of(*parts))
    for grants, written in (((), '["gc"]'), (("clock", "fine_clock"), '["fine_clock", "gc"]')):
        with pytest.raises(PluginLoadError) as caught:
            Guest(engine, wasm, name="p", grants=grants)
        assert str(caught.value).startswith(
            "guest.wasm uses Wasm GC, exceptions or typed function references, which is not granted; "
            f'to grant it, write grant = {written} in its [[plugins]] entry (name = "p")'
        )
    with running(engine, wasm, grants=("gc",)) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE


@pytest.mark.parametrize("parts", cases(WITHOUT))
def test_what_lives_in_the_memory_needs_nothing(engine: Engine, wat: Wat, parts: tuple[str, str]) -> None:
    with running(engine, wat(module_of(*parts)), grants=()) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE


@pytest.mark.parametrize("declared", cases(NEVER))
def test_what_nobody_can_grant_does_not_load(engine: Engine, wat: Wat, declared: str) -> None:
    with pytest.raises(PluginLoadError):
        Guest(engine, wat(module_of(declared)), grants=("clock", "random", "gc"))


def test_a_manifest_has_to_ask_for_it(engine: Engine, wat: Wat) -> None:
    with pytest.raises(PluginLoadError, match=r"write gc = true under \[capabilities\] in p\.toml"):
        Guest(engine, wat(module_of(*NEEDING["array"])), grants=("gc",), asks=(), manifest="p.toml")


def test_its_heap_is_no_larger_than_the_memory_may_be(engine: Engine, wat: Wat) -> None:
    with running(engine, wat(HOARDER), grants=("gc",), memory=4 * MIB) as guest, exchanging() as exchange:
        before = resident()
        assert guest.request(exchange) == FAULT
        assert resident() - before < 16 * MIB


@pytest.mark.parametrize(
    "declared", [WITHOUT["externrefs"][0], "(table 1 funcref)" * 4], ids=["externrefs", "tables"]
)
def test_no_instance_takes_the_place_of_another(wat: Wat, declared: str) -> None:
    """An instance with externrefs has a heap, which stays empty; one may have four tables."""
    engine = Engine(max_instances=3, max_memory_size=MIB)
    wasm = wat(module_of(declared))
    with ExitStack() as alive:
        alive.callback(engine.close)
        guest = Guest(engine, wasm, grants=())
        alive.callback(guest.close)
        others = [guest.plugin.new_instance() for _ in range(2)]
        for instance in (guest.instance, *others):
            assert guest.finish(instance.start(), instance) == lib.BLITZ_V_CONTINUE, instance.fault()
        for instance in others:
            instance.free()


# What throws, and the hook that it ends.
THROWERS = {
    "start section": "start",
    "_initialize": "init",
    "init": "init",
    "allocator": "process_request",
    "process_request": "process_request",
    "cleanup": "cleanup",
}


@pytest.mark.parametrize("where", THROWERS)
def test_an_exception_that_nobody_catches_is_a_fault(engine: Engine, wat: Wat, where: str) -> None:
    """Also where the guest's allocator throws it at a host function, and the guest would catch it there."""
    throw = {name: "(throw $t)" if name == where else "" for name in THROWERS}
    wasm = wat(
        f"""(module
          (import "wbg" "__wbg_getheader_0123456789abcdef" (func $get_header (param i32 i32 i32)))
          (tag $t (export "tag")) (memory (export "memory") 1) (data (i32.const 16) "host")
          (func (export "blitz_buffer") (result i32) (i32.const 1024))
          (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
          (func (export "__wbindgen_malloc") (param i32) (result i32) {throw["allocator"]} (i32.const 4096))
          (func (export "_initialize") {throw["_initialize"]})
          (func (export "init") (result i32) {throw["init"]} (i32.const 0))
          (func (export "process_request") (param i32 i32 i32 i32) (result i32)
            {throw["process_request"]}
            (block $caught
              (try_table (catch_all $caught) (call $get_header (i32.const 8) (i32.const 16) (i32.const 4))))
            (i32.const 0))
          (func (export "cleanup") (result i32) {throw["cleanup"]} (i32.const 0))
          (func $start {throw["start section"]}) (start $start))"""
    )
    with running(engine, wasm, grants=("gc",), started=False) as guest, exchanging() as exchange:
        codes = [guest.start()]
        if codes[-1] == lib.BLITZ_V_CONTINUE:
            codes.append(guest.request(exchange))
        if codes[-1] == lib.BLITZ_V_CONTINUE:
            codes.append(guest.finish(guest.instance.cleanup()))
        assert codes[-1] == FAULT
        assert guest.instance.fault().hook == THROWERS[where]


def test_a_host_function_that_is_not_served_takes_any_values(engine: Engine, wat: Wat) -> None:
    imported = (
        '(import "wbg" "__wbg_new_0123456789abcdef" (func $new (param (ref $s) v128 f32) (result (ref $s))))'
    )
    does = "(drop (call $new (struct.new $s (i32.const 1)) (v128.const i64x2 1 2) (f32.const 1)))"
    wasm = wat(module_of(f"(type $s (struct (field i32))) {imported}", does))
    with running(engine, wasm, grants=("gc",)) as guest, exchanging() as exchange:
        assert guest.request(exchange) == FAULT
        assert "wbg.__wbg_new_0123456789abcdef, which this host does not serve" in str(guest.instance.fault())


@pytest.mark.parametrize(
    "table", ["10 externref", "i64 10 externref", "10 10 externref", "10 (ref null extern)"]
)
def test_any_table_of_externrefs_may_be_the_glue_s(engine: Engine, wat: Wat, table: str) -> None:
    """Its slots are made by a start section, before the instance is complete; 4 of them."""
    wasm = wat(
        f"""(module (import "wbg" "__wbindgen_init_externref_table" (func $make))
          (table (export "__wbindgen_externrefs") {table}) {HOOK.format(does="")} (start $make))"""
    )
    with running(engine, wasm, grants=(), started=False) as guest:
        bounded = table.startswith("10 10")
        assert guest.start() == (FAULT if bounded else lib.BLITZ_V_CONTINUE)
        if bounded:
            assert "the table of externrefs cannot grow" in str(guest.instance.fault())


def resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
