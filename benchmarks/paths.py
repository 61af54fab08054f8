"""What does it cost to find the route of a path, plain or hostile? No sockets, no heads."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from .harness.bench import Bench
from .harness.table import Claim, Column, Row, Table

QUESTION = "what does it cost to find the route of a path?"
METHOD = """
A hundred routes; the hostile paths are 16 KiB of what costs most, a column each. "decode and split" is
what a router in Python cannot do without, if it takes a path in one way only: urllib's decoding, a split,
dots resolved segment by segment. Blitz tells whether any way to read the path leads elsewhere. CPU time
of one call in one process, in turns.
"""

PATHS = {
    "plain": b"/r17/users/4711/orders/list.json",
    "spaces": b"/r17/users/caf%C3%A9/two%20words",
    "percent": (b"/" + b"%25/" * 4095)[:16384],
    "twice": (b"/" + b"%2525" * 3276)[:16384],
    "slashes": (b"/" + b"%252f" * 3276)[:16384],
    "dots": b"/" + b"".join(b"r%d/../" % (n % 25) for n in range(126)),
}
_COLUMNS = [
    Column("plain", "plain", "µs", 2, compare=True),
    Column("spaces", "encoded bytes", "µs", 2, compare=True),
    Column("percent", "`%25/` x 4095", "µs", 1, compare=True),
    Column("twice", "`%2525` x 3276", "µs", 1, compare=True),
    Column("slashes", "`%252f` x 3276", "µs", 1, compare=True),
    Column("dots", "126 x `rN/../`", "µs", 1, compare=True),
]
Find = Callable[[bytes], object]


def run(bench: Bench) -> list[Table]:
    table = Table("paths", QUESTION, _COLUMNS, METHOD)
    contenders = {"blitz": _blitz(), "decode and split": _in_python}
    rows = {name: Row(name) for name in contenders}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [bench.cores.server])
    try:
        for number in range(0 if bench.settings.smoke else -1, bench.settings.rounds):
            for name, find in contenders.items():
                for what, path in PATHS.items():
                    value = _microseconds(find, path, bench.settings.seconds / 8)
                    if number >= 0:
                        rows[name].values.setdefault(what, []).append(value)
    finally:
        os.sched_setaffinity(0, cores)
    table.rows += rows.values()
    for what in ("percent", "twice", "slashes", "dots"):
        text = f"a hostile path, {what}"
        table.claims.append(Claim(text, table.median("blitz", what), 1000, at_least=False, unit=" µs"))
    return [table]


def _microseconds(find: Find, path: bytes, seconds: float) -> float:
    calls, begin, cpu = 0, time.perf_counter(), time.process_time()
    while not calls or time.perf_counter() - begin < seconds:
        for _ in range(10):
            find(path)
        calls += 10
    return (time.process_time() - cpu) / calls * 1e6


def _blitz() -> Find:
    # Here, because the native part may not be built when only peers are asked for.
    from blitz.errors import ClientError
    from blitz.routing.match import Router, Rule

    router = Router([Rule(b"", b"/", 0), *(Rule(b"", b"/r%d" % n, n) for n in range(1, 100))])

    def find(path: bytes) -> object:
        try:
            return router.find(b"example.org", path)
        except ClientError:
            return None

    return find


_ROUTES = {b"r%d" % n: n for n in range(1, 100)}


def _in_python(path: bytes) -> object:
    kept: list[bytes] = []
    for segment in re.split(rb"/+", unquote_to_bytes(path))[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    return _ROUTES.get(kept[0] if kept else b"", 0)
