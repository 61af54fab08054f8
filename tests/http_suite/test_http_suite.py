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
GATEWAY = [
    pytest.param(name, marks=[pytest.mark.slow] if name in LONG | FILTERS else [])
    for name, target in TARGETS.items()
    if not target.peer
]


@pytest.mark.parametrize("target", GATEWAY)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in ALL])
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
