"""What do passwords that have to be checked do to a request that needs none?"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

from .harness.bench import HEADERS, Bench, Contender
from .harness.check import FIXED_SIZE
from .harness.errors import BenchError
from .harness.load import Load, Outcome, Shape
from .harness.table import Claim, Column, Table

QUESTION = "what do passwords that have to be checked do to a request that needs none?"
METHOD = """
One connection sends 100 requests per second to a route without auth, paced, and is measured: alone, and
while four clients guess passwords at another route, each time another one, each of which costs a check of
bcrypt at cost 12. A latency counts from the moment the request was due. Checks run on the server's core.
"""
RATE = 100
GUESSING = 4  # as many as may wait of one client
_guesses = itertools.count()

_COLUMNS = [
    Column("alone50", "p50 alone", "µs"),
    Column("alone99", "p99 alone", "µs"),
    Column("beside50", "p50 beside guesses", "µs"),
    Column("beside99", "p99 beside guesses", "ms", 1),
    Column("grown", "p99 grows by", "ms", 1),
    Column("checked", "guesses checked", "/s", 1),
]


def run(bench: Bench) -> list[Table]:
    table = Table("passwords", QUESTION, _COLUMNS, METHOD)
    bench.rounds_of_blitz(table, "passwords", partial(_round, bench))
    grown = table.median("blitz", "grown")
    table.claims.append(Claim("p99 beside bcrypt checks grows by", grown, 10, at_least=False, unit=" ms"))
    return [table]


def _round(bench: Bench, contender: Contender) -> Iterator[tuple[str, float]]:
    seconds = bench.settings.seconds * 2
    alone = _measured(bench, contender, seconds)
    yield "alone50", alone.latency_us["p50"]
    yield "alone99", alone.latency_us["p99"]
    with _guessing(bench, contender) as checked:
        time.sleep(0.3)
        before, began = len(checked), time.monotonic()
        beside = _measured(bench, contender, seconds)
        rate = (len(checked) - before) / (time.monotonic() - began)
    yield "beside50", beside.latency_us["p50"]
    yield "beside99", beside.latency_us["p99"] / 1e3
    yield "grown", (beside.latency_us["p99"] - alone.latency_us["p99"]) / 1e3
    yield "checked", rate


def _measured(bench: Bench, contender: Contender, seconds: float) -> Outcome:
    shape = Shape(length=FIXED_SIZE, headers=HEADERS, rate=RATE, connections=1, patience=5)
    with Load(contender.port, shape, seconds, cores=[bench.cores.load]) as load:
        load.go()
        outcome = load.wait()
    if outcome.failed or not outcome.requests:
        raise BenchError(outcome.complaint())
    return outcome


@contextlib.contextmanager
def _guessing(bench: Bench, contender: Contender) -> Iterator[list[int]]:
    """Clients that guess meanwhile; yields the statuses of what was checked."""
    over, statuses = threading.Event(), list[int]()

    def guess() -> None:
        os.sched_setaffinity(0, [bench.cores.load])
        with socket.create_connection(("127.0.0.1", contender.port), timeout=20) as sock:
            while not over.is_set():
                word = base64.b64encode(f"ada:guess {next(_guesses)}".encode()).decode()
                sock.sendall(f"GET /in HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {word}\r\n\r\n".encode())
                statuses.append(int(sock.recv(65536)[9:12]))

    threads = [threading.Thread(target=guess) for _ in range(GUESSING)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if set(statuses) != {401}:
        raise BenchError(f"a wrong password should be answered with 401; got {sorted(set(statuses))}")
