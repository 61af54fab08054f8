"""The part that the Python hosts of hook.py share: answer measuring requests on standard input.

Per line ``WHAT SECONDS`` one line goes out: nanoseconds per call of the measure WHAT. This file is run
by other interpreters than the benchmarks' own (the peers live in their own environment), so it
imports nothing but the standard library.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

__all__ = ["PATH", "USER", "serve"]

USER = "0123456789abcdef"  # value of x-user
PATH = "/"

_BATCH_SECONDS = 0.005


Run = Callable[[int], float | None]


def serve(measures: dict[str, Run]) -> None:
    """Measures take how many calls to make and make them in a loop of their own: no call of ours is
    in the figure. They may return seconds of CPU that do not count."""
    print("ready", flush=True)
    for line in sys.stdin:
        what, seconds = line.split()
        print(f"{_measure(measures[what], float(seconds)):.2f}", flush=True)


def _measure(run: Run, seconds: float) -> float:
    """CPU time of the whole process: a neighbour on the core takes wall time, hardly CPU time."""
    batch, took = 1, 0.0
    while took < _BATCH_SECONDS and batch < 1 << 20:
        begin = time.perf_counter()
        run(batch)
        took = time.perf_counter() - begin
        batch *= 2
    calls, begin, cpu = 0, time.perf_counter(), time.process_time()
    while not calls or time.perf_counter() - begin < seconds:
        cpu += run(batch) or 0.0
        calls += batch
    return (time.process_time() - cpu) / calls * 1e9
