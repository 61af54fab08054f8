"""Many clients and upstreams of all kinds at once: nobody gets what is another's."""

from __future__ import annotations

import pytest
import trio

from .drivers import DRIVERS, forcible
from .mixer import mix
from .settings import Setting

SETTINGS = [Setting(access="off"), Setting(access="off", plugins=("both", "response"))]


@pytest.mark.parametrize("name", ["fast", "general", "fast-tls"])
@pytest.mark.parametrize("setting", SETTINGS, ids=["plain", "plugins"])
def test_for_a_moment(name: str, setting: Setting) -> None:
    check(name, setting, 0.7, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("seed", [1, 2])
def test_for_longer(name: str, seed: int) -> None:
    check(name, SETTINGS[seed % 2], 3, seed)


def check(name: str, setting: Setting, seconds: float, seed: int) -> None:
    with forcible() as counts:
        result = trio.run(mix, DRIVERS[name], seconds, seed, setting)
    assert not result.wrong, result.wrong[:5]
    assert result.outcomes["200"]
    assert counts["entered"] or name != "fast"
