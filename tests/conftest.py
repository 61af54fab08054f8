"""Fixtures for every test that runs guests: one engine, and the .wat files of tests/guests compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from blitz.wasm.engine import Engine

# How long an example takes says something about the machine, not about the code: no test here is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What passed passes again: CI looks for what a change broke, developers' random seeds find the rest.
settings.register_profile("ci", settings.get_profile("untimed"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("BLITZ_HYPOTHESIS", "untimed"))

GUESTS = Path(__file__).resolve().parent / "guests"


@cache
def compile_wat(text: str) -> bytes:
    from wasmtime import wat2wasm

    return bytes(wat2wasm(text))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled guests of the tests go to a directory of this run, also those of processes it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    # An emulator keeps a record of every page that is reserved, and each slot is 4 GiB of them.
    engine = Engine(max_instances=int(os.environ.get("BLITZ_TEST_INSTANCES", "200")))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def guest_wasm() -> Callable[[str], bytes]:
    """The binary of ``tests/guests/<name>.wat``."""
    return lambda name: compile_wat((GUESTS / f"{name}.wat").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def wat() -> Callable[[str], bytes]:
    """The binary of a module in text form."""
    return compile_wat


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--driver",
        choices=["fast", "general"],
        default="fast",
        help="how gateways of tests/server serve exchanges: general keeps all of them off the fast path",
    )
