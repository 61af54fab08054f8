"""What do crowds do to a request that runs no plugin? Hundreds of looping guests, thousands of idle ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from .harness.bench import HEADERS, Bench, Contender, say
from .harness.check import FIXED_SIZE
from .harness.errors import BenchError
from .harness.load import Load, Outcome, Shape
from .harness.table import Claim, Column, Row, Table

QUESTION = "what do crowds do to a request that runs no plugin?"
METHOD = """
One connection sends 100 requests per second to a route without plugins, paced, and is measured: alone,
beside 200 and beside 1,000 requests whose plugin never returns, and while 9,000 idle connections reach
the end of `timeouts.keepalive` in the same moment. A latency counts from the moment the request was due.
Blitz only: the peers that run guests do not come back from the first loop (see isolation).
"""
RATE = 100
LOOPING = (200, 1000)
IDLE, SMOKE_IDLE = 9_000, 100
PER_ADDRESS = 2_500  # far below the ephemeral ports of one address
KEEPALIVE = 4.0  # as in crowd.toml; opening all connections takes less
REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"

_COLUMNS = [
    Column("alone50", "p50 alone", "µs"),
    Column("alone99", "p99 alone", "µs"),
    *(
        Column(f"{what}{count}", f"{words} beside {count:,} loops", "ms", 1)
        for count in LOOPING
        for what, words in (("half", "p50"), ("most", "p99"), ("grown", "p99 grows by"))
    ),
    Column("expiry", "slowest while 9,000 expire", "ms", 1),
]


def run(bench: Bench) -> list[Table]:
    table = Table("crowd", QUESTION, _COLUMNS, METHOD)
    peers = [peer for peer in bench.peers if peer.name.startswith("blitz") and "crowd" in peer.jobs]
    with bench.contenders(table, "crowd", peers=peers) as contenders:
        for contender in contenders:
            row = Row(contender.name)
            try:
                for _ in range(bench.settings.rounds):
                    for key, value in _round(bench, contender):
                        row.values.setdefault(key, []).append(value)
            except (BenchError, OSError) as exc:
                table.broken[contender.name] = str(exc)
                say(f"    {contender.name} is broken: {exc}")
            table.rows.append(row)
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
        loops = Shape(path="/loop", status=0, connections=count, patience=0.2)
        with Load(contender.port, loops, seconds + 1, cores=[bench.cores.load]) as load:
            load.go()
            time.sleep(0.5)  # the burst of their arrival is not what is asked for
            beside = _measured(bench, contender, seconds)
        yield f"half{count}", beside.latency_us["p50"] / 1e3
        yield f"most{count}", beside.latency_us["p99"] / 1e3
        yield f"grown{count}", (beside.latency_us["p99"] - alone.latency_us["p99"]) / 1e3
        time.sleep(2.5)  # those that loop reach their limit, and their plugin its quarantine's end
    yield "expiry", _slowest_while_many_expire(bench, contender) / 1e3


def _measured(bench: Bench, contender: Contender, seconds: float) -> Outcome:
    shape = Shape(length=FIXED_SIZE, headers=HEADERS, rate=RATE, connections=1, patience=5)
    with Load(contender.port, shape, seconds, cores=[bench.cores.load]) as load:
        load.go()
        outcome = load.wait()
    if outcome.failed or not outcome.requests:
        raise BenchError(outcome.complaint())
    return outcome


def _slowest_while_many_expire(bench: Bench, contender: Contender) -> float:
    """Microseconds."""
    count = SMOKE_IDLE if bench.settings.smoke else IDLE
    idle: list[socket.socket] = []
    try:
        for number in range(count):
            source = f"127.0.0.{2 + number // PER_ADDRESS}"
            idle.append(
                socket.create_connection(
                    ("127.0.0.1", contender.port), timeout=20, source_address=(source, 0)
                )
            )
        for sock in idle:
            sock.sendall(REQUEST)
        for sock in idle:
            sock.recv(65536)
        return _measured(bench, contender, KEEPALIVE + 2).latency_us["max"]
    finally:
        for sock in idle:
            sock.close()
