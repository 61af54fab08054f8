"""The tests that a page names for its promises exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
REFERENCE = re.compile(r"(?<![\w/.])((?:tests|native/test)/[\w/]+\.(?:py|c))(?:::(\w+))?")


def references(page: Path) -> list[tuple[str, str]]:
    return REFERENCE.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page: Path) -> None:
    for file, function in references(page):
        assert (ROOT / file).is_file(), file
        if function:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^(?:async )?def {function}\(", text, re.MULTILINE), f"{file}::{function}"


def test_every_promise_of_the_threat_model_names_its_tests() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    table = text.partition("## What holds each promise\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert [row for row in rows if not REFERENCE.search(row)] == []
