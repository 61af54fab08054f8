"""Host functions at any moment of a guest's life are served, or refused in a sentence; the process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from blitz.wasm.abi.linkage import host_functions

from .orders import spellings

ROOT = Path(__file__).resolve().parents[2]


def outcomes(*words: str) -> list[tuple[str, str]]:
    """Case and outcome, of each case that a process of its own has played to the end."""
    command = [sys.executable, "-m", "tests.hostile.orders", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    last = ran.stdout.splitlines()[-1:]
    assert ran.returncode == 0, f"ended by {ran.returncode} in {last}: {ran.stderr[-2000:]}"
    return [
        (case, outcome) for case, _, outcome in (line.partition(" -> ") for line in ran.stdout.splitlines())
    ]


def test_a_start_section_is_served_as_init_is() -> None:
    """Its first host function finds an instance that is not complete; the guest cannot tell."""
    played = outcomes("all")
    assert len(played) == 4 * len(spellings())
    for (start, first), (init, later) in zip(played[::2], played[1::2], strict=True):
        assert start.removeprefix("start section: ") == init.removeprefix("init: ")
        assert first == later, start
    served = {case for case, outcome in played if outcome == "served"}
    for function in host_functions():
        if function.bindgen_type is not None:
            assert any(case.startswith(f"start section: bindgen {function.name}(") for case in served)


@pytest.mark.parametrize("seed", range(3))
def test_any_calls_at_any_moments_end_in_a_defined_way(seed: int) -> None:
    played = outcomes(str(seed), "200")
    assert len(played) == 200
    assert all(outcome for _, outcome in played)
    assert any(outcome == "served" for _, outcome in played)


@pytest.mark.slow
def test_thousands_of_orders() -> None:
    assert len(outcomes("1000", "10000")) == 10_000
