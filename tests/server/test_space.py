"""It starts where address space or data are limited: as many instances as fit, and it says how many."""

from __future__ import annotations

import re
import resource
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.errors import ConfigError
from blitz.server.space import HEADROOM, Limit, Slots, _slot_size, fit
from blitz.wasm.engine import MAX_INSTANCES, MAX_MEMORY_SIZE, Engine

from ..cli.commands import PLUGINS, blitz, curl, serving

MIB = 1024**2
GIB = 1024 * MIB
CONFIG = """listen = ["127.0.0.1:0"]
plugin_dir = "{plugins}"
cache_dir = "{cache}"
plugin_defaults.memory = "{memory}"
[[routes]]
answer = {{ body = "ok" }}
[[routes]]
path_prefix = "/open"
plugins = ["request_logger", "rate_limiter"]
answer = {{ body = "ok" }}
"""


def plugin(memory: int, max_instances: int = 256, instances: str = "pooled") -> Any:
    return SimpleNamespace(memory=memory, max_instances=max_instances, instances=instances)


def address_space(size: int, used: int = 100 * MIB) -> Limit:
    return Limit("address space (ulimit -v)", size, used)


def test_without_limits_nothing_is_chosen() -> None:
    assert fit([plugin(16 * MIB)], None, None) == Slots()


def test_where_many_whole_slots_fit_no_access_needs_a_check() -> None:
    slots = fit([plugin(16 * MIB)], address_space(4096 * GIB), None)
    assert (slots.reservation_size, slots.max_memory_size) == (0, MAX_MEMORY_SIZE)
    assert 128 <= slots.max_instances < MAX_INSTANCES
    few = fit([plugin(16 * MIB, max_instances=2)], address_space(100 * GIB), None)
    assert (few.reservation_size, few.max_instances) == (
        0,
        6,
    )  # as many as it may have, and as many to reload


def test_limited_data_costs_no_checks() -> None:
    slots = fit([plugin(16 * MIB)], None, Limit("data (ulimit -d)", GIB, 0))
    assert (slots.reservation_size, slots.max_instances) == (0, 27)
    assert (
        slots.said == "data (ulimit -d) is limited to 1GiB: 27 instances of 16MiB per worker instead of 1024"
    )


@given(
    st.lists(st.tuples(st.integers(1, 65536), st.integers(1, 500)), max_size=8),
    st.integers(64, 65536).map(lambda mib: mib * MIB),
    st.integers(0, 256 * MIB),
    st.none() | st.integers(64, 65536).map(lambda mib: mib * MIB),
)
def test_what_is_chosen_fits_or_is_refused(
    asked: list[tuple[int, int]], size: int, used: int, data: int | None
) -> None:
    plugins = [plugin(pages * 65536, most) for pages, most in asked]
    limits = address_space(size, used), None if data is None else Limit("data (ulimit -d)", data, 0)
    try:
        slots = fit(plugins, *limits)
    except ConfigError as error:
        # Both numbers.
        assert re.search(r"is limited to [\d.]+[KMG]i?B.* needs [\d.]+[KMG]iB: raise the limit", str(error))
        return
    slot = _slot_size(slots.reservation_size)
    assert slots.max_instances >= max(1, len(plugins))
    assert slots.max_memory_size >= max((one.memory for one in plugins), default=0)
    assert used + slots.max_instances * slot.address_space <= size
    if data is not None:
        assert slots.max_instances * slot.data <= data
    assert "limited to" in slots.said


def test_refusals_say_what_would_do() -> None:
    with pytest.raises(ConfigError) as caught:
        fit([plugin(GIB)] * 2, address_space(2 * GIB), None)
    needed = re.search(r"needs (\d+)MiB", str(caught.value))
    assert needed is not None
    assert str(caught.value) == (
        "address space (ulimit -v) is limited to 2GiB, and one instance of 1GiB for each of 2 plugins needs "
        f"{needed[1]}MiB: raise the limit or lower the memory of plugins"
    )
    assert fit([plugin(GIB)] * 2, address_space(int(needed[1]) * MIB), None).max_instances == 2
    assert HEADROOM > 0


def test_compiled_code_for_other_slots_has_another_name() -> None:
    whole, small = Engine(1), Engine(1, 16 * MIB, 16 * MIB, 65536)
    other = Engine(1, 16 * MIB, 32 * MIB, 65536)
    try:
        assert len({whole.settings, small.settings, other.settings}) == 3
    finally:
        for engine in (whole, small, other):
            engine.close()


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Children that commands.py starts may have so much address space."""

    def limit(size: int) -> None:
        real = subprocess.Popen.__init__

        def start(self: Any, *args: Any, **kwargs: Any) -> None:
            kwargs["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))
            real(self, *args, **kwargs)

        monkeypatch.setattr(subprocess.Popen, "__init__", start)

    return limit


@pytest.mark.parametrize(
    ("gib", "workers"),
    [
        (2, 1),
        pytest.param(3, 1, marks=pytest.mark.slow),
        (4, 2),
        pytest.param(8, 1, marks=pytest.mark.slow),
    ],
)
def test_it_serves_under_a_few_gigabytes(gib: int, workers: int, limited: Any, tmp_path: Path) -> None:
    """From an empty cache: what compiles is under the same limit."""
    limited(gib * GIB)
    config = tmp_path / "blitz.toml"
    config.write_text(CONFIG.format(plugins=PLUGINS, cache=tmp_path / "cache", memory="16MiB"))
    with serving("run", "-c", str(config), "--workers", str(workers)) as running:
        line = running.wait_for("is limited to")
        assert re.search(rf"limited to {gib}GiB: \d+ instances of 16MiB per worker instead of 1024", line)
        assert curl(running.port, "/open/x")[0] == 200
        assert curl(running.port, "/")[0] == 401
        running.process.send_signal(1)  # a reload has old and new instances at once
        running.wait_for("generation 2 is running")
        assert curl(running.port, "/open/x")[0] == 200
        assert running.stop() == 0


def test_what_does_not_fit_is_one_sentence(limited: Any, tmp_path: Path) -> None:
    limited(4 * GIB)
    config = tmp_path / "blitz.toml"
    text = '[[plugins]]\nfile = "{}"\nmemory = "3GiB"\n[[routes]]\nanswer = {{ body = "ok" }}\n'
    config.write_text('listen = ["127.0.0.1:0"]\n' + text.format(PLUGINS / "rate_limiter.wasm"))
    for words in (["run"], ["run", "--workers", "2"], ["validate"]):
        result = blitz(words[0], "-c", str(config), *words[1:])
        assert result.returncode == 2, words
        assert "address space (ulimit -v) is limited to 4GiB, and one instance of 3GiB" in result.stderr
        assert "Traceback" not in result.stderr
