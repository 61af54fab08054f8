"""Random exchanges over two drivers, for long: ``python -m tests.parity.explore --seconds 600``.

What the two do otherwise at the first play is printed, also where a later play is the same: a case that
depends on the moment is a fault of the case, or a race in the gateway. ``--load N`` keeps N more processes
busy.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.http_suite.case import Case

from . import compare as comparing
from .drivers import DRIVERS
from .exchanges import CASES, SETTINGS
from .settings import Setting

EXAMPLES = 10  # of one seed
CASES_AT_ONCE = 5


def explore(drivers: tuple[str, str], number: int, found: Counter[str]) -> None:
    """Play some examples that follow from the seed *number*; *found* counts what came of it."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases=st.lists(CASES, min_size=CASES_AT_ONCE, max_size=CASES_AT_ONCE), setting=SETTINGS)
    def play(cases: list[Case], setting: Setting) -> None:
        found["cases"] += len(cases)
        first, last = comparing.plays_and_differences(cases, setting, drivers, CASES_AT_ONCE)
        found["different at first"] += len({each.case.id for each in first})
        found["different"] += len({each.case.id for each in last})
        for each in first:
            print(f"seed {number}: {each}\n{each.case}\n{setting}", flush=True)

    play()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drivers", nargs=2, choices=DRIVERS, default=("fast", "general"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--load", type=int, default=0)
    asked = parser.parse_args()
    ends = time.monotonic() + asked.seconds
    found: Counter[str] = Counter()
    with ExitStack() as stack:
        for _ in range(asked.load):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        for number in itertools.count(asked.seed):
            explore(tuple(asked.drivers), number, found)
            if time.monotonic() >= ends:
                break
    print(f"seeds {asked.seed} to {number}: {dict(found)}")
    raise SystemExit(bool(found["different"]))


if __name__ == "__main__":
    main()
