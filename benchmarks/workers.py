"""Does a second worker double what a machine does?"""

from __future__ import annotations

import dataclasses

from .harness.bench import HEADERS, Bench, Contender, say
from .harness.check import FIXED_SIZE
from .harness.errors import BenchError
from .harness.load import Load, Shape
from .harness.peer import Peer, Setup
from .harness.table import Claim, Column, Row, Table, ratio
from .peers.blitz import blitz, blitz_setup
from .peers.nginx import PEERS as NGINX

QUESTION = "does a second worker double what a machine does?"
METHOD = """
The same proxied work on one core and on two. One: one worker, the load generator (64 connections) and
the origin share one core. Two: two workers and two load generators (64 connections each) may use two
cores, the origin stays on one of them. Perfect scaling is 2.0; a listening socket that lets one worker
starve would show here.

Once with plain proxying, where load generator and origin take as much of the cores as the server, and what
spreading them over two cores costs (each message wakes somebody on the other one) is in the figure; and once
with a plugin that computes for some 400 µs a request, where the workers are what is measured. The promise is
about those.
"""
_COLUMNS = [
    Column("one", "one worker, one core", "req/s"),
    Column("two", "two workers, two cores", "req/s"),
    Column("gain", "gain", "x", 2),
]
_JOB = "proxy"
_COMPUTING = "blitz, computing"


def run(bench: Bench) -> list[Table]:
    table = Table("workers", QUESTION, _COLUMNS, METHOD, plot="gain")
    if not bench.cores.apart:
        table.left_out["everybody"] = "this machine has one core"
        return [table]
    one_core, two_cores = [bench.cores.load], [bench.cores.server, bench.cores.load]
    computing = _blitz(1, _COMPUTING, "compute"), _blitz(2, _COMPUTING, "compute")
    for single, double in ((_blitz(1), _blitz(2)), computing, (_nginx(1), _nginx(2))):
        with (
            bench.contenders(table, _JOB, peers=[single], listed=False, cores=one_core) as ones,
            bench.contenders(table, _JOB, peers=[double], listed=False, cores=two_cores) as twos,
        ):
            if ones and twos:
                _compare(bench, table, (ones[0], one_core), (twos[0], two_cores))
    gain = table.median(_COMPUTING, "gain")
    table.claims = [Claim("two workers of Blitz that compute / one", gain, 1.85, at_least=True, unit="x")]
    return [table]


def _compare(
    bench: Bench, table: Table, one: tuple[Contender, list[int]], two: tuple[Contender, list[int]]
) -> None:
    row = Row(one[0].name, {"one": [], "two": [], "gain": []})
    try:
        for _ in range(bench.settings.rounds):
            single, double = _throughput(bench, *one, loads=1), _throughput(bench, *two, loads=2)
            row.values["one"].append(single)
            row.values["two"].append(double)
            row.values["gain"].append(ratio(double, single) or 0.0)
    except BenchError as exc:
        table.broken[row.name] = str(exc)
        say(f"    {row.name} is broken: {exc}")
        return
    table.rows.append(row)


def _throughput(bench: Bench, contender: Contender, cores: list[int], *, loads: int) -> float:
    shape = Shape(length=FIXED_SIZE, headers=HEADERS)
    running = [Load(contender.port, shape, bench.settings.seconds, cores=cores) for _ in range(loads)]
    for load in running:
        load.go()
    outcomes = [load.wait() for load in running]
    if failed := [outcome for outcome in outcomes if outcome.failed or not outcome.requests]:
        raise BenchError(failed[0].complaint())
    return sum(outcome.requests / outcome.seconds for outcome in outcomes)


def _blitz(workers: int, name: str = "blitz", guest: str = "") -> Peer:
    more = ("--workers", str(workers)) if workers > 1 else ()
    return blitz(name, {_JOB: blitz_setup(guest, 1 if guest else 0, *more)})


def _nginx(workers: int) -> Peer:
    plain = NGINX[0]
    setup = plain.jobs[_JOB]
    text = setup.files["nginx.conf"]
    assert isinstance(text, str)
    if workers > 1:
        text = text.replace("worker_processes 1;", f"worker_processes {workers};")
        text = text.replace("backlog=4096;", "backlog=4096 reuseport;")
    return dataclasses.replace(plain, jobs={_JOB: Setup(setup.argv, {"nginx.conf": text})})
