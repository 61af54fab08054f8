"""In whatever order messages come, each is admitted or counted, once; no kind takes another's room."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from blitz.flood import Flood

MOST = 3
WINDOW = 10.0
# (kind, seconds since the one before), and now and then a look whether windows have ended
STEPS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.floats(0, 7, allow_nan=False), st.booleans()), max_size=200
)


@given(STEPS, st.integers(1, 8))
def test_every_message_is_admitted_or_counted(steps: list[tuple[str, float, bool]], max_kinds: int) -> None:
    flood = Flood(MOST, WINDOW, max_kinds)
    now = 1000.0
    said = admitted = told = 0
    for kind, later, looks in steps:
        now += later
        said += 1
        admitted += flood.admit(kind, now)
        if looks and now >= flood.due:
            told += sum(left_out.count for left_out in flood.take_ended(now))
        assert len(flood._windows) <= max_kinds + 1
    told += sum(left_out.count for left_out in flood.take_ended(now, early=True))
    assert admitted + told == said
    assert (flood.due, flood.take_ended(now, early=True)) == (math.inf, [])


@given(STEPS)
def test_of_each_kind_so_many_are_admitted_in_a_window(steps: list[tuple[str, float, bool]]) -> None:
    flood = Flood(MOST, WINDOW)
    now = 0.0
    began: dict[str, float] = {}
    admitted: Counter[str] = Counter()
    for kind, later, _ in steps:
        now += later
        if kind not in began or now - began[kind] >= WINDOW:
            began[kind] = now
            admitted[kind] = 0
        expected = admitted[kind] < MOST  # whatever the others did
        assert flood.admit(kind, now) == expected
        admitted[kind] += expected


def test_what_was_left_out_is_due_when_its_window_ends() -> None:
    flood = Flood(1, WINDOW)
    samples = iter(["second", "never asked for"])
    assert flood.due == math.inf
    for moment in (0.0, 1.0, 2.0):
        flood.admit("a", moment, sample=lambda: next(samples))
    flood.admit("b", 3.0)
    assert flood.due == 10.0
    assert flood.take_ended(9.0) == []
    (left_out,) = flood.take_ended(10.0)
    assert (left_out.kind, left_out.count, left_out.sample) == ("a", 2, "second")
    assert str(left_out) == "2 more like this in 10 s"
    assert flood.due == math.inf


def test_counts_are_readable_and_early_ends_tell_their_time() -> None:
    flood = Flood(1)
    for _ in range(1205):
        flood.admit("a", 100.0)
    (left_out,) = flood.take_ended(103.0, early=True)
    assert str(left_out) == "1,204 more like this in 3 s"
