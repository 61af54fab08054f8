"""A limit that changes holds at once. Invariant: a bucket keeps the tokens that were spent, all of the new
burst at most, whatever rate and burst it was used under before and in whatever order they alternate."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz._native import ffi, lib

START_US = 1_000_000_000
MINUTE_US = 60_000_000


class Table:
    def __init__(self) -> None:
        self.shared = lib.blitz_shared_new(64)
        assert self.shared != ffi.NULL

    def take(self, key: bytes, per_minute: int, burst: int, now_us: int) -> int:
        interval = lib.blitz_rate_interval(per_minute, 60)
        return int(lib.blitz_shared_rate_limit(self.shared, key, len(key), interval, burst, now_us))


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    yield table
    lib.blitz_shared_free(table.shared)


def drain(table: Table, per_minute: int, burst: int, now: int) -> None:
    for _ in range(burst):
        assert table.take(b"k", per_minute, burst, now) >= 0
    assert table.take(b"k", per_minute, burst, now) < 0


def test_a_rate_that_is_raised_holds_at_once(table: Table) -> None:
    drain(table, 1, 5, START_US)
    assert table.take(b"k", 100, 5, START_US) == -600  # was -60,000
    assert table.take(b"k", 100, 5, START_US + 600_000) == 0


def test_a_burst_that_is_lowered_leaves_no_debt(table: Table) -> None:
    drain(table, 1, 300, START_US)
    assert table.take(b"k", 1, 2, START_US) == -60_000  # was five hours
    assert table.take(b"k", 1, 2, START_US + MINUTE_US) == 0


def test_a_rate_that_is_lowered_holds_at_once(table: Table) -> None:
    drain(table, 6_000, 100, START_US)
    assert table.take(b"k", 6, 100, START_US) == -10_000  # was: 90 more at once
    assert table.take(b"k", 6, 100, START_US + 10_000_000) == 0
    assert table.take(b"k", 6, 100, START_US + 10_000_000) == -10_000


def test_what_was_not_spent_is_still_there(table: Table) -> None:
    assert table.take(b"k", 6, 10, START_US) == 9
    assert table.take(b"k", 600, 10, START_US) == 8
    assert table.take(b"k", 6, 10, START_US) == 7
    assert table.take(b"k", 6, 20, START_US) == 16


SETTINGS = st.tuples(st.integers(1, 100_000), st.integers(1, 50))


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from([0, 0, 1_000, 250_000, 7_000_000])),
        min_size=1,
        max_size=80,
    ),
    st.lists(SETTINGS, min_size=4, max_size=4),
)
def test_settings_alternate_in_any_order(
    steps: list[tuple[int, int, int]], settings: list[tuple[int, int]]
) -> None:
    """Against a bucket that counts spent tokens as a fraction. Each step is a request by a worker that runs
    one of four settings: workers take a reload at different moments, and reloads go back and forth."""
    table = Table()
    now = START_US
    spent: dict[int, tuple[float, int, int]] = {}
    for which, key, pause in steps:
        now += pause
        per_minute, burst = settings[which]
        used, then, rate = spent.get(key, (0.0, now, per_minute))
        used = min(max(0.0, used - (now - then) * rate / MINUTE_US), float(burst))
        tokens = burst - used
        result = table.take(b"%d" % key, per_minute, burst, now)
        if abs(tokens - 1) > 1e-4:
            assert (result >= 0) == (tokens >= 1)
        if result >= 0:
            assert abs(result - (tokens - 1)) < 1 + 1e-4
            used += 1
        else:
            assert -result <= MINUTE_US / per_minute / 1000 + 1.001  # one token's time under the new rate
            assert abs(-result - (1 - tokens) * 60_000 / per_minute) <= 1.01
        spent[key] = (used, now, per_minute)
    lib.blitz_shared_free(table.shared)


def hammer(table: Table, per_minute: int, n: int, results: multiprocessing.SimpleQueue[int]) -> None:
    passed = 0
    for _ in range(n):
        passed += table.take(b"one", per_minute, 1_000, time.monotonic_ns() // 1000) >= 0
    results.put(passed)


def test_workers_that_disagree_lose_no_count(table: Table) -> None:
    """Two run the old rate and two the new one: every request finds the bucket under another rate."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    begin = time.monotonic()
    workers = [
        context.Process(target=hammer, args=(table, rate, 20_000, results)) for rate in (60, 120, 60, 120)
    ]
    for worker in workers:
        worker.start()
    total = sum(results.get() for _ in workers)
    seconds = time.monotonic() - begin
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert 1_000 <= total <= 1_000 + 2 * seconds + 1
