"""Whatever clients send and upstreams answer, however it is cut: every driver does the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.http_suite.case import Case

from .compare import compare
from .exchanges import CASES, SETTINGS
from .settings import Setting

RIGS = 5  # gateways of one driver; all of a process share its address space
# An example is played over sockets, five times if it differs: finding a smaller one would take many minutes.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def check(cases: list[Case], setting: Setting, drivers: tuple[str, str]) -> None:
    differences = compare(cases, setting, drivers, rigs=RIGS)
    assert not differences, "\n".join(f"{each}\n{each.case}" for each in differences)


@settings(max_examples=4, phases=PHASES, suppress_health_check=SLOW)
@given(cases=st.lists(CASES, min_size=5, max_size=5), setting=SETTINGS)
def test_the_fast_path_and_the_general_path(cases: list[Case], setting: Setting) -> None:
    check(cases, setting, ("fast", "general"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "drivers", [("fast", "general"), ("fast-tls", "general-tls"), ("general", "stream")], ids="-".join
)
@settings(max_examples=30, suppress_health_check=SLOW)
@given(cases=st.lists(CASES, min_size=5, max_size=5), setting=SETTINGS)
def test_many_more(drivers: tuple[str, str], cases: list[Case], setting: Setting) -> None:
    check(cases, setting, drivers)
