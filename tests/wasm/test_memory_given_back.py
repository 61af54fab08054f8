"""What instances took from the host goes back when they end, however they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blitz._native import lib
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT, PENDING, Instance

from .support import exchanging, parked, running, sanitized

LIVE = 60
DEPTH = 10_000  # calls, of some 50 bytes of stack each
# 64 KiB of a stack stay, and so do what a slot keeps of a memory and what the allocators need.
KEPT = 176 * 1024

DEEP = f"""(module (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func $down (param $n i32) (result i32)
    (if (result i32) (i32.eqz (local.get $n)) (then (i32.const 1))
      (else (i32.add (local.get $n) (call $down (i32.sub (local.get $n) (i32.const 1)))))))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (drop (call $down (i32.const {DEPTH}))) AFTER (i32.const 0)))"""


def finish(instance: Instance, code: int) -> int:
    while code == PENDING:
        code = instance.resume()
    return code


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise KeyError("VmRSS")


@sanitized
@pytest.mark.parametrize("after", ["", "(unreachable)"], ids=["healthy", "trapped"])
def test_the_stack_of_a_guest_that_recursed_is_given_back(
    engine: Engine, wat: Callable[[str], bytes], after: str
) -> None:
    # Fibers have their stacks from the engine's pool; the one that is the engine's own stays.
    with (
        parked(engine),
        running(engine, wat(DEEP.replace("AFTER", after))) as guest,
        exchanging() as exchange,
    ):

        def use() -> Instance:
            instance = guest.plugin.new_instance()
            assert finish(instance, instance.start()) == 0
            code = finish(instance, instance.request(exchange.c))
            assert code == (FAULT if after else lib.BLITZ_V_CONTINUE)
            return instance

        use().free()
        before = resident()
        instances = [use() for _ in range(LIVE)]
        during = resident()
        for instance in instances:
            instance.free()
        assert during - before > LIVE * 2 * KEPT, "the guest does not use enough stack for this test"
        assert resident() - before < LIVE * KEPT
