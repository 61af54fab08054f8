"""The suite against this gateway: both parsers, one worker and two.

All cases are played before the first test (``conftest.py``); each test then looks at one
result. So a case has a name and a report of its own, and the whole takes seconds.
"""

from __future__ import annotations

import pytest

from .case import Case
from .cases import ALL
from .play import play
from .runner import Result
from .targets import TARGETS

# Each is a way to serve in another target as well, but for the second worker, which gets its connections from
# the kernel.
LONG = {"blitz-auto-2", "blitz-h11-2"}
# With filters of the gateway's own in front of every case; a part of the cases is played by default.
FILTERS = {"blitz-filters-auto", "blitz-filters-h11"}
# By default these play every second case, each of them the other half; all of them under -m slow.
HALF = {"blitz-h11-1": 0, "blitz-auto-1-tls": 1}
# What is new in these is in two other targets, each with all cases: every second one is enough.
MIXED = {"blitz-h11-2": 0, "blitz-filters-h11": 1}


def _is_long(number: int, target: str) -> bool:
    return target in LONG | FILTERS or (target in HALF and number % 2 != HALF[target])


@pytest.mark.parametrize(
    ("case", "target"),
    [
        pytest.param(
            case,
            name,
            id=f"{case.id}-{name}",
            marks=[pytest.mark.slow] if _is_long(number, name) else [],
        )
        for number, case in enumerate(ALL)
        for name, target in TARGETS.items()
        if not target.peer and number % 2 == MIXED.get(name, number % 2)
    ],
)
def test_case(target: str, case: Case, played: dict[str, dict[str, Result]]) -> None:
    result = played[target][case.id]
    if result.wrong and case.level == "advisable":
        pytest.xfail("; ".join(result.wrong))
    assert not result.wrong, "\n".join([*result.wrong, result.seen.summary()])


@pytest.mark.parametrize("target", ["blitz-filters-auto"])
def test_some_cases_behind_filters(target: str) -> None:
    """Of each family a few that wait for nothing; all of them are played where the suite has time."""
    cases = [case for case in ALL if case.level == "strict" and case.family != "time"]
    for result in play(TARGETS[target], cases[::40]):
        assert not result.wrong, "\n".join([result.case.id, *result.wrong, result.seen.summary()])
