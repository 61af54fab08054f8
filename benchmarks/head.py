"""What does it cost to read a message head and to write it on, from Python? No sockets, no routing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import h11

from .harness.bench import Bench
from .harness.table import Claim, Column, Row, Table, ratio

QUESTION = "what does it cost to read a head, and to write it on?"
METHOD = """
The request is a browser's (8 fields, 408 bytes), the answer a web server's (8 fields, 238 bytes). "blitz"
scans into the offset table, applies every rule, and writes the outgoing head with four field lines added;
no Python object is made per field. The other rows of Blitz are its scanner's paths by name. "by h11"
is what a head costs that the scanner declines: the gate, h11, the builder, the same rules. h11 reads
with a new connection per head, as a proxy must for heads that may be refused, and writes what it read. CPU
time in one process, in turns.
"""

REQUEST = b"""\
GET /search?q=a+b&lang=de HTTP/1.1
Host: www.example.org
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: de,en-US;q=0.7,en;q=0.3
Accept-Encoding: gzip, deflate
Connection: keep-alive
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark
Upgrade-Insecure-Requests: 1

""".replace(b"\n", b"\r\n")
ANSWER = b"""\
HTTP/1.1 200 OK
Server: nginx/1.26.1
Date: Mon, 29 Jul 2024 10:00:00 GMT
Content-Type: text/html
Content-Length: 615
Last-Modified: Tue, 28 May 2024 13:22:30 GMT
Connection: keep-alive
ETag: "6655da96-267"
Accept-Ranges: bytes

""".replace(b"\n", b"\r\n")
ADDED = [
    (b"Via", b"1.1 blitz"),
    (b"X-Forwarded-For", b"203.0.113.7"),
    (b"X-Forwarded-Proto", b"http"),
    (b"X-Request-Id", b"0123456789abcdef0123456789abcdef"),
]
_COLUMNS = [
    Column("request", "read a request", "µs", 3, compare=True),
    Column("answer", "read an answer", "µs", 3, compare=True),
    Column("write", "write the request", "µs", 3, compare=True),
]
_BATCH = 50
Loop = Callable[[int], object]


def run(bench: Bench) -> list[Table]:
    table = Table("head", QUESTION, _COLUMNS, METHOD, plot="request")
    contenders = dict(_contenders())
    rows = {name: Row(name) for name in contenders}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [bench.cores.server])
    try:
        for number in range(0 if bench.settings.smoke else -1, bench.settings.rounds):
            for name, loops in contenders.items():
                for what, loop in loops.items():
                    value = _microseconds(loop, bench.settings.seconds / 4)
                    if number >= 0:
                        rows[name].values.setdefault(what, []).append(value)
    finally:
        os.sched_setaffinity(0, cores)
    table.rows += rows.values()
    table.claims = list(_claims(table))
    return [table]


def _microseconds(loop: Loop, seconds: float) -> float:
    calls, begin, cpu = 0, time.perf_counter(), time.process_time()
    while not calls or time.perf_counter() - begin < seconds:
        loop(_BATCH)
        calls += _BATCH
    return (time.process_time() - cpu) / calls * 1e6


def _claims(table: Table) -> Iterator[Claim]:
    for what, text, wanted in (("request", "read a request", 40), ("write", "write it", 20)):
        value = ratio(table.median("h11", what), table.median("blitz", what))
        yield Claim(f"h11 / Blitz, {text}", value, wanted, at_least=True, unit="x")


def _contenders() -> Iterator[tuple[str, dict[str, Loop]]]:
    # Here, because the native part may not be built when only peers are asked for.
    from blitz._native import ffi, lib

    yield "blitz", _scanner(ffi, lib) | {"write": _writer(ffi, lib)}
    for path in ("portable", "sse2", "avx2", "neon"):
        if lib.blitz_head_extent_with(path.encode(), b"", 0, 0, ffi.NULL) != lib.BLITZ_E_STATE:
            yield f"blitz, {path}", _scanner_path(ffi, lib, path.encode())
    yield "blitz, by h11", {"request": _by_h11(ffi, lib)}
    yield "h11", {"request": _read_with_h11, "answer": _answer_with_h11, "write": _write_with_h11()}


# ---------------------------------------------------------------- Blitz


def _scanner(ffi: Any, lib: Any) -> dict[str, Loop]:
    head, limits = lib.blitz_head_new(), ffi.new("blitz_head_limits *")
    request, answer = ffi.from_buffer(REQUEST), ffi.from_buffer(ANSWER)

    def read_request(times: int) -> None:
        scan, size = lib.blitz_scan_request, len(REQUEST)
        for _ in repeat(None, times):
            if scan(head, request, size, 0, limits) != size:
                raise SystemExit("blitz: the scanner declined the request")

    def read_answer(times: int) -> None:
        scan, size = lib.blitz_scan_response, len(ANSWER)
        for _ in repeat(None, times):
            if scan(head, answer, size, 0, limits, b"GET", 3) != size:
                raise SystemExit("blitz: the scanner declined the answer")

    return {"request": read_request, "answer": read_answer}


def _scanner_path(ffi: Any, lib: Any, path: bytes) -> dict[str, Loop]:
    head, limits = lib.blitz_head_new(), ffi.new("blitz_head_limits *")
    request, answer = ffi.from_buffer(REQUEST), ffi.from_buffer(ANSWER)

    def read_request(times: int) -> None:
        scan, size = lib.blitz_scan_request_with, len(REQUEST)
        for _ in repeat(None, times):
            scan(path, head, request, size, 0, limits)

    def read_answer(times: int) -> None:
        scan, size = lib.blitz_scan_response_with, len(ANSWER)
        for _ in repeat(None, times):
            scan(path, head, answer, size, 0, limits, b"GET", 3)

    return {"request": read_request, "answer": read_answer}


def _writer(ffi: Any, lib: Any) -> Loop:
    head = lib.blitz_head_new()
    request = ffi.from_buffer("uint8_t[]", REQUEST)
    extra = ffi.from_buffer("uint8_t[]", b"".join(b"%s: %s\r\n" % field for field in ADDED))
    lib.blitz_scan_request(head, request, len(REQUEST), 0, ffi.NULL)
    options = ffi.new("blitz_write_options *", {"extra": extra, "extra_len": len(extra)})
    out = ffi.new("uint8_t[4096]")

    alive = (request, extra)  # the head and the options point into them

    def write(times: int) -> None:
        assert alive
        for _ in repeat(None, times):
            if lib.blitz_head_write(head, options, ffi.NULL, 0, out, 4096) < 0:
                raise SystemExit("blitz: the head was not written")

    return write


def _by_h11(ffi: Any, lib: Any) -> Loop:
    head, limits = lib.blitz_head_new(), ffi.new("blitz_head_limits *")

    def read(times: int) -> None:
        for _ in repeat(None, times):
            lib.blitz_head_extent(REQUEST, len(REQUEST), 0, limits)
            event = _event(h11.SERVER, REQUEST)
            method, target = event.method, event.target
            lib.blitz_head_start_request(head, method, len(method), target, len(target), 1)
            for name, value in event.headers.raw_items():
                lib.blitz_head_add(head, name, len(name), value, len(value))
            if lib.blitz_head_check(head, ffi.NULL, 0) != 0:
                raise SystemExit("blitz: the rules refused the request")

    return read


# ---------------------------------------------------------------- h11


def _event(role: type, data: bytes) -> Any:
    connection = h11.Connection(role)
    if role is h11.CLIENT:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.receive_data(data)
    return connection.next_event()


def _read_with_h11(times: int) -> None:
    for _ in repeat(None, times):
        _event(h11.SERVER, REQUEST)


def _answer_with_h11(times: int) -> None:
    for _ in repeat(None, times):
        _event(h11.CLIENT, ANSWER)


def _write_with_h11() -> Loop:
    event = _event(h11.SERVER, REQUEST)
    kept = [(name, value) for name, value in event.headers.raw_items() if name.lower() != b"connection"]

    def write(times: int) -> None:
        for _ in repeat(None, times):
            request = h11.Request(method=event.method, target=event.target, headers=[*kept, *ADDED])
            h11.Connection(h11.CLIENT).send(request)

    return write
