"""What does a proxied request cost with one plugin that reads a header and sets one?"""

from __future__ import annotations

from collections.abc import Iterator

from .harness.bench import HEADERS, Bench
from .harness.check import FIXED_SIZE
from .harness.columns import THROUGHPUT
from .harness.load import Shape
from .harness.table import Claim, Table, ratio
from .peers.blitz import blitz, blitz_setup

QUESTION = "what does a proxied request cost with one plugin that reads a header and sets one?"
METHOD = """
As proxy, with a plugin in each peer's own language: it reads x-user from the request and sends its
value to the origin as x-seen-1. Blitz without a plugin runs beside it in the same rounds, so that
what the plugin adds is a difference of neighbours.
"""
_PLAIN = "blitz, no plugin"


def run(bench: Bench) -> list[Table]:
    table = Table("plugin", QUESTION, THROUGHPUT, METHOD, plot="rps")
    peers = [*bench.peers, blitz(_PLAIN, {"plugin": blitz_setup()}, checks="proxy")]
    with bench.polling_origin(), bench.contenders(table, "plugin", peers=peers) as contenders:
        shape = Shape(length=FIXED_SIZE, headers=HEADERS, poll=True)
        table.add_slices(bench.interleave(table, contenders, shape))
    table.claims = [*_against_peers(table), *_of_the_plugin(table)]
    return [table]


def _against_peers(table: Table) -> Iterator[Claim]:
    blitz = table.median("blitz", "rps")
    for peer, wanted in (("workerd", 4.0), ("nginx + lua", 0.4)):
        value = ratio(blitz, table.median(peer, "rps"))
        yield Claim(f"req/s of Blitz / {peer}", value, wanted, at_least=True, unit="x")


def _of_the_plugin(table: Table) -> Iterator[Claim]:
    with_plugin, without = table.median("blitz", "cpu"), table.median(_PLAIN, "cpu")
    added = None if with_plugin is None or without is None else with_plugin - without
    yield Claim("CPU that the plugin adds", added, 2.5, at_least=False, unit=" µs")
    kept = ratio(table.median("blitz", "rps"), table.median(_PLAIN, "rps"))
    lost = None if kept is None else (1 - kept) * 100
    yield Claim("throughput that the plugin takes", lost, 8, at_least=False, unit=" %")
