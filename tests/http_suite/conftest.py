"""The cases of a session are played before its first test, targets and rigs side by side."""

from __future__ import annotations

import pytest

from .case import Case
from .play import play_all
from .runner import Result
from .targets import TARGETS


@pytest.fixture(scope="session")
def played(request: pytest.FixtureRequest) -> dict[str, dict[str, Result]]:
    """Results by target and case id, of all the cases that this session wants, each played once."""
    wanted: dict[str, dict[str, Case]] = {}
    for item in request.session.items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if isinstance(params.get("case"), Case) and params.get("target") in TARGETS:
            wanted.setdefault(params["target"], {})[params["case"].id] = params["case"]
    results = play_all({name: (TARGETS[name], list(cases.values())) for name, cases in wanted.items()})
    return {name: {result.case.id: result for result in each} for name, each in results.items()}
