"""What do guests that loop for ever do to everybody else?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from .harness.bench import HEADERS, Bench, Contender, say
from .harness.check import FIXED_SIZE
from .harness.errors import BenchError
from .harness.guests import assemble
from .harness.host import HOSTS, open_host
from .harness.load import Load, Outcome, Shape
from .harness.places import PYTHON
from .harness.table import Claim, Column, Row, Table
from .peers.blitz import blitz, blitz_isolation

QUESTION = "what do guests that loop for ever do to everybody else?"
METHOD = """
One connection sends 50 requests per second through the one-header plugin, paced, and is measured:
first alone, then while 16 other connections have sent a request whose plugin never returns. The time
limit of the guest in Blitz is longer than the measurement: all 16 loop all the time. "Failed" are
measured requests
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
    # A guest loops through the whole of a measurement and is cancelled after it, before the next one.
    seconds = bench.settings.seconds * 5  # so that a p99 is not one request
    guest_limit = seconds + 1
    peers = [peer for peer in bench.peers if peer.name != "blitz"]
    peers.insert(0, blitz("blitz", {"isolation": blitz_isolation(f"{guest_limit:g}s")}))
    with bench.contenders(table, "isolation", peers=peers) as contenders:
        for contender in contenders:
            row = Row(contender.name)
            rounds = bench.settings.rounds if contender.name == "blitz" else 1
            try:
                for _ in range(rounds):
                    begin = time.monotonic()
                    _round(bench, contender, row, seconds)
                    time.sleep(max(0.0, begin + seconds + guest_limit + 1 - time.monotonic()))
            except BenchError as exc:
                table.broken[contender.name] = str(exc)
                say(f"    {contender.name} is broken: {exc}")
            table.rows.append(row)
    table.claims = [*_claims(table), *_aftermath(bench, table)]
    return [table]


def _round(bench: Bench, contender: Contender, row: Row, seconds: float) -> None:
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


# ---------------------------------------------------------------- deadlines and memory


def _aftermath(bench: Bench, table: Table) -> Iterator[Claim]:
    """How punctual a deadline is, and what instances and cancelled calls leave in memory."""
    late: float | None = None
    memory: dict[str, float] = {}
    if any(peer.name == "blitz" and peer.missing() is None for peer in bench.peers):
        try:
            late = _lateness(bench)
            memory = _memory(bench)
        except BenchError as exc:
            table.broken["blitz, aftermath"] = str(exc)
            say(f"    blitz, aftermath: {exc}")
    yield Claim("a deadline of 500 ms fires late by at most", late, 5, at_least=False, unit=" ms")
    yield Claim("growth over 1,000 cancels", memory.get("cancelled"), 1, at_least=False, unit=" MB")
    yield Claim("memory of each of 1,000 live instances", memory.get("live"), 64, at_least=False, unit=" KB")


def _lateness(bench: Bench) -> float:
    """Milliseconds by which the slowest answer to a looping request comes after the guest's limit.

    Fifteen of them: more in so short a time and the plugin would not be run any more.
    """
    contender = bench.start(blitz("blitz", {"isolation": blitz_isolation("500ms")}), "isolation")
    try:
        count = 2 if bench.settings.smoke else 15
        shape = Shape(path="/loop", status=0, connections=1, requests=count)
        with Load(contender.port, shape, 60.0, cores=[bench.cores.load]) as load:
            load.go()
            outcome = load.wait()
        if outcome.failed or outcome.requests < count:
            raise BenchError(f"looping requests were not answered: {outcome.complaint()}")
        return outcome.latency_us["max"] / 1e3 - 500
    finally:
        contender.server.stop()


def _memory(bench: Bench) -> dict[str, float]:
    """live: KB per live instance that has served a call. cancelled: MB that 1,000 cancels add."""
    folder = bench.scratch("aftermath")
    for guest in ("one_header", "spin"):
        (folder / f"{guest}.wasm").write_bytes(assemble(guest))
    script = str(HOSTS / "blitz_guests.py")
    command = [PYTHON, script, str(folder / "one_header.wasm"), str(folder / "spin.wasm")]
    with open_host(bench, "blitz, guests", command) as host:
        host.ask("cancelled", 20 if bench.settings.smoke else 100)  # what is built once
        grown = host.ask("cancelled", 50 if bench.settings.smoke else 1000)
        return {"cancelled": grown / 1e6, "live": host.ask("live", 1000) / 1e3}
