"""Calls on the engine's own stack, and on fibers while somebody is parked there: nobody can tell which."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from blitz._native import lib
from blitz.errors import PluginTimeout, PluginTrap
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING

from .support import Exchange, Guest, exchanging, parked, running

Wat = Callable[[str], bytes]

BUFFER = """(func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))"""

# The target says what it does: "/s" takes a few slices, "/l" for ever, "/d" overflows its stack, "/t" traps.
GUEST = f"""(module (memory (export "memory") 1) {BUFFER}
  (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0))))
  (func (export "process_request") (param i32 i32) (param $path i32) (param i32) (result i32)
    (local $what i32) (local $n i32)
    (local.set $what (i32.load8_u offset=1 (local.get $path)))
    (if (i32.eq (local.get $what) (i32.const 0x6c)) (then (loop $again (br $again))))
    (if (i32.eq (local.get $what) (i32.const 0x64)) (then (drop (call $down (i32.const 0)))))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then unreachable))
    (if (i32.eq (local.get $what) (i32.const 0x73)) (then (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 40000000))))))
    (i32.const 0)))"""


@contextmanager
def calling(engine: Engine, wasm: bytes, target: bytes) -> Iterator[tuple[Guest, Exchange, int]]:
    """A guest whose call has had its first slice, and what came of that."""
    with running(engine, wasm) as guest, exchanging(target=target) as exchange:
        yield guest, exchange, guest.instance.request(exchange.c)


ON = pytest.mark.parametrize("fiber", [False, True], ids=["own stack", "fiber"])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
def test_guests_that_were_left_go_on_in_any_order(engine: Engine, wat: Wat, order: tuple[int, ...]) -> None:
    wasm = wat(GUEST)
    with (
        calling(engine, wasm, b"/s") as first,
        calling(engine, wasm, b"/s") as second,
        calling(engine, wasm, b"/s") as third,
    ):
        assert [code for *_, code in (first, second, third)] == [PENDING] * 3
        for number in order:
            guest, _, code = (first, second, third)[number]
            assert guest.finish(code) == lib.BLITZ_V_CONTINUE


@pytest.mark.parametrize(
    ("target", "said"), [(b"/t", "unreachable code was executed"), (b"/d", "the stack overflowed")]
)
def test_faults_are_the_same(engine: Engine, wat: Wat, target: bytes, said: str) -> None:
    def fail() -> PluginTrap:
        with calling(engine, wat(GUEST), target) as (guest, _, code):
            assert guest.finish(code) == FAULT
            error = guest.instance.fault()
            assert isinstance(error, PluginTrap)
            return error

    there = fail()
    with parked(engine):
        on_fiber = fail()
    assert said in there.message
    assert there.message == on_fiber.message
    assert there.frames == on_fiber.frames != ()


@ON
def test_one_that_is_ended_says_where_it_was(engine: Engine, wat: Wat, fiber: bool) -> None:
    wasm = wat(GUEST)

    def end() -> None:
        with calling(engine, wasm, b"/l") as (guest, _, code):
            assert code == PENDING
            error = guest.instance.time_out()
            assert isinstance(error, PluginTimeout) and error.frames

    with parked(engine, fiber):
        end()
    with calling(engine, wasm, b"/") as (guest, _, code):
        assert guest.finish(code) == lib.BLITZ_V_CONTINUE


@pytest.mark.parametrize("how", ["cancel", "time_out", "free"])
@ON
def test_a_start_section_that_loops_can_be_ended(engine: Engine, wat: Wat, how: str, fiber: bool) -> None:
    looping = wat(f"""(module (memory (export "memory") 1) {BUFFER}
      (func $loop (loop $again (br $again))) (start $loop)
      (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))""")

    def end() -> None:
        guest = Guest(engine, looping)
        assert guest.instance.start() == PENDING
        assert guest.instance.resume() == PENDING
        getattr(guest.instance, how)()
        guest.close()

    with parked(engine, fiber):
        end()
    with calling(engine, wat(GUEST), b"/") as (guest, _, code):
        assert guest.finish(code) == lib.BLITZ_V_CONTINUE


def test_two_engines_in_one_thread_share_the_rule(engine: Engine, wat: Wat) -> None:
    """Two guests parked on two stacks, and gone on with in the wrong order, would end the process."""
    wasm = wat(GUEST)
    other = Engine(max_instances=4)
    try:
        with calling(engine, wasm, b"/s") as first, calling(other, wasm, b"/s") as second:
            assert first[2] == second[2] == PENDING
            assert first[0].finish(PENDING) == second[0].finish(PENDING) == lib.BLITZ_V_CONTINUE
        with calling(other, wasm, b"/s") as first, calling(engine, wasm, b"/s") as second:
            assert first[0].finish(PENDING) == second[0].finish(PENDING) == lib.BLITZ_V_CONTINUE
    finally:
        other.close()


def test_a_parked_guest_goes_on_in_its_own_thread_only(engine: Engine, wat: Wat) -> None:
    codes: list[int] = []

    def elsewhere() -> None:
        codes.append(guest.instance.resume())
        with calling(engine, wat(GUEST), b"/s") as (other, _, code):
            codes.append(other.finish(code))

    with calling(engine, wat(GUEST), b"/s") as (guest, _, code):
        assert code == PENDING
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert codes == [PENDING, lib.BLITZ_V_CONTINUE]
        assert guest.finish(code) == lib.BLITZ_V_CONTINUE


def test_others_run_while_somebody_is_parked(engine: Engine, wat: Wat) -> None:
    wasm = wat(GUEST)
    with parked(engine):
        for _ in range(20):
            with calling(engine, wasm, b"/") as (guest, exchange, code):
                assert guest.finish(code) == lib.BLITZ_V_CONTINUE
                assert guest.request(exchange) == lib.BLITZ_V_CONTINUE
