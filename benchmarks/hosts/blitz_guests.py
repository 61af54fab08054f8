"""What guests of Blitz leave behind, below HTTP: memory of live instances and of cancelled calls.

    python blitz_guests.py ONE_HEADER.wasm SPIN.wasm

Per line ``live COUNT`` or ``cancelled COUNT`` on standard input, one line with bytes goes out: resident
memory per live instance, or what COUNT cancelled calls added in all.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from blitz_plugin import spec

from blitz._native import ffi, lib
from blitz.wasm.engine import Engine
from blitz.wasm.instance import PENDING, Instance
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin

HEAD = b"GET / HTTP/1.1\r\nHost: bench.example\r\nx-user: 0123456789abcdef\r\n\r\n"
INSTANCES = 2048
engine = Engine(max_instances=INSTANCES)
exchange: Any = lib.blitz_exchange_new()


def plugin(path: str) -> Plugin:
    return Plugin(
        engine, Module.compile(engine, Path(path).read_bytes(), path), spec(path, max_instances=INSTANCES)
    )


def started(plugin: Plugin) -> Instance:
    guest = plugin.new_instance()
    result = guest.start()
    while result == PENDING:
        result = guest.resume()
    if result != 0:
        raise guest.fault()
    return guest


def request(guest: Instance) -> int:
    """Run the hook on a head that was scanned anew."""
    lib.blitz_head_reset(exchange.request, lib.BLITZ_REQUEST)
    if lib.blitz_scan_request(exchange.request, HEAD, len(HEAD), 0, LIMITS) != len(HEAD):
        raise SystemExit("blitz: the scanner declined the head")
    return guest.request(exchange)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def live(count: int) -> float:
    """Each instance has served a call, in a slot that another one has used before."""
    before = resident()
    for guest in serving(count):
        guest.free()
    guests = serving(count)
    each = (resident() - before) / count
    for guest in guests:
        guest.free()
    return each


def serving(count: int) -> list[Instance]:
    guests = []
    for _ in range(count):
        guest = started(good)
        while (result := request(guest)) == PENDING:
            result = guest.resume()
        if result < 0:
            raise guest.fault()
        guests.append(guest)
    return guests


def cancelled(count: int) -> float:
    """Each call has used up its first time slice, then one more, and is unwound."""
    before = resident()
    for _ in range(count):
        guest = started(bad)
        if request(guest) != PENDING or guest.resume() != PENDING:
            raise SystemExit("blitz: a guest that never returns has returned")
        guest.cancel()
        guest.free()
    return resident() - before


LIMITS: Any = ffi.new("blitz_head_limits *")
good, bad = plugin(sys.argv[1]), plugin(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    what, number = line.split()
    print({"live": live, "cancelled": cancelled}[what](int(number)), flush=True)
