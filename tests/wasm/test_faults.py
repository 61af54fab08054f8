"""Guests that trap, exit, loop or are cancelled: each ends in a defined way, and the next one runs."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from blitz._native import lib
from blitz.errors import PluginLoadError, PluginMemory, PluginTimeout, PluginTrap
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING
from blitz.wasm.module import Module

from .support import MIB, Guest, exchanging, running

Wasm = Callable[[str], bytes]

BUFFER = """(func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))"""
FOREVER = "(loop $again (br $again))"


def hook(body: str, more: str = "", imports: str = "", start: str = "") -> str:
    """A module whose process_request does *body*."""
    return f"""(module {imports} (memory (export "memory") 1) {BUFFER} {more}
      (func $process (export "process_request") (param i32 i32 i32 i32) (result i32)
        {body} (i32.const 0)) {start})"""


TRAPS = [
    pytest.param("(unreachable)", "", "unreachable code was executed", id="unreachable"),
    pytest.param("(drop (i32.load (i32.const 65536)))", "", "memory access out of bounds", id="load"),
    pytest.param("(i32.store (i32.const -1) (i32.const 1))", "", "memory access out of bounds", id="store"),
    pytest.param(
        "(drop (i32.div_s (i32.const 1) (i32.const 0)))", "", "integer division by zero", id="divide"
    ),
    pytest.param(
        "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "", "integer overflow", id="overflow"
    ),
    pytest.param(
        "(drop (i32.trunc_f32_s (f32.const nan)))", "", "invalid conversion to integer", id="conversion"
    ),
    pytest.param("(call $down)", "(func $down (call $down))", "the stack overflowed", id="stack"),
    pytest.param(
        "(call_indirect (i32.const 9))", "(table 1 funcref)", "table access out of bounds", id="table bounds"
    ),
    pytest.param(
        "(call_indirect (i32.const 0))",
        "(table 1 funcref)",
        "indirect call to a null table entry",
        id="table null",
    ),
    pytest.param(
        "(call_indirect (i32.const 0))",
        "(table 1 funcref) (elem (i32.const 0) $process)",
        "indirect call of another type",
        id="table type",
    ),
    pytest.param(
        "(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7))",
        "",
        "memory access out of bounds",
        id="fill",
    ),
]


@pytest.mark.parametrize(("body", "more", "cause"), TRAPS)
def test_traps_are_told_in_words(engine: Engine, wat: Wasm, body: str, more: str, cause: str) -> None:
    with running(engine, wat(hook(body, more))) as guest, exchanging() as exchange:
        code = guest.request(exchange)
        assert code == FAULT
        error = guest.fails(code)
        assert isinstance(error, PluginTrap)
        assert str(error).startswith(f"guest failed in process_request: {cause}")
        assert (error.plugin, error.hook) == ("guest", "process_request")
        assert error.frames[0] in ("process", "down")


def test_an_error_without_a_trap_code_has_words_of_ours(engine: Engine, wat: Wasm) -> None:
    """The engine's own would name the guest's functions."""
    try:
        module = Module.compile(engine, wat(hook("(throw $t)", "(tag $t)")), "guest.wasm")
    except PluginLoadError as error:
        pytest.skip(f"the engine has no exceptions: {error}")
    with running(engine, module, grants=("gc",)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert error.message.endswith("an exception was not caught")
        assert error.frames == ("process",)


def test_frames_come_innermost_first(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("frames")) as guest, exchanging() as exchange:
        assert guest.fails(guest.request(exchange)).frames == ("inner_most", "middle", "process")


def test_the_text_of_an_error_has_its_frames_and_the_message_is_one_line(
    engine: Engine, guest_wasm: Wasm
) -> None:
    with running(engine, guest_wasm("frames")) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
    assert str(error).splitlines() == [
        error.message,
        "    at inner_most",
        "    at middle",
        "    at process",
    ]
    assert error.message.startswith("guest failed in process_request: ")


def test_a_poisoned_instance_runs_nothing_more(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("frames")) as guest, exchanging() as exchange:
        guest.request(exchange)
        assert guest.request(exchange) == lib.BLITZ_E_STATE
        assert guest.response(exchange) == lib.BLITZ_E_STATE
        assert guest.instance.cleanup() == lib.BLITZ_E_STATE
        assert guest.instance.resume() == lib.BLITZ_E_STATE
        assert guest.instance.start() == lib.BLITZ_E_STATE
        guest.renew()
        assert guest.request(exchange) == FAULT


# ---------------------------------------------------------------- endless guests

ALLOC_LOOP = (
    '(module (import "wbg" "__wbg_getheader_0123456789abcdef" (func $get (param i32 i32 i32)))'
    ' (memory (export "memory") 1) (global $armed (mut i32) (i32.const 0))'
    ' (func $loop_in_malloc (export "__wbindgen_malloc") (param i32) (result i32)'
    f"   (if (global.get $armed) (then {FOREVER})) (i32.const 4096))"
    ' (func $process (export "process_request") (param i32 i32 i32 i32) (result i32)'
    "   (global.set $armed (i32.const 1))"
    "   (i32.store (i32.const 0) (i32.const 0x74736f68))"
    "   (call $get (i32.const 64) (i32.const 0) (i32.const 4)) (i32.const 0)))"
)
LOOPS = [
    pytest.param(hook(FOREVER), "process_request", id="hook"),
    pytest.param(
        f'(module (memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) {FOREVER}'
        ' (i32.const 4)) (func (export "free") (param i32))'
        '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))',
        "process_request",
        id="allocator of arguments",
    ),
    pytest.param(
        '(module (memory (export "memory") 1)'
        ' (func (export "malloc") (param i32) (result i32) (i32.const 4096))'
        f' (func (export "free") (param i32) {FOREVER})'
        '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))',
        "process_request",
        id="free",
    ),
    pytest.param(ALLOC_LOOP, "process_request", id="allocator of a result"),
]
START_LOOPS = [
    pytest.param(hook("", f"(func $s {FOREVER})", start="(start $s)"), "start", id="start section"),
    pytest.param(hook("", f'(func (export "_initialize") {FOREVER})'), "init", id="_initialize"),
    pytest.param(hook("", f'(func (export "init") (result i32) {FOREVER} (i32.const 0))'), "init", id="init"),
]


def cancel(guest: Guest, code: int) -> PluginTimeout:
    for _ in range(3):
        assert code == PENDING
        code = guest.instance.resume()
    guest.instance.cancel()
    error = guest.instance.fault()
    assert isinstance(error, PluginTimeout)
    assert guest.instance.resume() == lib.BLITZ_E_STATE
    return error


@pytest.mark.parametrize(("text", "where"), LOOPS)
def test_an_endless_call_yields_and_can_be_cancelled(
    engine: Engine, wat: Wasm, text: str, where: str
) -> None:
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        error = cancel(guest, guest.instance.request(exchange.c))
        assert error.hook == where
        assert error.frames
        assert exchange.request_fields() == [(b"host", b"example.org")]


@pytest.mark.parametrize(("text", "where"), START_LOOPS)
def test_an_endless_start_yields_and_can_be_cancelled(
    engine: Engine, wat: Wasm, text: str, where: str
) -> None:
    with running(engine, wat(text), started=False) as guest:
        assert cancel(guest, guest.instance.start()).hook == where


def test_an_endless_cleanup_yields(engine: Engine, wat: Wasm) -> None:
    text = hook("", f'(func (export "cleanup") (result i32) {FOREVER} (i32.const 0))')
    with running(engine, wat(text)) as guest:
        assert cancel(guest, guest.instance.cleanup()).hook == "cleanup"


def test_a_cancelled_call_says_where_the_guest_was(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(ALLOC_LOOP)) as guest, exchanging() as exchange:
        error = cancel(guest, guest.instance.request(exchange.c))
        assert error.frames == ("loop_in_malloc",) or error.frames == ("loop_in_malloc", "process")


@pytest.mark.parametrize(("text", "where"), LOOPS)
def test_freeing_a_pending_instance_unwinds_it(engine: Engine, wat: Wasm, text: str, where: str) -> None:
    for _ in range(20):
        with running(engine, wat(text)) as guest, exchanging() as exchange:
            assert guest.instance.request(exchange.c) == PENDING


def test_a_long_call_goes_on_where_it_was(engine: Engine, wat: Wasm) -> None:
    work = (
        "(local $n i32) (loop $more (br_if $more (i32.lt_u"
        " (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 300000000))))"
        " (call $set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))"
    )
    imports = '(import "env" "set_header" (func $set (param i32 i32 i32 i32)))'
    with (
        running(engine, wat(hook(work, '(data (i32.const 0) "x")', imports))) as guest,
        exchanging() as exchange,
    ):
        slices = 0
        code = guest.instance.request(exchange.c)
        while code == PENDING:
            slices += 1
            code = guest.instance.resume()
        assert code & 3 == 0 and slices > 0
        assert exchange.request_fields()[-1] == (b"x", b"x")


# ---------------------------------------------------------------- memory


def test_growth_beyond_the_limit_is_refused_to_the_guest(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("memory_grow"), memory=8 * 65536) as guest, exchanging() as exchange:
        assert guest.request(exchange) & 3 == 0
        assert guest.log() == ["#" * 8]
        assert guest.instance.memory_size() == 8 * 65536


def test_a_guest_that_gives_up_with_its_memory_full_is_told_so(engine: Engine, wat: Wasm) -> None:
    body = "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))"
    with running(engine, wat(hook(body)), memory=2 * 65536) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE
        error = guest.fails(guest.request(exchange))
        assert error.message.endswith("; its memory is full: 131072 of 131072 bytes")


ALLOCATOR = """(module (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) ({})) (func (export "free") (param i32))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        pytest.param("i32.const 0", "the guest's allocator returned 0 for 3 bytes", id="zero"),
        pytest.param("i32.const 65536", "returned 65536 for 3 bytes", id="end"),
        pytest.param("i32.const 65534", "returned 65534 for 3 bytes", id="over the end"),
        pytest.param("i32.const -1", "returned 4294967295 for 3 bytes", id="wrapping"),
    ],
)
def test_an_allocator_that_lies(engine: Engine, wat: Wasm, result: str, sentence: str) -> None:
    with running(engine, wat(ALLOCATOR.format(result))) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginMemory)
        assert sentence in str(error)


def test_an_allocator_may_return_any_place_inside(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(ALLOCATOR.format("i32.const 65533"))) as guest, exchanging() as exchange:
        assert guest.request(exchange) == lib.BLITZ_V_CONTINUE


def test_an_allocator_that_grows_the_memory_under_the_host(engine: Engine, wat: Wasm) -> None:
    text = """(module (import "env" "set_header" (func $set (param i32 i32 i32 i32)))
      (memory (export "memory") 1) (data (i32.const 0) "x-path")
      (func (export "malloc") (param i32) (result i32)
        (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))
      (func (export "free") (param i32))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (call $set (i32.const 0) (i32.const 6) (local.get 2) (local.get 3)) (i32.const 0)))"""
    with running(engine, wat(text)) as guest, exchanging(target=b"/grown") as exchange:
        assert guest.request(exchange) & 3 == 0
        assert exchange.request_fields()[-1] == (b"x-path", b"/grown")
        assert guest.instance.memory_size() == 3 * 65536


def test_an_allocator_that_needs_itself(engine: Engine, wat: Wasm) -> None:
    text = ALLOC_LOOP.replace(FOREVER, "(call $get (i32.const 64) (i32.const 0) (i32.const 4))")
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert error.message.endswith("get_header needs the guest's allocator, which is the caller")


def test_stacks_of_hook_and_allocator_both_overflow_safely(engine: Engine, wat: Wasm) -> None:
    """The hook calls the host at the very end of its stack, the allocator uses up its own allowance."""
    text = """(module (import "wbg" "__wbg_getheader_0123456789abcdef" (func $get (param i32 i32 i32)))
      (memory (export "memory") 1) (data (i32.const 0) "host")
      (global $deep (mut i32) (i32.const 0))
      (func $forever (call $forever))
      (func (export "__wbindgen_malloc") (param i32) (result i32)
        (if (global.get $deep) (then (call $forever))) (i32.const 4096))
      (func $down (param $n i32)
        (if (i32.eqz (local.get $n))
          (then (global.set $deep (i32.const 1)) (call $get (i32.const 64) (i32.const 0) (i32.const 4)))
          (else (call $down (i32.sub (local.get $n) (i32.const 1))))))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (call $down (i32.const %d)) (i32.const 0)))"""
    for depth in (10, 5000, 15000, 1 << 30):
        with running(engine, wat(text % depth)) as guest, exchanging() as exchange:
            assert "the stack overflowed" in str(guest.fails(guest.request(exchange)))


def test_the_slots_of_the_engine_are_bounded(wat: Wasm) -> None:
    engine = Engine(max_instances=2, max_memory_size=MIB)
    guests = [Guest(engine, wat(hook(""))) for _ in range(3)]
    try:
        assert guests[0].start() == guests[1].start() == 0
        error = guests[2].fails(guests[2].start())
        assert re.search(r"all 2 slots for instances are taken", str(error))
        guests[0].instance.free()
        guests[2].renew()
    finally:
        for guest in guests:
            guest.close()
        engine.close()


def test_exit_ends_the_call(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("wasi_exit")) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginTrap)
        assert error.message == "guest failed in process_request: the guest exited with status 3"


def test_the_abort_of_assemblyscript_tells_its_message(engine: Engine, wat: Wasm) -> None:
    text = hook(
        "(call $abort (i32.const 4) (i32.const 0) (i32.const 3) (i32.const 7))",
        '(data (i32.const 0) "\\06\\00\\00\\00o\\00h\\00!\\00")',
        '(import "env" "abort" (func $abort (param i32 i32 i32 i32)))',
    )
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        assert guest.fails(guest.request(exchange)).message.endswith("the guest aborted: oh! (:3:7)")
