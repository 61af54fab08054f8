"""A short soak. ``make soak`` is the long one, and says more."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers import Report as HelpersReport
from .helpers import soak_helpers
from .memory import Sample, change
from .moments import MOMENTS
from .soak import Report, soak

pytestmark = pytest.mark.slow

SECONDS, WARM_UP = 65.0, 25.0


def test_hostile_plugins_and_reloads_leave_no_trace(tmp_path: Path) -> None:
    report = soak(tmp_path, SECONDS, WARM_UP)
    told = "\n".join(report.lines())
    print(told)
    assert not report.problems, told
    # It was what it says: load, faults of every kind, changes of every kind.
    assert report.tally.good > 1000
    assert {200, 500} <= set(report.tally.hostile)
    assert sum(report.tally.hostile.values()) > 500
    assert report.tally.cancelled > 100
    assert report.taken_up >= 7
    assert report.refused >= 1


def samples(*rss: int) -> list[Sample]:
    return [
        Sample(time=float(at), rss=size, pss=size, anonymous=size, files=10) for at, size in enumerate(rss)
    ]


def test_what_is_not_flat_is_a_problem() -> None:
    report = Report(warm_up=4.0, samples=samples(1, 1, 1, 1, 100, 100, 100, 100, 104, 104, 106, 106))
    report.judge()
    assert report.problems == ["resident memory changed by +6.0 % after the warm-up"]
    assert change(report.samples, "rss", 4.0) == (100, 106)


def test_a_request_that_failed_is_a_problem() -> None:
    report = Report(warm_up=0.0, samples=samples(100, 100, 100, 100))
    report.tally.wrong.append("/clean/: status 500")
    report.judge()
    assert report.problems == ["/clean/: status 500"]


def test_helpers_fail_in_turn_and_nobody_is_lost(tmp_path: Path) -> None:
    """Each moment once: half a minute. ``python -m tests.soak --helpers`` is the long one."""
    report = soak_helpers(tmp_path, 0.0)
    told = "\n".join(report.lines())
    print(told)
    assert not report.problems, told
    assert report.tally.good > 500
    assert set(report.moments) | set(report.skipped) == set(MOMENTS)
    assert len(report.moments) >= 4, told


def test_a_lost_request_and_memory_that_grows_are_problems() -> None:
    report = HelpersReport(rss=[100 << 20] * 20 + [132 << 20] * 20)
    report.tally.wrong.append("/clean/: status 502")
    report.judge()
    assert report.problems[0] == "/clean/: status 502"
    assert report.problems[1].startswith("resident memory went from")
