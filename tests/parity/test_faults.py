"""Whatever clients and upstreams do wrong, every driver makes the same of it."""

from __future__ import annotations

from functools import partial

import pytest

from tests.faults.faults import FAULTS, Fault

from .faults import compare, compare_fault, play

QUICK = (
    "upstream-reset",
    "upstream-garbage",
    "upstream-cut-chunked",
    "upstream-two-lengths",
    "client-reset-waiting",
    "client-half-close-in-head",
    "client-garbage",
)
PAIRS = [("fast", "general"), ("general", "stream")]
# Its clients leave at the first of the interim responses: a stream of a program's own has sent one when they
# do, a socket of the gateway's has been given more than there may be, and that is an error of the upstream's.
BY_MOMENT = ("upstream-interim-flood", ("general", "stream"))


def check(fault: Fault, drivers: tuple[str, str]) -> None:
    differences = compare_fault(fault, drivers)
    assert not differences, "\n".join([fault.name, *differences])


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.name in QUICK], ids=lambda fault: fault.name
)
def test_some(fault: Fault) -> None:
    check(fault, PAIRS[0])


def test_a_difference_is_found() -> None:
    cut, garbage = (fault for fault in FAULTS if fault.name in ("upstream-cut", "upstream-garbage"))
    differences = list(compare({each.name: partial(play, each, "fast") for each in (cut, garbage)}))
    assert {each.split(" ")[0] for each in differences} >= {"outcomes", "access", "log"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "drivers"),
    [
        pytest.param(fault, pair, id=f"{fault.name}-{'-'.join(pair)}")
        for fault in FAULTS
        for pair in PAIRS
        if (fault.name, pair) != BY_MOMENT
    ],
)
def test_each(fault: Fault, drivers: tuple[str, str]) -> None:
    check(fault, drivers)
