"""``python -m tests.soak``: for as long as you like; exits with 1 when something is not as it should be."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from . import helpers
from .helpers import soak_helpers
from .soak import Report, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--warm-up", type=float, help="minutes; a tenth of it all where nothing is said")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=Path, help="write the samples of memory to this file, as CSV")
    parser.add_argument("--helpers", action="store_true", help="let the helpers fail in turn instead")
    options = parser.parse_args()
    seconds = options.minutes * 60
    if options.helpers:
        with tempfile.TemporaryDirectory(prefix="blitz-soak-") as directory:
            return _tell(soak_helpers(Path(directory), seconds, say=_say))
    warm_up = seconds / 10 if options.warm_up is None else options.warm_up * 60
    with tempfile.TemporaryDirectory(prefix="blitz-soak-") as directory:
        report = soak(Path(directory), seconds, warm_up, seed=options.seed, say=_say)
    if options.samples is not None:
        rows = [f"{s.time:.1f},{s.rss},{s.pss},{s.anonymous},{s.files}" for s in report.samples]
        options.samples.write_text("\n".join(["seconds,rss,pss,anonymous,files", *rows]) + "\n")
    return _tell(report)


def _say(line: str) -> None:
    print(line, flush=True)


def _tell(report: Report | helpers.Report) -> int:
    for line in [*report.lines(), *(f"PROBLEM {problem}" for problem in report.problems)]:
        print(line)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
