"""What does a chain of three plugins cost? Each reads a header and sets one."""

from __future__ import annotations

from .harness.bench import HEADERS, Bench
from .harness.check import FIXED_SIZE
from .harness.columns import THROUGHPUT
from .harness.load import Shape
from .harness.table import Table

QUESTION = "what does a chain of three plugins cost?"
METHOD = """
As plugin, three times: three plugins of their own each read x-user and set x-seen-1, x-seen-2,
x-seen-3. In Blitz, workerd and Traefik these are three WebAssembly modules with an instance each.
"""


def run(bench: Bench) -> list[Table]:
    table = Table("chain3", QUESTION, THROUGHPUT, METHOD, plot="rps")
    with bench.polling_origin(), bench.contenders(table, "chain3") as contenders:
        shape = Shape(length=FIXED_SIZE, headers=HEADERS, poll=True)
        table.add_slices(bench.interleave(table, contenders, shape))
    return [table]
