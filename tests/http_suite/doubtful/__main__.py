"""``python -m tests.http_suite.doubtful``: play every form and write the tables of docs/http.md anew.

Needs nginx and HAProxy; with ``--check`` nothing is written, and every cell that differs is printed.
"""

from __future__ import annotations

import argparse
import sys

from ..targets import TARGETS
from .document import DOCUMENT, PLAYED, cells, installed, replace_tables, replace_versions
from .played import columns, rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.http_suite.doubtful", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    if missing := [target for target in PLAYED.values() if not TARGETS[target].available()]:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    played = columns(PLAYED.values())
    told = {name: played[target] for name, target in PLAYED.items()}
    text = DOCUMENT.read_text(encoding="utf-8")
    if options.check:
        return _compare(text, told)
    DOCUMENT.write_text(replace_versions(replace_tables(text, told), installed()), encoding="utf-8")
    return 0


def _compare(text: str, told: dict[str, list[str]]) -> int:
    wrong = 0
    for name, column in told.items():
        for (_, form), said, seen in zip(rows(), cells(text, name), column, strict=True):
            if said != seen:
                wrong += 1
                print(f"{name}: {form.words}: the document says {said!r}, seen was {seen!r}")
    print(f"{wrong} of {len(rows()) * len(told)} cells differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
