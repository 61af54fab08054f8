"""Instances of one plugin: how many live, which ends when, and when the plugin is not run at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blitz._native import lib
from blitz.errors import PluginTrap
from blitz.wasm import pool as pool_module
from blitz.wasm.engine import Engine
from blitz.wasm.instance import Instance
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin
from blitz.wasm.pool import PluginPool

from .support import exchanging, spec

Wasm = Callable[[str], bytes]
GUEST = """(module
  (import "blitz" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info") (data (i32.const 8) "cleaned up")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "cleanup") (result i32)
    CLEANUP (call $log (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 10)) (i32.const 0))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get 3) (i32.const 1)) (then unreachable)) (i32.const 0)))"""


@pytest.fixture
def make(engine: Engine, wat: Wasm) -> Iterator[Callable[..., PluginPool]]:
    """make(cleanup="", **spec) -> a pool; everything is freed afterwards."""
    pools: list[PluginPool] = []

    def make(cleanup: str = "", **settings: Any) -> PluginPool:
        module = Module.compile(engine, wat(GUEST.replace("CLEANUP", cleanup)), "guest.wasm")
        pools.append(PluginPool(Plugin(engine, module, spec(**settings))))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
        for instance in pool.take_leaving():
            pool.end(instance)
        pool.free()


def started(pool: PluginPool) -> Instance:
    instance = pool.make()
    assert instance is not None
    rc = instance.start()
    while rc == lib.BLITZ_PENDING:
        rc = instance.resume()
    assert rc == 0
    return instance


def call(pool: PluginPool, target: bytes = b"/", now: float = 0.0) -> None:
    """One exchange, as a chain does it."""
    instance = pool.take() or started(pool)
    with exchanging(target=target) as exchange:
        rc = instance.request(exchange.c)
        while rc == lib.BLITZ_PENDING:
            rc = instance.resume()
    if rc < 0:
        assert isinstance(pool.drop(instance, now), PluginTrap)
        return
    pool.native.calls += 1
    pool.give(instance)


def cleanups(caplog: pytest.LogCaptureFixture) -> int:
    return sum("cleaned up" in record.getMessage() for record in caplog.records)


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "blitz.plugin")


# ---------------------------------------------------------------- lives


def test_no_more_instances_live_than_may(make: Callable[..., PluginPool]) -> None:
    pool = make(max_instances=2)
    instances = [started(pool), started(pool)]
    assert pool.make() is None
    woken = []
    pool.wait(lambda: woken.append(True))
    pool.give(instances.pop())
    assert woken == [True]
    pool.give(instances.pop())


def test_the_last_used_instance_is_taken_first(make: Callable[..., PluginPool]) -> None:
    pool = make()
    first, second = started(pool), started(pool)
    pool.give(first)
    pool.give(second)
    call(pool)
    assert (first.calls, second.calls) == (0, 1)


def test_an_instance_is_replaced_after_max_requests(
    make: Callable[..., PluginPool], caplog: pytest.LogCaptureFixture
) -> None:
    pool = make(max_requests=3)
    for _ in range(7):
        call(pool)
    assert (pool.made, pool.live, cleanups(caplog)) == (3, 1, 2)


def test_a_fresh_instance_for_each_exchange_ends_with_it(
    make: Callable[..., PluginPool], caplog: pytest.LogCaptureFixture
) -> None:
    pool = make(instances="per-request")
    for _ in range(3):
        call(pool)
    assert (pool.made, pool.live, cleanups(caplog)) == (3, 0, 3)


def test_idle_instances_end_after_a_while_but_the_warm_ones(
    make: Callable[..., PluginPool], caplog: pytest.LogCaptureFixture
) -> None:
    pool = make(warm=2)
    for instance in [started(pool) for _ in range(6)]:
        pool.give(instance)
    for _ in range(pool_module.QUIET_LOOKS):
        call(pool)  # one is enough for this
        assert pool.live == 6
        pool.look_after()
    pool.look_after()
    # The one that works stays, and one of the others.
    assert (pool.live, cleanups(caplog)) == (2, 4)
    for _ in range(3 * pool_module.QUIET_LOOKS):
        pool.look_after()
    assert pool.live == 2


def test_a_busy_pool_does_not_shrink(make: Callable[..., PluginPool]) -> None:
    pool = make(warm=0)
    for _ in range(3 * pool_module.QUIET_LOOKS):
        taken = [pool.take() or started(pool) for _ in range(4)]
        for instance in taken:
            with exchanging() as exchange:
                code = instance.request(exchange.c)
                while code == lib.BLITZ_PENDING:  # a machine without time for its first slice
                    code = instance.resume()
                assert code == lib.BLITZ_V_CONTINUE
            pool.give(instance)
        pool.look_after()
    assert (pool.live, pool.made) == (4, 4)


def test_closing_cleans_up_what_is_idle_now_and_the_rest_later(
    make: Callable[..., PluginPool], caplog: pytest.LogCaptureFixture
) -> None:
    pool = make()
    taken, idle = started(pool), started(pool)
    pool.give(idle)
    pool.close()
    assert (pool.live, pool.closed, cleanups(caplog)) == (1, False, 1)
    pool.give(taken)
    assert (pool.live, pool.closed, cleanups(caplog)) == (0, True, 2)


def test_a_reopened_pool_serves_again(make: Callable[..., PluginPool]) -> None:
    pool = make()
    call(pool)
    pool.close()
    assert pool.closed
    pool.reopen()
    assert not pool.suspended
    call(pool)
    call(pool)
    assert (pool.live, pool.made) == (1, 2)


def test_an_instance_that_failed_is_not_cleaned_up(
    make: Callable[..., PluginPool], caplog: pytest.LogCaptureFixture
) -> None:
    pool = make()
    call(pool, b"/x")
    assert (pool.live, pool.faults, cleanups(caplog)) == (0, 1, 0)


def test_a_fault_in_cleanup_is_kept_for_whoever_asks(make: Callable[..., PluginPool]) -> None:
    pool = make("unreachable")
    call(pool)
    pool.close()
    (error,) = pool.take_unsaid()
    assert (error.hook, error.kind) == ("cleanup", "trap")
    assert (pool.live, pool.take_unsaid()) == (0, [])


def test_a_cleanup_that_loops_leaves_in_its_own_time(make: Callable[..., PluginPool]) -> None:
    pool = make("(loop $l (br $l))")
    call(pool)
    pool.close()
    assert (pool.live, pool.closed) == (1, False)
    (instance,) = pool.take_leaving()
    instance.cancel()
    pool.cleaned(instance, None)
    (error,) = pool.take_unsaid()
    assert error.message == "guest failed in cleanup: it ran longer than 1000 ms"
    assert error.frames == ("<wasm function 3>",)
    assert pool.closed


# ---------------------------------------------------------------- quarantine

N = pool_module.QUARANTINE_FAULTS


def fail(pool: PluginPool, now: float, times: int = N) -> None:
    for _ in range(times):
        call(pool, b"/x", now)


def test_one_that_keeps_failing_is_suspended_and_tried_again(make: Callable[..., PluginPool]) -> None:
    pool = make()
    fail(pool, 100.0, N - 1)
    assert not pool.quarantined(100.0)
    fail(pool, 100.0, 1)
    assert pool.quarantined(100.0)
    assert pool.suspended
    assert pool.quarantined(100.99)
    assert not pool.quarantined(101.0)
    assert not pool.suspended


def test_the_pause_doubles_with_each_relapse_up_to_a_bound(make: Callable[..., PluginPool]) -> None:
    pool = make()
    now, pauses = 100.0, []
    for _ in range(9):
        fail(pool, now)
        pauses.append(pool._quarantined_until - now)
        now = pool._quarantined_until
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    fail(pool, now + 60)  # healthy for long
    assert pool._quarantined_until - now - 60 == 1
    assert pool.quarantines == 10


def test_faults_that_are_far_apart_do_not_count(make: Callable[..., PluginPool]) -> None:
    pool = make()
    for turn in range(3 * N):
        fail(pool, turn * 1.0, 1)
    assert pool.quarantines == 0


@pytest.mark.parametrize(("healthy", "expected"), [(1, True), (2, False)])
def test_one_that_fails_for_a_few_is_not_switched_off_for_all(
    make: Callable[..., PluginPool], healthy: int, expected: bool
) -> None:
    """Somebody who can make it trap must send half of its traffic to suspend it."""
    pool = make()
    for _ in range(2 * N):
        fail(pool, 1.0, 1)
        for _ in range(healthy):
            call(pool, b"/", 1.0)
    assert bool(pool.quarantines) is expected
