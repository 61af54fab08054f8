"""CI is no lottery: what passed passes again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As a test module does: settings of its own on top of the profile that conftest has loaded.
ASK = """
import tests.conftest
from hypothesis import settings
own = settings(max_examples=4)
print(own.derandomize, own.print_blob, own.deadline)
"""


@pytest.mark.parametrize(("profile", "expected"), [("ci", "True True None"), ("", "False")])
def test_examples_are_the_same_in_every_run_of_ci(profile: str, expected: str) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("BLITZ_HYPOTHESIS", "CI")}
    if profile:
        assert re.search(rf"^export BLITZ_HYPOTHESIS={profile}\b", (ROOT / ".ci/run").read_text(), re.M)
        env["BLITZ_HYPOTHESIS"] = profile
    said = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith(expected)
