"""What does one request cost, answered by the server itself? 128 bytes, no upstream."""

from __future__ import annotations

from .harness.bench import Bench
from .harness.check import FIXED_SIZE
from .harness.columns import THROUGHPUT
from .harness.load import Shape
from .harness.table import Claim, Table, ratio

QUESTION = "what does one request cost, answered by the server itself?"
METHOD = """
A fixed answer of 128 bytes over 64 keep-alive connections. Blitz gives it from a WebAssembly plugin
(verdict stop), workerd from a JavaScript handler, the Python servers from an ASGI application, the
others from their configuration.
"""


def run(bench: Bench) -> list[Table]:
    table = Table("fixed", QUESTION, THROUGHPUT, METHOD, plot="rps")
    with bench.contenders(table, "fixed") as contenders:
        table.add_slices(bench.interleave(table, contenders, Shape(length=FIXED_SIZE, poll=True)))
    blitz = table.median("blitz", "rps")
    for peer, wanted in (("caddy", 1.3), ("granian", 1.1), ("hypercorn (trio)", 25)):
        value = ratio(blitz, table.median(peer, "rps"))
        table.claims.append(Claim(f"req/s of Blitz / {peer}", value, wanted, at_least=True, unit="x"))
    return [table]
