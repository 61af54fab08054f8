"""When dead workers are replaced, and how often that is said. Pure: times are numbers."""

from __future__ import annotations

import pytest

from blitz.process.restarts import FIRST_PAUSE, JITTER, MAX_PAUSE, SAY_AGAIN, STABLE, Restarts


def test_pauses_double_to_their_most_and_never_end() -> None:
    restarts = Restarts()
    now, expected = 0.0, FIRST_PAUSE
    for failures in range(1, 50):
        loss, _ = restarts.died(0, "ended by SIGKILL", 0.0, now)
        assert loss.failures == failures
        assert loss.pause == pytest.approx(expected)
        assert loss.due is not None
        assert (1 - JITTER) * expected <= loss.due - now <= (1 + JITTER) * expected
        assert restarts.take_due(loss.due - 0.001) == []
        now = loss.due
        assert restarts.take_due(now) == [0]
        expected = min(expected * 2, MAX_PAUSE)


def test_workers_that_died_together_do_not_start_together() -> None:
    restarts = Restarts()
    for _ in range(6):
        due = {restarts.died(place, "x", 0.0, 0.0)[0].due for place in range(8)}
        assert len(due) == 8


def test_one_that_served_for_a_while_is_replaced_at_once() -> None:
    restarts = Restarts()
    for _ in range(9):
        restarts.died(0, "x", 0.0, 0.0)
    loss, worth = restarts.died(0, "x", STABLE, 100.0)
    assert (loss.pause, loss.due, loss.failures, worth) == (0.0, 100.0, 1, True)
    assert restarts.died(0, "x", STABLE / 2, 101.0)[0].pause == FIRST_PAUSE
    restarts.settle(0)
    assert restarts.serves(0) == 0
    assert (restarts.total, restarts.of) == (11, {0: 11})


def test_the_same_again_is_counted_and_said_now_and_then() -> None:
    restarts = Restarts()
    said = [restarts.died(0, "x", 0.0, now)[1] for now in range(int(3 * SAY_AGAIN))]
    assert said.count(True) == 3
    assert restarts.died(0, "y", 0.0, 3 * SAY_AGAIN)[1]
    assert restarts.serves(0) == 3 * SAY_AGAIN + 1


def test_hurrying_starts_all_that_wait_and_the_pauses_anew() -> None:
    restarts = Restarts()
    for _ in range(9):
        for place in range(3):
            restarts.died(place, "x", 0.0, 0.0)
    assert restarts.take_due(FIRST_PAUSE) == []
    restarts.hurry()
    assert restarts.take_due(FIRST_PAUSE) == [0, 1, 2]
    assert restarts.waiting == {}
    assert restarts.died(1, "x", 0.0, 1.0)[0].pause == MAX_PAUSE
    restarts.hurry(anew=True)
    assert restarts.take_due(FIRST_PAUSE) == [1]
    assert restarts.died(1, "x", 0.0, 1.0)[0].pause == FIRST_PAUSE
    restarts.give_up()
    assert restarts.waiting == {}
