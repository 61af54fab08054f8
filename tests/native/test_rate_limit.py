"""Rate limits in shared memory. Invariants: exactly the burst passes at once, then one per interval; a limit
is one truth for every process that shares the table; keys do not touch each other."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz._native import ffi, lib

START_US = 1_000_000_000


class Table:
    def __init__(self, slots: int = 64) -> None:
        self.c = lib.blitz_shared_new(slots)
        assert self.c != ffi.NULL

    def take(self, key: bytes, per_minute: int, burst: int, now_us: int) -> int:
        interval = lib.blitz_rate_interval(per_minute, 60)
        return int(lib.blitz_shared_rate_limit(self.c, key, len(key), interval, burst, now_us))

    def free(self) -> None:
        lib.blitz_shared_free(self.c)


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.free()


def test_the_burst_passes_and_then_the_rate(table: Table) -> None:
    now = START_US
    assert [table.take(b"k", 60, 5, now) for _ in range(7)] == [4, 3, 2, 1, 0, -1000, -1000]
    assert table.take(b"k", 60, 5, now + 999_999) == -1
    assert table.take(b"k", 60, 5, now + 1_000_000) == 0
    assert table.take(b"k", 60, 5, now + 1_000_000) == -1000
    assert table.take(b"k", 60, 5, now + 3_500_000) == 1
    assert table.take(b"k", 60, 5, now + 60_000_000) == 4


@pytest.mark.parametrize("per_minute", [1, 7, 59, 60, 61, 600, 1_000, 59_999, 1_000_000, 2**31 - 1])
def test_over_a_minute_exactly_burst_plus_rate_pass(table: Table, per_minute: int) -> None:
    burst = 3
    passed = 0
    steps = min(per_minute * 2, 20_000)
    for step in range(steps):
        at = START_US + step * 60_000_000 // steps
        passed += table.take(b"k", per_minute, burst, at) >= 0
    # The bucket is full at the start; the last moment of the minute is not reached.
    expected = min(steps, per_minute + burst - 1)
    assert expected - 1 <= passed <= expected


def test_a_request_after_every_interval_always_passes(table: Table) -> None:
    for per_minute in (1, 3, 7, 60, 997):
        interval_us = -(-60_000_000 // per_minute)
        key = b"%d" % per_minute
        assert all(table.take(key, per_minute, 1, START_US + i * interval_us) >= 0 for i in range(200))


def test_keys_are_apart(table: Table) -> None:
    assert table.take(b"a", 60, 1, START_US) == 0
    assert table.take(b"a", 60, 1, START_US) < 0
    for key in (b"", b"b", b"a\0", b"aa", b"A"):
        assert table.take(key, 60, 1, START_US) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3_000_000)),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 600),
    st.integers(1, 10),
)
def test_it_is_a_token_bucket(steps: list[tuple[int, int]], per_minute: int, burst: int) -> None:
    """Against the bucket as a fraction of tokens: same decisions, but for the rounding of a nanosecond."""
    table = Table()
    now = START_US
    buckets: dict[int, tuple[float, int]] = {}
    try:
        for key, pause in steps:
            now += pause
            tokens, then = buckets.get(key, (float(burst), now))
            tokens = min(float(burst), tokens + (now - then) * per_minute / 60e6)
            result = table.take(b"%d" % key, per_minute, burst, now)
            if abs(tokens - 1) > 1e-6:
                assert (result >= 0) == (tokens >= 1)
            if result >= 0:
                assert abs(result - (tokens - 1)) < 1 + 1e-6
                tokens -= 1
            else:
                wait_ms = (1 - tokens) * 60_000 / per_minute
                assert abs(-result - wait_ms) <= 1.001
            buckets[key] = (tokens, now)
    finally:
        table.free()


@pytest.mark.parametrize(
    ("per_minute", "burst"), [(2**32 - 1, 2**32 - 1), (1, 2**32 - 1), (2**32 - 1, 1), (0, 0)]
)
def test_extreme_rates_do_not_overflow(table: Table, per_minute: int, burst: int) -> None:
    for now in (0, START_US, 2**44):
        assert table.take(b"k%d" % now, per_minute, burst, now) >= 0
        assert -(2**31) < table.take(b"k%d" % now, per_minute, burst, now) < 2**31


@pytest.mark.parametrize("interval", [0, 1, 2**61 - 1, 2**61, 2**63, 2**64 - 1])
def test_extreme_intervals_do_not_overflow(table: Table, interval: int) -> None:
    for now in (0, START_US, 2**44):
        key = b"k%d" % now
        left = [lib.blitz_shared_rate_limit(table.c, key, len(key), interval, 2, now) for _ in range(4)]
        assert left[0] >= 0 and all(-(2**31) < one < 2**31 for one in left)
        assert interval < 2**61 or left[-1] < 0
    assert lib.blitz_rate_interval(0, 1) == 10**9


def test_expired_slots_are_used_again(table: Table) -> None:
    for round_ in range(100):
        now = START_US + round_ * 10_000_000
        for i in range(40):
            assert table.take(b"%d-%d" % (round_, i), 60, 1, now) == 0


def test_a_crowd_does_not_wash_away_who_is_over_the_limit(table: Table) -> None:
    while table.take(b"greedy", 1, 10, START_US) >= 0:
        pass
    for i in range(5_000):  # far more keys than the table has slots
        assert table.take(b"%d" % i, 1, 10, START_US) == 9
    assert table.take(b"greedy", 1, 10, START_US) == -60_000


def hammer(table: Table, n: int, results: multiprocessing.SimpleQueue[int]) -> None:
    passed = 0
    for _ in range(n):
        passed += table.take(b"one", 60, 1_000, time.monotonic_ns() // 1000) >= 0
    results.put(passed)


def test_processes_share_one_limit() -> None:
    table = Table()
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    begin = time.monotonic()
    workers = [context.Process(target=hammer, args=(table, 20_000, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    total = sum(results.get() for _ in workers)
    seconds = time.monotonic() - begin
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    table.free()
    assert 1_000 <= total <= 1_000 + seconds + 1
