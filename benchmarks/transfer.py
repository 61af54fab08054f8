"""How fast does a large body go through, and what does it cost?"""

from __future__ import annotations

from .harness.bench import Bench, Contender, say
from .harness.errors import BenchError
from .harness.load import Shape
from .harness.table import Claim, Column, Row, Table, ratio

QUESTION = "how fast do 100 MiB go through, each way, and at what cost?"
METHOD = """
One connection, one transfer of 100 MiB after the other for the length of a slice, no plugin; once the
origin sends (download), once the client does (upload). CPU is the server's for 100 MiB. Growth is the
peak of the server's resident memory during the slices over what it had after its first request.
"""
MIB = 1 << 20
_SIZE = 100 * MIB
_SMOKE_SIZE = 4 * MIB


def run(bench: Bench) -> list[Table]:
    size = _SMOKE_SIZE if bench.settings.smoke else _SIZE
    scale = _SIZE / size / 1e3
    columns = [
        Column("mbs", "MB/s", compare=True, value=lambda s: s.bytes_per_second / 1e6),
        Column("cpu", "CPU for 100 MiB", "ms", 1, compare=True, value=lambda s: s.cpu_us * scale),
        Column("grown", "growth", "MB", 1),
    ]
    shapes = {
        "download": Shape(path=f"/bytes/{size}", length=size, connections=1),
        "upload": Shape(path="/upload", body=size, connections=1, length=len(f"received {size}\n")),
    }
    tables = []
    for way, shape in shapes.items():
        table = Table(f"transfer {way}", QUESTION, columns, METHOD, plot="mbs")
        with bench.contenders(table, "proxy") as contenders:
            before = {c.name: _reset(c) for c in contenders}
            # A slice holds a few transfers at least.
            seconds = max(bench.settings.seconds, 0.3 if bench.settings.smoke else 1.0)
            table.add_slices(bench.interleave(table, contenders, shape, seconds=seconds))
            _add_growth(table, contenders, before)
        _claim(table)
        tables.append(table)
    return tables


def _reset(contender: Contender) -> int:
    contender.server.reset_peak_memory()
    return contender.server.memory()


def _add_growth(table: Table, contenders: list[Contender], before: dict[str, int]) -> None:
    for contender in contenders:
        row: Row | None = table.row(contender.name)
        if row is None:
            continue
        try:
            contender.server.check_alive()
        except BenchError as exc:
            table.broken[contender.name] = str(exc)
            say(f"    {exc}")
            continue
        row.values["grown"] = [max(0, contender.server.peak_memory() - before[contender.name]) / 1e6]


def _claim(table: Table) -> None:
    speed = ratio(table.median("blitz", "mbs"), table.median("nginx", "mbs"))
    grown = table.median("blitz", "grown")
    table.claims = [
        Claim("MB/s of Blitz / nginx", speed, 0.7, at_least=True, unit="x"),
        Claim("growth of Blitz", grown, 16, at_least=False, unit=" MB"),
    ]
