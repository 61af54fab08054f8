"""docs/http.md says what happens: Blitz's column always, nginx's and HAProxy's where they are as measured.

After a change that is meant, ``python -m tests.http_suite.doubtful`` writes the tables anew.
"""

from __future__ import annotations

import pytest

from .case import Case
from .doubtful.document import DOCUMENT, PLAYED, cells, installed, replace_tables, versions
from .doubtful.form import Form, outcome
from .doubtful.played import case_of, columns, rows
from .runner import Result
from .targets import TARGETS

TEXT = DOCUMENT.read_text(encoding="utf-8")
ROWS = [
    pytest.param(case_of(form), form, sender, said, id=case_of(form).id)
    for (sender, form), said in zip(rows(), cells(TEXT, "Blitz"), strict=True)
]


def test_the_tables_are_those_of_the_forms() -> None:
    assert replace_tables(TEXT, {name: cells(TEXT, name) for name in PLAYED}) == TEXT


@pytest.mark.parametrize("target", ["blitz-auto-1", "blitz-h11-1"])
@pytest.mark.parametrize(("case", "form", "sender", "said"), ROWS)
def test_what_blitz_makes_of_it(
    target: str, case: Case, form: Form, sender: str, said: str, played: dict[str, dict[str, Result]]
) -> None:
    seen = played[target][case.id].seen
    assert outcome(form, sender, seen) == said, seen.summary()


@pytest.mark.slow
def test_what_nginx_and_haproxy_make_of_it() -> None:
    if not all(TARGETS[target].available() for target in PLAYED.values()):
        pytest.skip("nginx or haproxy is not installed")
    if installed() != versions(TEXT):
        pytest.skip(f"measured were nginx and HAProxy {versions(TEXT)}, installed are {installed()}")
    for target, told in columns(["nginx", "haproxy"]).items():
        column = next(name for name, played in PLAYED.items() if played == target)
        said = cells(TEXT, column)
        wrong = [
            f"{form.words}: {old!r}, seen was {new!r}"
            for (_, form), old, new in zip(rows(), said, told, strict=True)
            if old != new
        ]
        assert not wrong, f"{column}: " + "; ".join(wrong)
