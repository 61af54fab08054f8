"""The pages for who works on Blitz name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs/internals.md", ROOT / "CONTRIBUTING.md"]
FILE = re.compile(r"`((?:blitz|native|tests|plugins|docs|benchmarks)/[\w/.*-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = FILE.findall(page.read_text(encoding="utf-8"))
    assert named
    assert not [name for name in named if not list(ROOT.glob(name))]


def test_every_rule_that_stands_once_is_c_or_says_who_shares_it() -> None:
    """The files of the table hold the rule: none of them is a driver."""
    text = PAGES[0].read_text(encoding="utf-8")
    table = text[text.index("| rule | where |") : text.index("Where a rule still stands twice")]
    drivers = (
        "native/fast_path.c",
        "native/fast_path_steps.c",
        "blitz/server/exchange.py",
        "blitz/server/fast_path.py",
        "blitz/server/fast_steps.py",
    )
    assert not [driver for driver in drivers if driver in table]
