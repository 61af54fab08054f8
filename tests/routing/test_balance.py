"""Which endpoint is tried, and when again: decided without a socket and without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.errors import ClientError, ShortageError, UpstreamError
from blitz.routing.balance import Tries, in_turn


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(st.integers(0, n - 1), st.sets(st.integers(0, n - 1)), st.just(n))
    )
)
def test_all_are_tried_once_from_the_first_on_and_failing_ones_last(case: tuple[int, set[int], int]) -> None:
    first, failing, count = case
    order = in_turn(range(count), first, failing.__contains__)
    assert sorted(order) == list(range(count))
    working = [one for one in order if one not in failing]
    assert order[: len(working)] == working
    for part in (working, order[len(working) :]):
        assert part == sorted(part, key=lambda one: (one - first) % count)


def test_the_order_is_asked_for_at_the_time_of_the_first_try() -> None:
    asked: list[float] = []

    def order(now: float) -> list[str]:
        asked.append(now)
        return ["a", "b"]

    tries = Tries(order, repeatable=True)
    assert [tries.next(now) for now in (1.0, 2.0, 3.0)] == ["a", "b", None]
    assert asked == [1.0]
    assert tries.again_after(UpstreamError("dead", retryable=True), used=True)
    assert tries.next(4.0) == "a"
    assert asked == [1.0, 4.0]


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
def test_what_is_tried_again(repeatable: bool, used: bool, error: UpstreamError, expected: bool) -> None:
    tries = Tries(lambda now: ["a"], repeatable=repeatable)
    assert tries.next(0.0) == "a"
    assert tries.again_after(error, used=used) is expected
    assert tries.fresh is expected
    assert not tries.again_after(error, used=used)  # once
