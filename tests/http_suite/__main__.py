"""Command line: run the suite against a target and print a table of families and what failed."""

from __future__ import annotations

import argparse
import re
import sys
import time

from .cases import ALL, FAMILIES
from .cases.stricter import STRICTER_THAN_PEERS
from .play import play
from .runner import Result
from .targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.http_suite", description=__doc__)
    parser.add_argument(
        "--target", action="append", choices=[*TARGETS, "blitz", "peers"], help="default: blitz-auto-1"
    )
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only these")
    parser.add_argument("--case", help="only ids that this regular expression finds")
    parser.add_argument("--level", choices=["strict", "advisable"])
    parser.add_argument("--rigs", type=int, default=3, help="servers to run side by side")
    parser.add_argument("--compare", action="store_true", help="print strict cases that no target passed")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the bytes of failures")
    parser.add_argument("--list", action="store_true", help="list the cases")
    options = parser.parse_args()
    cases = [
        case
        for case in ALL
        if (not options.family or case.family in options.family)
        and (not options.case or re.search(options.case, case.id))
        and (not options.level or case.level == options.level)
    ]
    if options.list:
        for case in cases:
            print(f"{case.id:60} {case.level:10} {case.rfc}")
        print(len(cases), "cases,", sum(case.level == "strict" for case in cases), "strict")
        return 0
    names: list[str] = []
    for name in options.target or ["blitz-auto-1"]:
        groups = {
            "blitz": [t for t in TARGETS if t.startswith("blitz")],
            "peers": ["nginx", "haproxy", "caddy", "plain-h11"],
        }
        names += groups.get(name, [name])
    failed = 0
    outcomes: dict[str, list[Result]] = {}
    for name in names:
        if not TARGETS[name].available():
            print(f"{name}: not installed, left out")
            continue
        started = time.monotonic()
        outcomes[name] = play(TARGETS[name], cases, rigs=options.rigs)
        _report(name, outcomes[name], time.monotonic() - started, verbose=options.verbose)
        failed += sum(not result.ok and result.case.level == "strict" for result in outcomes[name])
    if options.compare:
        _compare(outcomes)
    return 1 if failed else 0


def _report(name: str, results: list[Result], seconds: float, *, verbose: bool) -> None:
    strict = [result for result in results if result.case.level == "strict"]
    advisable = [result for result in results if result.case.level != "strict"]
    print(f"\n{name}: strict {sum(r.ok for r in strict)} of {len(strict)}, ", end="")
    print(f"advisable {sum(r.ok for r in advisable)} of {len(advisable)}, {seconds:.1f} s")
    for family in FAMILIES:
        ours = [result for result in results if result.case.family == family]
        if ours:
            print(f"  {family:12} {sum(r.ok for r in ours):4} of {len(ours):4}")
    for result in results:
        if not result.ok:
            word = "FAIL" if result.case.level == "strict" else "soft"
            print(f"  {word} {result.case.id} (RFC {result.case.rfc})")
            for text in result.wrong:
                print(f"       {text}")
            if verbose:
                print("       " + result.seen.summary().replace("\n", "\n       "))


def _compare(outcomes: dict[str, list[Result]]) -> None:
    passed = {result.case.id for results in outcomes.values() for result in results if result.ok}
    tried = {result.case.id: result.case for results in outcomes.values() for result in results}
    lonely = [case for case in tried.values() if case.id not in passed and case.level == "strict"]
    print(f"\nstrict cases that none of {', '.join(outcomes)} passed: {len(lonely)}")
    for case in lonely:
        known = "" if case.id in STRICTER_THAN_PEERS else ": not in cases/stricter.py"
        print(f"  {case.id} (RFC {case.rfc}){known}")
    for name in sorted(STRICTER_THAN_PEERS & passed):
        print(f"  {name} is in cases/stricter.py, and one passed it")


if __name__ == "__main__":
    sys.exit(main())
