"""Many clients and upstreams of all kinds at once: nobody gets what is another's."""

from __future__ import annotations

import pytest
import trio

from .drivers import DRIVERS, forcible
from .filters import SLOW
from .mixer import mix
from .settings import Setting

FAST_FILTERS = ("edits", "ip", "least_conn", "mirror", "retry", "same-path")
SETTINGS = {
    "plain": Setting(access="off"),
    "plugins": Setting(access="off", plugins=("both", "response")),
    "filters": Setting(access="off", filters=FAST_FILTERS),
    "all-filters": Setting(access="off", filters=(*FAST_FILTERS, *SLOW)),
}
FOR_A_MOMENT = [
    *((name, setting) for setting in ("plain", "plugins") for name in ("fast", "general", "fast-tls")),
    ("fast", "filters"),
    ("fast", "all-filters"),
]


@pytest.mark.parametrize(("name", "setting"), FOR_A_MOMENT)
def test_for_a_moment(name: str, setting: str) -> None:
    check(name, SETTINGS[setting], 0.7, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_for_longer(name: str, setting: str) -> None:
    check(name, SETTINGS[setting], 2, list(SETTINGS).index(setting))


def check(name: str, setting: Setting, seconds: float, seed: int) -> None:
    with forcible() as counts:
        result = trio.run(mix, DRIVERS[name], seconds, seed, setting)
    assert not result.wrong, result.wrong[:5]
    assert result.outcomes["200"]
    assert counts["entered"] or name != "fast" or set(SLOW) & set(setting.filters)
