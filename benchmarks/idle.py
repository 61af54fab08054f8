"""What does a connection cost that does nothing? Memory, after one request on each."""

from __future__ import annotations

import http.client
import socket
import time

from .harness.bench import Bench, Contender, say
from .harness.errors import BenchError
from .harness.table import Claim, Column, Row, Table

QUESTION = "what does an idle connection cost?"
METHOD = """
10,000 connections are opened from several loopback addresses, one proxied request is sent on each and
its answer read; then they all stay open. The server's resident memory (all its processes) before and
after, divided by their number; what it gives back when they are closed is not asked. One round.
"""
_COUNT, _SMOKE_COUNT = 10_000, 200
_PER_ADDRESS = 2_500  # far below the ephemeral ports of one address
_REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: blitz-bench\r\nAccept: */*\r\n\r\n"
_SETTLE = 0.5  # seconds for the server to get back to waiting

_COLUMNS = [
    Column("each", "memory per connection", "KB", 1, compare=True),
    Column("before", "before", "MB", 1),
    Column("after", "after", "MB", 1),
    Column("opening", "opening and asking", "µs per connection"),
]


def run(bench: Bench) -> list[Table]:
    table = Table("idle", QUESTION, _COLUMNS, METHOD, plot="each")
    count = _SMOKE_COUNT if bench.settings.smoke else _COUNT
    peers = [peer for peer in bench.peers if "idle" not in peer.cannot]
    table.left_out = {peer.name: peer.cannot["idle"] for peer in bench.peers if peer not in peers}
    with bench.contenders(table, "proxy", peers=peers) as contenders:
        for contender in contenders:
            try:
                table.rows.append(_measure(contender, count))
            except (BenchError, OSError, http.client.HTTPException) as exc:
                table.broken[contender.name] = f"{type(exc).__name__}: {exc}"
                say(f"    {contender.name} is broken: {exc!r}")
    each = table.median("blitz", "each")
    table.claims = [Claim("memory of Blitz per idle connection", each, 8, at_least=False, unit=" KB")]
    return [table]


def _measure(contender: Contender, count: int) -> Row:
    open_now: list[socket.socket] = []
    try:
        for _ in range(20):  # what a server builds once, at its first requests, is no connection's cost
            open_now.append(_open(contender.port, len(open_now)))
        time.sleep(_SETTLE)
        before, begin, first = contender.server.memory(), time.monotonic(), len(open_now)
        while len(open_now) < first + count:
            open_now.append(_open(contender.port, len(open_now)))
        took = time.monotonic() - begin
        time.sleep(_SETTLE)
        after = contender.server.memory()
        contender.server.check_alive()
        _ask(open_now[first])  # the oldest must still be served
    finally:
        for sock in open_now:
            sock.close()
    values = {
        "each": (after - before) / count / 1e3,
        "before": before / 1e6,
        "after": after / 1e6,
        "opening": took / count * 1e6,
    }
    return Row(contender.name, {key: [value] for key, value in values.items()})


def _open(port: int, number: int) -> socket.socket:
    source = f"127.0.0.{2 + number // _PER_ADDRESS}"
    sock = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
    try:
        _ask(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _ask(sock: socket.socket) -> None:
    sock.sendall(_REQUEST)
    response = http.client.HTTPResponse(sock, method="GET")
    response.begin()
    body = response.read()
    if response.status != 200 or len(body) != 128:
        raise BenchError(f"status {response.status}, {len(body)} bytes, wanted 200 and 128")
