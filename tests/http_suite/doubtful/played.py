"""Play the forms against a target and tell what became of each."""

from __future__ import annotations

from collections.abc import Iterable

from ..case import Case
from ..cases import ALL
from ..play import play_all
from ..targets import TARGETS
from .form import Form, outcome
from .forms import GROUPS

__all__ = ["case_of", "columns", "rows"]

_BY_ID = {case.id: case for case in ALL}


def rows() -> list[tuple[str, Form]]:
    """(sender, form) of every row, in the order of the document."""
    return [(group.sender, form) for group in GROUPS for form in group.forms]


def case_of(form: Form) -> Case:
    return _BY_ID[form.case] if isinstance(form.case, str) else form.case


def columns(targets: Iterable[str]) -> dict[str, list[str]]:
    """What became of every form, per target, in the order of ``rows()``."""
    cases = {case_of(form).id: case_of(form) for _, form in rows()}
    told: dict[str, list[str]] = {}
    for name, results in play_all({name: (TARGETS[name], list(cases.values())) for name in targets}).items():
        seen = {result.case.id: result.seen for result in results}
        told[name] = [outcome(form, sender, seen[case_of(form).id]) for sender, form in rows()]
    return told
