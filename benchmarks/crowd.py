"""What do crowds do to a request that runs no plugin? Hundreds of looping guests, thousands of idle ends."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from functools import partial

from .harness.bench import HEADERS, Bench, Contender
from .harness.check import FIXED_SIZE
from .harness.errors import BenchError
from .harness.load import Load, Outcome, Shape
from .harness.table import Claim, Column, Table

QUESTION = "what do crowds do to a request that runs no plugin?"
METHOD = """
One connection sends 100 requests per second to a route without plugins, paced, and is measured: alone;
while 200 and then 1,000 requests whose plugin never returns arrive at once and loop from then on; and
while 9,000 idle connections reach the end of `timeouts.keepalive` in the same moment. A latency counts
from the moment the request was due. Blitz only: the peers that run guests do not come back from the
first loop (see isolation).
"""
RATE = 100
LOOPING = (200, 1000)
IDLE, SMOKE_IDLE = 9_000, 100
PER_ADDRESS = 2_500  # far below the ephemeral ports of one address
_networks = itertools.count(1)  # of loopback: no connection meets one of a round before
KEEPALIVE = 4.0  # as in crowd.toml; opening all connections takes less
REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"

_COLUMNS = [
    Column("alone50", "p50 alone", "µs"),
    Column("alone99", "p99 alone", "µs"),
    *(
        Column(f"{what}{count}", f"{words} beside {count:,} loops", "ms", 1)
        for count in LOOPING
        for what, words in (("most", "p99"), ("max", "slowest"), ("grown", "p99 grows by"))
    ),
    Column("expiry", "slowest while 9,000 expire", "ms", 1),
]


def run(bench: Bench) -> list[Table]:
    table = Table("crowd", QUESTION, _COLUMNS, METHOD)
    bench.rounds_of_blitz(table, "crowd", partial(_round, bench))
    for count, most in zip(LOOPING, (10, 20), strict=True):
        text = f"p99 of a route without plugins grows, beside {count:,} loops, by"
        table.claims.append(
            Claim(text, table.median("blitz", f"grown{count}"), most, at_least=False, unit=" ms")
        )
    return [table]


def _round(bench: Bench, contender: Contender) -> Iterator[tuple[str, float]]:
    seconds = bench.settings.seconds * 2
    alone = _measured(bench, contender, seconds)
    yield "alone50", alone.latency_us["p50"]
    yield "alone99", alone.latency_us["p99"]
    for count in LOOPING:
        beside = _measured(bench, contender, seconds, looping=count)
        yield f"most{count}", beside.latency_us["p99"] / 1e3
        yield f"max{count}", beside.latency_us["max"] / 1e3
        yield f"grown{count}", (beside.latency_us["p99"] - alone.latency_us["p99"]) / 1e3
        time.sleep(1)  # their connections have ended, and so have they
    yield "expiry", _slowest_while_many_expire(bench, contender) / 1e3


def _measured(bench: Bench, contender: Contender, seconds: float, looping: int = 0) -> Outcome:
    cores = [bench.cores.load]
    shape = Shape(length=FIXED_SIZE, headers=HEADERS, rate=RATE, connections=1, patience=5)
    loops = Shape(path="/loop", status=0, connections=max(looping, 1), patience=0.2)
    with (
        Load(contender.port, shape, seconds, cores=cores) as load,
        Load(contender.port, loops, seconds, cores=cores) as crowd,
    ):
        load.go()
        time.sleep(seconds / 8)
        if looping:
            crowd.go()
        outcome = load.wait()
    if outcome.failed or not outcome.requests:
        raise BenchError(outcome.complaint())
    return outcome


def _slowest_while_many_expire(bench: Bench, contender: Contender) -> float:
    """Microseconds."""
    count = SMOKE_IDLE if bench.settings.smoke else IDLE
    idle: list[socket.socket] = []
    network = next(_networks)
    try:
        for number in range(count):
            source = f"127.0.{network}.{2 + number // PER_ADDRESS}"
            idle.append(
                socket.create_connection(
                    ("127.0.0.1", contender.port), timeout=20, source_address=(source, 0)
                )
            )
        for sock in idle:
            sock.sendall(REQUEST)
        for sock in idle:
            sock.recv(65536)
        slowest = _measured(bench, contender, KEEPALIVE + 2).latency_us["max"]
        for sock in idle:
            if sock.recv(65536):  # blocks until the server has ended it
                raise BenchError("an idle connection got bytes that nobody asked for")
        return slowest
    finally:
        for sock in idle:
            sock.close()
