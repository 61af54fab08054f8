"""What does a proxied request cost? No plugin; the same origin behind everybody."""

from __future__ import annotations

from .harness.bench import HEADERS, Bench
from .harness.check import FIXED_SIZE
from .harness.columns import THROUGHPUT
from .harness.load import Shape
from .harness.table import Claim, Table, ratio

QUESTION = "what does a proxied request cost?"
METHOD = """
GET through to an origin that answers 128 bytes at once; 64 keep-alive connections in front, kept-
alive connections behind. Where a server's core is not full, load generator and origin are the limit,
and CPU per request says more than req/s.
"""


def run(bench: Bench) -> list[Table]:
    table = Table("proxy", QUESTION, THROUGHPUT, METHOD, plot="rps")
    with bench.polling_origin(), bench.contenders(table, "proxy") as contenders:
        shape = Shape(length=FIXED_SIZE, headers=HEADERS, poll=True)
        table.add_slices(bench.interleave(table, contenders, shape))
    blitz = table.median("blitz", "cpu")
    for peer, wanted in (("caddy", 2.5), ("workerd", 4.0)):
        value = ratio(table.median(peer, "cpu"), blitz)
        table.claims.append(
            Claim(f"CPU per request of {peer} / Blitz", value, wanted, at_least=True, unit="x")
        )
    return [table]
