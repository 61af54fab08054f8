"""Which endpoint is tried, and when again: decided without a socket and without a clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.errors import BlitzError, ClientError, ShortageError, UpstreamError
from blitz.routing.balance import Retry, Tries
from blitz.routing.budget import FLOOR, WINDOW, RetryBudget
from blitz.routing.check import CheckState


def among(*endpoints: str):
    def choose(now: float, tried: Sequence[str]) -> str | None:
        return next((one for one in endpoints if one not in tried), None)

    return choose


def test_each_is_tried_once_until_the_request_is_sent_again() -> None:
    tries = Tries(among("a", "b"), repeatable=True)
    assert [tries.next(now) for now in (1.0, 2.0, 3.0)] == ["a", "b", None]
    assert tries.again_after(UpstreamError("dead", retryable=True), 3.0, used=True)
    assert tries.next(4.0) == "a"


# (repeatable, used, error, is it tried again)
DEAD = UpstreamError("reset before a byte", retryable=True)
AGAIN = [
    ("dead_and_kept", True, True, DEAD, True),
    ("not_repeatable", False, True, DEAD, False),
    ("was_new", True, False, DEAD, False),
    ("nonsense", True, True, UpstreamError("not HTTP"), False),
    ("late", True, True, UpstreamError("late", status=504), False),
    ("the_client's_fault", True, True, ClientError("too long", status=413), False),
    ("ours", True, True, ShortageError("no descriptors", 24), False),
]


@pytest.mark.parametrize(
    ("repeatable", "used", "error", "expected"), [pytest.param(*row[1:], id=row[0]) for row in AGAIN]
)
def test_what_is_tried_again(repeatable: bool, used: bool, error: BlitzError, expected: bool) -> None:
    tries = Tries(among("a"), repeatable=repeatable)
    assert tries.next(0.0) == "a"
    assert tries.again_after(error, 0.0, used=used) is expected
    assert tries.fresh is expected
    assert not tries.again_after(error, 0.0, used=used)  # once


RESET = UpstreamError("reset", cause="upstream_reset")
LATE = UpstreamError("no answer", status=504, cause="upstream_timeout")


@pytest.mark.parametrize(
    ("on", "error", "expected"),
    [
        ({"reset"}, RESET, True),
        ({"connect", "timeout"}, RESET, False),
        ({"timeout"}, LATE, True),
        ({"reset"}, LATE, False),
        ({"reset", "timeout", "connect"}, UpstreamError("not HTTP"), False),
        ({"reset", "timeout", "connect"}, ClientError("bad"), False),
    ],
)
def test_a_route_says_what_else_is(on: set[str], error: BlitzError, expected: bool) -> None:
    retry = Retry(3, frozenset(on))
    tries = Tries(among("a", "b"), repeatable=True, retry=retry, budget=RetryBudget())
    assert tries.next(0.0) == "a"
    assert tries.again_after(error, 0.0, used=False) is expected
    if expected:
        assert tries.next(0.0) == "b" and tries.fresh
        assert tries.again_after(error, 0.0, used=False)
        assert tries.next(0.0) == "a"  # all others had their turn
        assert not tries.again_after(error, 0.0, used=False)  # three attempts
    unsafe = Tries(among("a", "b"), repeatable=False, retry=retry, budget=RetryBudget())
    assert not unsafe.again_after(error, 0.0, used=True)
    assert not unsafe.again_after_status(503, 0.0)


def test_statuses_and_connections() -> None:
    retry = Retry(2, frozenset({"connect"}), frozenset({503}))
    tries = Tries(among("a"), repeatable=True, retry=retry, budget=RetryBudget())
    assert not tries.again_after_status(200, 0.0) and not tries.again_after_status(502, 0.0)
    assert tries.again_after_status(503, 0.0) and not tries.again_after_status(503, 0.0)
    unsafe = Tries(among("a"), repeatable=False, retry=retry, budget=RetryBudget())
    assert unsafe.next(0.0) == "a" and unsafe.next(0.0) is None
    assert 0 < (unsafe.pause_after_connect(0.0, 0.5) or 0) < 1  # nothing was sent
    assert unsafe.next(0.0) == "a"
    assert unsafe.pause_after_connect(0.0, 0.5) is None


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 40), st.integers(0, 40)), max_size=150),
)
def test_a_budget_bounds_the_tries_of_any_ten_seconds(
    share: float, steps: list[tuple[float, int, int]]
) -> None:
    budget = RetryBudget()
    now, granted, sent = 0.0, [], []
    for later, requests, wanted in steps:
        now += later
        budget.requests += requests
        sent += [now] * requests
        budget.look(now)
        for _ in range(wanted):
            if budget.take(now, share):
                budget.requests += 1
                granted.append(now)
        if not granted or granted[-1] != now:
            continue  # what was granted was bounded by the window that ended then
        recent = sum(at > now - WINDOW for at in granted)
        assert recent <= FLOOR + share * sum(at >= now - WINDOW for at in sent) + 1


def test_a_budget_is_used_in_full() -> None:
    budget = RetryBudget()
    for second in range(10):
        budget.look(float(second))
        budget.requests += 100
    granted = 0
    while budget.take(9.5, 0.2):
        granted += 1
        budget.requests += 1
    assert 150 <= granted <= 211  # a fifth of those that are certainly in the window, and the floor


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.sampled_from(["", "bad", None]), max_size=60))
def test_health_changes_after_so_many_results_in_a_row(
    rise: int, fall: int, results: list[str | None]
) -> None:
    check = CheckState(5.0, rise, fall, 0.0, 0.3)
    row: list[bool] = []
    for why in results:
        before = check.up
        changed = check.end(why)
        if why is not None:
            row.append(why == "")
        need = fall if before else rise
        against = len(row) >= need and all(good != before for good in row[-need:]) and why is not None
        assert changed == against and check.up == (before != changed)
        if changed:
            row.clear()


@given(st.floats(0, 0.999), st.floats(0.1, 60))
def test_checks_are_spread(random: float, interval: float) -> None:
    check = CheckState(interval, 2, 3, 100.0, random)
    first = min(interval, 1.0) * random
    assert not check.is_due(100.0 + first - 1e-3) and check.is_due(100.0 + first + 1e-6)
    check.begin(200.0, random)
    assert not check.is_due(1e9)  # it is under way
    check.end("")
    assert not check.is_due(200.0 + interval * 0.89) and check.is_due(200.0 + interval * 1.11)
