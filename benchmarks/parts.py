"""How fast does a large response go through a plugin that sees it part by part?"""

from __future__ import annotations

from .harness.bench import Bench
from .harness.load import Shape
from .harness.table import Claim, Column, Table, ratio
from .peers.blitz import blitz, blitz_setup

QUESTION = "how fast do 100 MiB go through a plugin that sees every part?"
METHOD = """
Download as in transfer, one connection. Pass: the guest lets every part of 64 KiB pass, and could change
it. No plugin: the bytes are spliced in the kernel, and nobody sees them.
"""
MIB = 1 << 20
_SIZE = 100 * MIB
_SMOKE_SIZE = 4 * MIB
_PLAIN, _PASS = "blitz, no plugin", "blitz, pass"


def run(bench: Bench) -> list[Table]:
    size = _SMOKE_SIZE if bench.settings.smoke else _SIZE
    columns = [
        Column("mbs", "MB/s", compare=True, value=lambda s: s.bytes_per_second / 1e6),
        Column(
            "cpu", "CPU for 100 MiB", "ms", 1, compare=True, value=lambda s: s.cpu_us * _SIZE / size / 1e3
        ),
    ]
    table = Table("parts", QUESTION, columns, METHOD, plot="mbs")
    peers = [
        blitz(_PLAIN, {"parts": blitz_setup()}, checks="proxy"),
        blitz(_PASS, {"parts": blitz_setup("parts_pass", 1)}, checks="proxy"),
    ]
    # What a plugin may change comes in chunked coding.
    with bench.contenders(table, "parts", peers=peers) as contenders:
        shape = Shape(path=f"/bytes/{size}", length=size, connections=1)
        seconds = max(bench.settings.seconds, 0.3 if bench.settings.smoke else 1.0)
        table.add_slices(bench.interleave(table, contenders, shape, seconds=seconds))
    kept = ratio(table.median(_PASS, "mbs"), table.median(_PLAIN, "mbs"))
    table.claims = [Claim("MB/s with a passing plugin / without one", kept, 0.6, at_least=True, unit="x")]
    return [table]
