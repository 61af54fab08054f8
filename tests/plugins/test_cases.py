"""Every case of every built-in plugin's table, on each host that we have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .cases import Case, load_cases, run_case
from .reference_host import ReferencePlugin

HOSTS: dict[str, Callable[[Path, dict[str, Any], dict[str, str]], Any]] = {"reference": ReferencePlugin}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("case", load_cases(), ids=lambda case: f"{case.plugin}: {case.name}")
def test_plugin_does_as_its_table_says(case: Case, host: str) -> None:
    run_case(case, HOSTS[host])
