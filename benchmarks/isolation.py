"""What do guests that loop for ever do to everybody else?"""

from __future__ import annotations

from collections.abc import Iterator

from .harness.bench import HEADERS, Bench, Contender, say
from .harness.check import FIXED_SIZE
from .harness.errors import BenchError
from .harness.load import Load, Outcome, Shape
from .harness.table import Claim, Column, Row, Table
from .peers.blitz import blitz, blitz_isolation

QUESTION = "what do guests that loop for ever do to everybody else?"
METHOD = """
One connection sends 50 requests per second through the one-header plugin, paced, and is measured:
first alone, then while 16 other connections send requests whose plugin never returns (as soon as one
is answered, the next is sent). Blitz cancels such a call after 500 ms. "Failed" are measured requests
that got no answer or a wrong one; a latency counts from the moment the request was due. The peers run
one round: most do not come back from it.
"""
RATE = 50  # far apart: a request that takes several passes of a busy event loop must not queue the next
LOOPING = 16

_COLUMNS = [
    Column("quiet50", "p50 alone", "µs"),
    Column("quiet99", "p99 alone", "µs"),
    Column("loop50", "p50 beside loops", "µs"),
    Column("loop99", "p99 beside loops", "µs"),
    Column("max", "slowest beside loops", "ms", 1),
    Column("failed", "failed", "%"),
    Column("grown", "p99 grows by", "ms", 1),
]


def run(bench: Bench) -> list[Table]:
    table = Table("isolation", QUESTION, _COLUMNS, METHOD)
    with bench.contenders(table, "isolation") as contenders:
        for contender in contenders:
            row = Row(contender.name)
            rounds = bench.settings.rounds if contender.name == "blitz" else 1
            try:
                for _ in range(rounds):
                    _round(bench, contender, row)
            except BenchError as exc:
                table.broken[contender.name] = str(exc)
                say(f"    {contender.name} is broken: {exc}")
            table.rows.append(row)
    cancels = _cancels(bench, table)
    table.claims = [*_claims(table), *cancels]
    return [table]


def _round(bench: Bench, contender: Contender, row: Row) -> None:
    seconds = bench.settings.seconds * 5  # so that a p99 is not one request
    cores = [bench.cores.load]
    measured = Shape(length=FIXED_SIZE, headers=HEADERS, rate=RATE, connections=1, patience=2)
    looping = Shape(path="/loop", status=0, connections=LOOPING, patience=0.2)
    with Load(contender.port, measured, seconds, cores=cores) as load:
        load.go()
        alone = load.wait()
    if alone.failed:
        raise BenchError(alone.complaint())
    with (
        Load(contender.port, measured, seconds, cores=cores) as load,
        Load(contender.port, looping, seconds + 1, cores=cores) as loops,
    ):
        loops.go()
        load.go()
        beside = load.wait()
    for key, value in _figures(alone, beside):
        row.values.setdefault(key, []).append(value)


def _figures(alone: Outcome, beside: Outcome) -> Iterator[tuple[str, float]]:
    yield "quiet50", alone.latency_us["p50"]
    yield "quiet99", alone.latency_us["p99"]
    yield "failed", 100 * beside.failed / (beside.requests + beside.failed)
    if beside.requests:
        yield "loop50", beside.latency_us["p50"]
        yield "loop99", beside.latency_us["p99"]
        yield "max", beside.latency_us["max"] / 1e3
        yield "grown", (beside.latency_us["p99"] - alone.latency_us["p99"]) / 1e3


def _claims(table: Table) -> Iterator[Claim]:
    yield Claim("p99 of Blitz grows by", table.median("blitz", "grown"), 10, at_least=False, unit=" ms")
    row = table.row("blitz")
    failed = max(row.values.get("failed", [100.0])) if row and row.values else None
    yield Claim("measured requests of Blitz that failed", failed, 0, at_least=False, unit=" %")


# ---------------------------------------------------------------- cancels


def _cancels(bench: Bench, table: Table) -> list[Claim]:
    """How punctual a deadline is, and whether a thousand of them leave anything behind."""
    late, grown = None, None
    if any(peer.name == "blitz" and peer.missing() is None for peer in bench.peers):
        try:
            late = _lateness(bench)
            grown = _growth(bench)
        except BenchError as exc:
            table.broken["blitz, cancels"] = str(exc)
            say(f"    blitz, cancels: {exc}")
    return [
        Claim("a deadline of 500 ms fires late by, p99", late, 5, at_least=False, unit=" ms"),
        Claim("growth over 1,000 cancels", grown, 1, at_least=False, unit=" MB"),
    ]


def _lateness(bench: Bench) -> float:
    """Milliseconds by which the slowest answer to a looping request comes after the guest's limit."""
    peer = blitz("blitz", {"isolation": blitz_isolation("500ms")})
    contender = bench.start(peer, "isolation")
    try:
        shape = Shape(path="/loop", status=0, connections=1)
        with Load(
            contender.port, shape, 1.0 if bench.settings.smoke else 10.0, cores=[bench.cores.load]
        ) as load:
            load.go()
            outcome = load.wait()
        if outcome.failed or not outcome.requests:
            raise BenchError(f"looping requests were not answered: {outcome.complaint()}")
        return outcome.latency_us["max"] / 1e3 - 500
    finally:
        contender.server.stop()


def _growth(bench: Bench) -> float:
    """MB of resident memory that 1,000 cancelled calls add, after 100 that warm."""
    peer = blitz("blitz", {"isolation": blitz_isolation("5ms")})
    contender = bench.start(peer, "isolation")
    try:
        _loop(bench, contender, 20 if bench.settings.smoke else 100)
        before = contender.server.memory()
        _loop(bench, contender, 50 if bench.settings.smoke else 1000)
        return (contender.server.memory() - before) / 1e6
    finally:
        contender.server.stop()


def _loop(bench: Bench, contender: Contender, count: int) -> None:
    shape = Shape(path="/loop", status=0, connections=4, requests=count)
    with Load(contender.port, shape, 60.0, cores=[bench.cores.load]) as load:
        load.go()
        outcome = load.wait()
    if outcome.failed or outcome.answered < count:
        raise BenchError(
            f"{outcome.answered} of {count} looping requests were answered: {outcome.complaint()}"
        )
