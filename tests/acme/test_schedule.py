"""When certificates are ordered, under simulated time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blitz.acme.schedule import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    RATE_LIMITED_PAUSE,
    Tries,
    after_failure,
    is_due,
)

DAY = 24 * 3600.0


def test_one_that_is_missing_is_due_at_once() -> None:
    assert is_due(0.0, Tries(), None)
    assert not is_due(10.0, Tries(1, 10.5), None)
    assert is_due(11.0, Tries(1, 10.5), None)


def test_one_of_ninety_days_is_renewed_after_sixty() -> None:
    life = (0.0, 90 * DAY)
    assert not is_due(59.9 * DAY, Tries(), life)
    assert is_due(60.1 * DAY, Tries(), life)
    assert not is_due(60.1 * DAY, Tries(2, 61 * DAY), life)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.floats(0, 1))
def test_pauses_grow_to_a_day_and_no_further(limited: list[bool], chance: float) -> None:
    now, tries = 1_000_000.0, Tries()
    for count, one in enumerate(limited, 1):
        later = after_failure(now, tries, chance, rate_limited=one)
        pause = later.next - now
        least = max(min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE), RATE_LIMITED_PAUSE if one else 0)
        assert later.failures == count
        assert least * 0.999 <= pause <= least * 1.26
        assert not is_due(now + least * 0.99, later, None)
        now, tries = later.next, later
