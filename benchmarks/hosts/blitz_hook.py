"""The guest of the one-header job under Blitz, through the calls that the gateway makes per request.

python blitz_hook.py GUEST.wasm FOLDER
"""

from __future__ import annotations

import sys
import time
from itertools import repeat
from pathlib import Path
from typing import Any

from blitz_plugin import spec
from loop import PATH, USER, serve

from blitz._native import ffi, lib
from blitz.wasm.cache import SETTLED, CompileCache
from blitz.wasm.engine import Engine
from blitz.wasm.instance import PENDING, Instance
from blitz.wasm.plugin import Plugin

FIELDS = f"Host: bench.example\r\nUser-Agent: blitz-bench\r\nAccept: */*\r\nx-user: {USER}\r\n"
HEAD = f"GET {PATH} HTTP/1.1\r\n{FIELDS}\r\n".encode()
LIMITS = ffi.new("blitz_head_limits *")

engine = Engine()
cache = CompileCache(Path(sys.argv[2]) / "cache")
LARGE = str(Path(sys.argv[2]) / "large.wasm")
plugin = Plugin(engine, cache.load(engine, sys.argv[1])[0], spec(sys.argv[1]))
cache.load(engine, LARGE)[0].close()
# Scanning is not the hook's cost: many heads are scanned, then the clock runs over calls only.
EXCHANGES: list[Any] = [lib.blitz_exchange_new() for _ in range(256)]


def ready(plugin: Plugin) -> Instance:
    guest = plugin.new_instance()
    if guest.start() != 0:
        finish(guest)
    return guest


def finish(guest: Instance) -> None:
    """A neighbour on the core may hold us past the guest's time slice: then the call is pending."""
    while (result := guest.resume()) == PENDING:
        pass
    if result < 0:
        raise guest.fault()


guest = ready(plugin)


def call(times: int) -> float:
    run, native, uncounted = lib.blitz_call_request, guest.ptr, 0.0
    for left in range(times, 0, -len(EXCHANGES)):
        batch = EXCHANGES[:left]
        uncounted += scan(batch)
        for exchange in batch:
            if run(native, exchange) < 0:
                finish(guest)
    return uncounted


def fresh(times: int) -> float:
    uncounted = 0.0
    for left in range(times, 0, -len(EXCHANGES)):
        batch = EXCHANGES[:left]
        uncounted += scan(batch)
        for exchange in batch:
            guest = ready(plugin)
            if guest.request(exchange) < 0:
                finish(guest)
            guest.free()
    return uncounted


def scan(batch: list[Any]) -> float:
    """Make the heads new, without the edit of the call before; -> seconds of CPU that it took."""
    begin, size = time.process_time(), len(HEAD)
    for exchange in batch:
        lib.blitz_head_reset(exchange.request, 0)
        if lib.blitz_scan_request(exchange.request, HEAD, size, 0, LIMITS) != size:
            raise SystemExit("blitz: the scanner declined the head")
    return time.process_time() - begin


def load(times: int) -> None:
    """From the name of a file to an instance that has run its init, as a gateway does when it starts."""
    load_file(sys.argv[1], times)


def large(times: int) -> None:
    load_file(LARGE, times)


def load_file(name: str, times: int) -> None:
    for _ in repeat(None, times):
        module, _ = cache.load(engine, name)
        plugin = Plugin(engine, module, spec(sys.argv[1]))
        ready(plugin).free()
        plugin.close()
        module.close()


def header(name: bytes) -> bytes | None:
    head: Any = EXCHANGES[0].request
    index = lib.blitz_head_find(head, name, len(name), 0)
    if index < 0:
        return None
    span = head.fields[index].value
    return bytes(ffi.buffer(lib.blitz_head_at(head, span), span.len))


scan(EXCHANGES[:1])
verdict = guest.request(EXCHANGES[0])
if verdict & 3 != lib.BLITZ_V_CONTINUE or header(b"x-seen-1") != USER.encode():
    raise SystemExit(
        f"blitz: the guest did not do its job (result {verdict}, header {header(b'x-seen-1')!r})"
    )
time.sleep(SETTLED)  # the digest of a file is remembered once its times are certain
load_file(sys.argv[1], 1)
load_file(LARGE, 1)
serve({"call": call, "fresh": fresh, "load": load, "large": large})
