"""The page for operators has every figure, and its alert rules use figures that there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from blitz.measures import FIGURES
from blitz.measures.reference import render

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_table_is_what_the_declarations_make() -> None:
    assert render() in PAGE, "docs/operations.md: put in what python -m blitz.measures.reference prints"


def test_alert_rules_use_figures_and_labels_that_there_are() -> None:
    (rules,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(groups:.*?)```", PAGE, re.DOTALL))
    known = {figure.name: figure for figure in FIGURES}
    names = set()
    for rule in rules["groups"][0]["rules"]:
        for name, labels in re.findall(r"(blitz_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            base = name if name in known else re.sub(r"_(bucket|sum|count)$", "", name)
            names.add(base)
            assert base in known, name
            used = re.findall(r"(\w+)\s*[=!]", labels)
            assert set(used) <= {*known[base].labels, "le"}, rule["expr"]
        assert rule["annotations"]["summary"]
    assert len(names) >= 5
