"""A file has one duty, and few have more than 450 lines: those are listed, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MOST = 450

LONG = {
    "blitz/server/endpoint.py": "an endpoint and its connections: each holds the other",
    "blitz/process/parent.py": "what the parent does on each signal, report and end of a worker",
    "native/blitz_native.h": "the contract between C and Python: one place, mostly comments",
}


def lines() -> Iterator[tuple[str, int]]:
    for pattern in ("blitz/**/*.py", "native/*.c", "native/*.h"):
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8").count("\n")


def test_long_files_have_a_reason() -> None:
    long = {path for path, count in lines() if count > MOST}
    assert long - LONG.keys() == set(), f"more than {MOST} lines: split them by duty, or say here why not"
    assert LONG.keys() - long == set(), "not that long any more: take them off the list"
