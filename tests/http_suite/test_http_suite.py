"""The suite against this gateway: both parsers, one worker and two.

All cases of the session are played before the first test, targets and lanes side by side; each test then
looks at one result. So a case has a name and a report of its own, and the whole takes seconds.
"""

from __future__ import annotations

import pytest

from .case import Case
from .cases import ALL
from .play import play_all
from .runner import Result
from .targets import TARGETS

GATEWAY = [name for name, target in TARGETS.items() if not target.peer]


@pytest.fixture(scope="session")
def played(request: pytest.FixtureRequest) -> dict[str, dict[str, Result]]:
    """Results by target and case id, of all the cases that this session wants."""
    wanted: dict[str, list[Case]] = {}
    for item in request.session.items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if isinstance(params.get("case"), Case) and params.get("target") in TARGETS:
            wanted.setdefault(params["target"], []).append(params["case"])
    results = play_all({name: (TARGETS[name], cases) for name, cases in wanted.items()})
    return {name: {result.case.id: result for result in each} for name, each in results.items()}


@pytest.mark.parametrize("target", GATEWAY)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in ALL])
def test_case(target: str, case: Case, played: dict[str, dict[str, Result]]) -> None:
    result = played[target][case.id]
    if result.wrong and case.level == "advisable":
        pytest.xfail("; ".join(result.wrong))
    assert not result.wrong, "\n".join([*result.wrong, result.seen.summary()])
