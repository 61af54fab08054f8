"""What does one client's or upstream's misbehaviour cost everybody else?"""

from __future__ import annotations

from collections.abc import Sequence

from .harness.bench import Bench, Contender, say
from .harness.errors import BenchError
from .harness.host import HOSTS, Host, open_host
from .harness.load import Load, Outcome, Shape
from .harness.places import PYTHON
from .harness.table import Claim, Column, Row, Table

QUESTION = "what does a fault cost the well-behaved?"
METHOD = """
Well-behaved clients send 500 requests per second over 16 connections, paced, and are measured while others
do to the same server what the row says, as fast as Python can: the faults of `tests/faults`, whose origin is
the upstream. 200 slow heads and slow bodies (a byte every 50 ms), 2,000 connections that send nothing, up to
20 clients that reset or half-close at each stage, 8 that ask for what makes the upstream misbehave, 16 that
send requests that are nearly right. Every wait of a server ends after 2 s. A latency counts from the moment
the request was due; "failed" are well-behaved requests that got no answer or a wrong one. The producers of
the faults share the load generator's core, at the lowest priority but one.
"""
RATE, CONNECTIONS = 500, 16
NAMES = ("blitz", "nginx", "haproxy")
ALONE = "alone"
FAULTS = (
    "client-slow-head",
    "client-slow-body",
    "client-idle-2000",
    "client-reset-at-once",
    "client-reset-in-head",
    "client-reset-in-body",
    "client-reset-waiting",
    "client-reset-in-answer",
    "client-half-close-in-head",
    "client-half-close-waiting",
    "client-mutants",
    "upstream-down",
    "upstream-close",
    "upstream-reset",
    "upstream-stall",
    "upstream-garbage",
    "upstream-early",
    "upstream-twice",
    "upstream-unasked-101",
)
_SMOKE_FAULTS = ("client-idle-2000", "client-mutants", "upstream-down")


def run(bench: Bench) -> list[Table]:
    table = Table("faults", QUESTION, _columns(), METHOD)
    table.rows = [Row(name) for name in (ALONE, *(_SMOKE_FAULTS if bench.settings.smoke else FAULTS))]
    command = [PYTHON, str(HOSTS / "attack.py")]
    with (
        bench.faulty_origin(),
        bench.contenders(table, "faults", listed=False) as contenders,
        open_host(bench, "attack", command, core=bench.cores.load) as attacker,
    ):
        for _ in range(bench.settings.rounds):
            for row in table.rows:
                _round(bench, table, row, contenders, attacker)
    table.rows = [row for row in table.rows if row.values]
    failed = [max(row.values["blitz failed"]) for row in table.rows if "blitz failed" in row.values]
    worst = max(failed, default=None)
    table.claims = [
        Claim(
            "well-behaved requests of Blitz that failed, under any fault", worst, 0, at_least=False, unit=" %"
        )
    ]
    return [table]


def _columns() -> list[Column]:
    times = [Column(f"{name} p99", f"{name}, p99", "µs") for name in NAMES]
    return times + [Column(f"{name} failed", f"{name}, failed", "%", 2) for name in NAMES]


def _round(bench: Bench, table: Table, row: Row, contenders: Sequence[Contender], attacker: Host) -> None:
    for contender in contenders:
        if contender.name in table.broken:
            continue
        try:
            outcome = _slice(bench, contender, row.name, attacker)
            contender.server.check_alive()
        except BenchError as exc:
            table.broken[contender.name] = f"{row.name}: {exc}"
            say(f"    {contender.name} is broken: {exc}")
            continue
        total = outcome.requests + outcome.failed
        row.values.setdefault(f"{contender.name} failed", []).append(100 * outcome.failed / max(total, 1))
        if outcome.requests:
            row.values.setdefault(f"{contender.name} p99", []).append(outcome.latency_us["p99"])


def _slice(bench: Bench, contender: Contender, fault: str, attacker: Host) -> Outcome:
    """Measure the well-behaved while *fault* goes on."""
    seconds = bench.settings.seconds * 1.5  # enough for the stalls to be many at a time
    shape = Shape(path="/good", length=5, rate=RATE, connections=CONNECTIONS, patience=2)
    with Load(contender.port, shape, seconds, cores=[bench.cores.load]) as load:
        if fault != ALONE:
            attacker.ask(fault, contender.port)
        load.go()
        outcome = load.wait()
        if fault != ALONE and not attacker.ask("stop", 0):
            raise BenchError("the fault did nothing")
    return outcome
