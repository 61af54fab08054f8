"""The engine's clock and its memory: ticks only while guests run, nothing grows."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blitz._native import lib
from blitz.wasm.engine import Engine

from .support import exchanging, running, sanitized

Wasm = Callable[[str], bytes]
KIB = 1024
FOREVER = """(module (memory (export "memory") 1) (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (loop $l (br $l)) (i32.const 0)))"""


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_clock_stands_while_no_guest_runs(wat: Wasm, guest_wasm: Wasm) -> None:
    engine = Engine(max_instances=2)
    try:
        wait_until(lambda: engine.statistics().parked)
        ticks = engine.statistics().ticks
        time.sleep(0.05)
        assert engine.statistics().ticks == ticks
        with running(engine, wat(FOREVER)) as guest, exchanging() as exchange:
            # Whether parked or not, an endless guest is stopped: hence the clock was woken.
            assert guest.instance.request(exchange.c) == lib.BLITZ_PENDING
            wait_until(lambda: engine.statistics().parked)
            assert guest.instance.resume() == lib.BLITZ_PENDING
            assert not engine.statistics().parked
        wait_until(lambda: engine.statistics().parked)
    finally:
        engine.close()


def test_statistics_count(wat: Wasm, guest_wasm: Wasm) -> None:
    engine = Engine(max_instances=4)
    try:
        with running(engine, guest_wasm("copy_header")) as guest, exchanging() as exchange:
            guest.request(exchange)
            with running(engine, wat(FOREVER)) as endless:
                assert endless.instance.request(exchange.c) == lib.BLITZ_PENDING
                statistics = engine.statistics()
                assert statistics.instances_live == statistics.instances_made == 2
                assert statistics.calls == 4
                assert statistics.pended >= 1
                assert statistics.memory_size == 2 * 65536
        assert engine.statistics().instances_live == 0
    finally:
        engine.close()


@pytest.mark.slow
@sanitized
def test_100_000_calls_leave_memory_flat(engine: Engine, guest_wasm: Wasm) -> None:
    fields = [(b"host", b"example.org"), (b"x-user", b"fred" * 10)]
    with (
        running(engine, guest_wasm("bindgen_new"), env={"NAME": "v" * 50}) as bindgen,
        running(engine, guest_wasm("copy_header")) as plain,
        exchanging(fields=fields) as exchange,
    ):

        def calls(n: int) -> None:
            for _ in range(n // 4):
                for guest in (bindgen, plain):
                    guest.request(exchange)
                    guest.response(exchange)
                    guest.instance.take_log()
                lib.blitz_exchange_reset(exchange.c)
                lib.blitz_head_start_request(exchange.c.request, b"GET", 3, b"/", 1, 1)
                exchange.add(exchange.c.request, fields)
                lib.blitz_head_start_response(exchange.c.response, 200, b"OK", 2, 1)

        calls(4_000)
        gc.collect()
        before = resident()
        calls(100_000)
        gc.collect()
        assert resident() - before < 512 * KIB


@pytest.mark.slow
@sanitized
def test_1000_cancels_leave_memory_flat(engine: Engine, wat: Wasm) -> None:
    with running(engine, wat(FOREVER)) as guest, exchanging() as exchange:

        def cancels(n: int) -> None:
            for _ in range(n):
                assert guest.instance.request(exchange.c) == lib.BLITZ_PENDING
                guest.instance.cancel()
                guest.renew()

        cancels(50)
        gc.collect()
        before = resident()
        cancels(1000)
        gc.collect()
        assert resident() - before < 512 * KIB


@pytest.mark.slow
@sanitized
def test_1000_faults_leave_memory_flat(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("frames")) as guest, exchanging() as exchange:

        def faults(n: int) -> None:
            for _ in range(n):
                assert guest.request(exchange) == lib.BLITZ_FAULT
                guest.renew()

        faults(50)
        gc.collect()
        before = resident()
        faults(1000)
        gc.collect()
        assert resident() - before < 512 * KIB


@sanitized
def test_an_idle_instance_takes_little(wat: Wasm, guest_wasm: Wasm) -> None:
    """Also in a slot that others have used, where what is kept mapped is resident."""
    n = 300
    engine = Engine(max_instances=n + 1)
    with running(engine, guest_wasm("copy_header")) as guest, exchanging() as exchange:
        plugin = guest.plugin
        before = resident()
        for _ in range(2):
            instances = [plugin.new_instance() for _ in range(n)]
            for instance in instances:
                assert guest.finish(instance.start(), instance) == 0
                assert guest.finish(instance.request(exchange.c), instance) == 0
            each = (resident() - before) / n
            for instance in instances:
                instance.free()
    engine.close()
    assert each <= 64 * KIB


def in_child(engine: Engine, results: multiprocessing.SimpleQueue[str]) -> None:
    try:
        engine.statistics()
    except Exception as error:
        results.put(str(error))
    engine.close()  # does nothing: the parent's tick thread is not here
    own = Engine(max_instances=1)
    results.put(f"own engine, {own.statistics().instances_live} instances")
    own.close()


def test_a_forked_child_makes_its_own_engine() -> None:
    engine = Engine(max_instances=1)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=in_child, args=(engine, results))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert results.get() == "the engine was made before fork: each process makes its own"
    assert results.get() == "own engine, 0 instances"
    engine.close()
