"""Every case of every built-in plugin's table, in Blitz and in the reference host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from blitz.wasm.engine import Engine

from .blitz_host import BlitzPlugin
from .cases import Case, load_cases, run_case
from .reference_host import ReferencePlugin

CASES = pytest.mark.parametrize("case", load_cases(), ids=lambda case: f"{case.plugin}: {case.name}")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    yield engine
    engine.close()


@CASES
def test_plugin_does_as_its_table_says_in_blitz(case: Case, engine: Engine) -> None:
    with ExitStack() as stack:
        run_case(case, lambda *given: stack.enter_context(BlitzPlugin(engine, *given)))


@CASES
def test_plugin_does_as_its_table_says_in_the_reference_host(case: Case) -> None:
    run_case(case, ReferencePlugin)
