"""A trap costs microseconds, whatever names and debug information the module has.

Times here are some thousand times what is measured: what they catch is work that a guest chooses, which takes
seconds or minutes a trap where it is done.
"""

from __future__ import annotations

import time

import pytest
from wasmtime import wat2wasm

from blitz.errors import PluginLoadError, PluginTimeout, PluginTrap
from blitz.wasm.engine import Engine
from blitz.wasm.instance import PENDING
from blitz.wasm.module import Module
from blitz.wasm.symbols import MAX_FRAMES, MAX_SHOWN
from tests.wasm.support import Guest, exchanging, running

from .modules import debug_bombs, itanium, mangled_names, number, trapping

DEEP = 21  # calls
KEPT = 20  # frames, the innermost: what the engine keeps
SAME = f"... {KEPT - 2} more of the same"
CUT = "... (the engine keeps the 20 innermost)"
TRAPS = 50
AS_DEEP_AS_FITS = 10_000  # calls, in half a megabyte
PATIENCE = 8.0  # seconds for so many traps, of which each takes 30 µs
UNREACHABLE = (
    "guest failed in process_request: unreachable code was executed (a panic or an abort of the guest)"
)
OVERFLOW = "the stack overflowed: its calls took more than 524288 bytes, which is a fixed limit"
LOOP = b"\x03\x40\x0c\0\x0b"
CALL_ITSELF = b"\x10" + number(3)


def trap(guest: Guest, times: int) -> PluginTrap:
    """Have it trap so often, within PATIENCE; the last fault."""
    began = time.perf_counter()
    for _ in range(times):
        guest.renew()
        with exchanging() as exchange:
            error = guest.fails(guest.request(exchange))
        assert isinstance(error, PluginTrap)
        assert len(error.frames) <= MAX_FRAMES + 1
        for frame in error.frames:
            assert len(frame) <= 2 * MAX_SHOWN and frame.isprintable()
        assert time.perf_counter() - began < PATIENCE
    return error


def deadline(guest: Guest, times: int) -> PluginTimeout:
    """End it at a deadline so often, all within PATIENCE; where it was."""
    spent = 0.0
    for _ in range(times):
        guest.renew()
        with exchanging() as exchange:
            assert guest.instance.request(exchange.c) == PENDING
            began = time.perf_counter()
            error = guest.instance.time_out()
            spent += time.perf_counter() - began
        assert isinstance(error, PluginTimeout)
        assert spent < PATIENCE
    return error


NAMES = [pytest.param(name, id=what) for seed in range(2) for what, name in mangled_names(seed)]


@pytest.mark.parametrize("name", NAMES)
def test_a_trap_in_functions_with_hostile_names(engine: Engine, name: bytes) -> None:
    with running(engine, trapping([name] * (DEEP + 1))) as guest:
        error = trap(guest, TRAPS)
        assert error.message == UNREACHABLE
        first, same, last, cut = error.frames
        assert (first, same, cut) == (last, SAME, CUT)


@pytest.mark.parametrize("name", NAMES[::20])
def test_a_deadline_in_functions_with_hostile_names(engine: Engine, name: bytes) -> None:
    with running(engine, trapping([name] * (DEEP + 1), last=LOOP)) as guest:
        assert deadline(guest, TRAPS // 5).frames[1::2] == (SAME, CUT)


def test_a_deadline_deep_in_the_stack(engine: Engine) -> None:
    text = f"""(module (memory (export "memory") 1)
      (func (export "blitz_buffer") (result i32) (i32.const 1024))
      (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
      (func $down (param i32)
        (if (i32.eqz (local.get 0)) (then (loop $l (br $l))))
        (call $down (i32.sub (local.get 0) (i32.const 1))))
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        (call $down (i32.const {AS_DEEP_AS_FITS})) (i32.const 0)))"""
    with running(engine, bytes(wat2wasm(text))) as guest:
        assert deadline(guest, TRAPS // 5).frames == ("down", SAME, "down", CUT)


BOMBS = [pytest.param(debug, id=what) for seed in range(2) for what, debug in debug_bombs(seed)]


@pytest.mark.parametrize("debug", BOMBS)
def test_a_trap_in_a_module_with_hostile_debug_information(engine: Engine, debug: bytes) -> None:
    names = [b"f%d" % at for at in range(DEEP + 1)]
    for where in ({"after": debug}, {"before": debug}):
        with running(engine, trapping(names, **where)) as guest:
            assert trap(guest, TRAPS).frames == (*(b.decode() for b in names[: -KEPT - 1 : -1]), CUT)


def test_the_environment_does_not_turn_debug_information_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASMTIME_BACKTRACE_DETAILS", "1")
    engine = Engine(max_instances=2, max_memory_size=1 << 20)
    try:
        for _, debug in debug_bombs(3):
            with running(engine, trapping([b"f"] * (DEEP + 1), after=debug)) as guest:
                assert trap(guest, TRAPS).frames == ("f", SAME, "f", CUT)
    finally:
        engine.close()


@pytest.mark.parametrize("name", [one for one in NAMES if len(one.values[0]) > 200])
def test_a_refusal_that_names_a_hostile_name_is_one_short_line(engine: Engine, name: bytes) -> None:
    """The engine says which export is there twice; a name that is no text is refused for that."""
    began = time.perf_counter()
    with pytest.raises(PluginLoadError) as caught:
        Module.compile(engine, trapping(exports=[name, name]), "guest.wasm")
    assert time.perf_counter() - began < PATIENCE
    assert caught.value.message.isprintable() and len(caught.value.message) < 1_200


def test_a_trap_at_the_end_of_the_stack(engine: Engine) -> None:
    """Walking 32,000 frames takes the engine 0.3 ms, which the size of the stack bounds."""
    with running(engine, trapping([itanium(20)] * 2, last=CALL_ITSELF)) as guest:
        error = trap(guest, TRAPS)
        assert error.message == f"guest failed in process_request: {OVERFLOW}"
        assert error.frames[1::2] == (SAME, CUT)


def test_a_trap_in_a_module_of_many_functions(engine: Engine) -> None:
    names = [b"f%d" % at for at in range(5_000)]
    with running(engine, trapping(names, calls=DEEP, more=len(names) - DEEP - 1)) as guest:
        assert trap(guest, TRAPS).frames[:2] == ("f21", "f20")
