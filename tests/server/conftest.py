"""``pytest tests/server --driver general``: the same tests, and no exchange is on the fast path.

Tests that look at the fast path itself are left out then: ``fast path`` is in their name, in that of their
file, or they are named here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..parity.drivers import DRIVERS, forcible

LOOK_AT_IT = (
    "fast_path",
    "the fast path",
    "test_accepted.py::",
    "test_access_paths.py::",
    "test_known_clients.py::test_any_mixture_of_clients_is_told_apart",
    "test_static_kept.py::test_python_plans_it_once",
    "test_story.py::test_without_these_levels",
    "test_turns.py::test_connections_that_wait_when_a_drain_begins",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--driver") == "fast":
        return
    out = [
        item
        for item in items
        if "tests/server/" in item.nodeid and any(word in item.nodeid for word in LOOK_AT_IT)
    ]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


@pytest.fixture(autouse=True, scope="session")
def _driver(request: pytest.FixtureRequest) -> Iterator[None]:
    name = request.config.getoption("--driver")
    if name == "fast":
        yield
        return
    with forcible(DRIVERS[name]) as counts:
        yield
    assert counts["kept off"], "no connection asked for the fast path"
    assert not counts["entered"], "some were on it nevertheless"
