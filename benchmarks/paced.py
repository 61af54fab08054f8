"""What does a gateway add to a request's latency when it is not at its limit?"""

from __future__ import annotations

import dataclasses

from .harness.bench import HEADERS, Bench, Contender
from .harness.check import FIXED_SIZE
from .harness.load import Shape
from .harness.table import Claim, Column, Table

QUESTION = "what does a gateway add to a request's latency at 2000 requests per second?"
METHOD = """
2000 requests per second, evenly spaced, over 16 connections; a latency counts from the moment the
request was due, so whoever stalls pays for all that it held up. The direct path is load generator to
origin, measured in the same rounds; "added" is a contender's percentile minus the direct one of its
round. With one plugin (reads a header, sets one) and without.
"""
RATE, CONNECTIONS = 2000, 16

_COLUMNS = [
    Column("p50", "p50", "µs", 1, value=lambda s: s.latency_us["p50"]),
    Column("p99", "p99", "µs", 1, value=lambda s: s.latency_us["p99"]),
    Column("added50", "added at p50", "µs", 1, compare=True),
    Column("added99", "added at p99", "µs", 1),
    Column("cpu", "CPU per request", "µs", 1, value=lambda s: s.cpu_us),
]


def run(bench: Bench) -> list[Table]:
    table = Table("paced", QUESTION, _COLUMNS, METHOD, plot="added50")
    shape = Shape(length=FIXED_SIZE, headers=HEADERS, rate=RATE, connections=CONNECTIONS)
    with (
        bench.contenders(table, "proxy") as plain,
        bench.contenders(table, "plugin", listed=False) as plugged,
    ):
        renamed = [dataclasses.replace(c, name=_with_plugin(c.name)) for c in plugged]
        contenders: list[Contender] = [bench.origin, *plain, *renamed]
        table.add_slices(bench.interleave(table, contenders, shape))
    _subtract_direct(table)
    blitz, nginx = table.median("blitz", "added50"), table.median("nginx", "added50")
    behind = None if blitz is None or nginx is None else blitz - nginx
    table.claims.append(Claim("p50 that Blitz adds, minus nginx's", behind, 25, at_least=False, unit=" µs"))
    return [table]


def _with_plugin(name: str) -> str:
    return name if "+" in name else f"{name} + plugin"


def _subtract_direct(table: Table) -> None:
    direct = table.row("direct")
    for row in table.rows:
        if direct is None or row is direct:
            continue
        for key in ("50", "99"):
            pairs = zip(row.values[f"p{key}"], direct.values[f"p{key}"], strict=True)
            row.values[f"added{key}"] = [value - base for value, base in pairs]
