"""The guest of the one-header job under Blitz, through the calls that the gateway makes per request.

python blitz_hook.py GUEST.wasm FOLDER
"""

from __future__ import annotations

import sys
from itertools import repeat
from pathlib import Path
from typing import Any

from loop import PATH, USER, serve

from blitz._native import ffi, lib
from blitz.wasm.engine import Engine
from blitz.wasm.instance import PENDING, Instance
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin, PluginSpec

FIELDS = f"Host: bench.example\r\nUser-Agent: blitz-bench\r\nAccept: */*\r\nx-user: {USER}\r\n"
HEAD = f"GET {PATH} HTTP/1.1\r\n{FIELDS}\r\n".encode()
LIMITS = ffi.new("blitz_head_limits *")
SPEC = PluginSpec(
    name="one_header",
    source=sys.argv[1],
    memory=16 << 20,
    timeout=1.0,
    max_body=1 << 20,
    response_body="none",
    instances="pooled",
    max_requests=10_000,
    max_instances=256,
    failure="closed",
)

engine = Engine()
module = Module.compile(engine, Path(sys.argv[1]).read_bytes(), sys.argv[1])
compiled = Path(sys.argv[2]) / "one_header.compiled"
compiled.write_bytes(module.serialize())
plugin = Plugin(engine, module, SPEC)
exchange = lib.blitz_exchange_new()


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


def call(times: int) -> None:
    """The head is scanned anew for every call: the edit of the call before is not in it."""
    reset, scan, run = lib.blitz_head_reset, lib.blitz_scan_request, lib.blitz_call_request
    native, head, size = guest.ptr, exchange.request, len(HEAD)
    for _ in repeat(None, times):
        reset(head, 0)
        scan(head, HEAD, size, 0, LIMITS)
        if run(native, exchange) < 0:
            finish(guest)


def scan_only(times: int) -> None:
    reset, scan = lib.blitz_head_reset, lib.blitz_scan_request
    head, size = exchange.request, len(HEAD)
    for _ in repeat(None, times):
        reset(head, 0)
        scan(head, HEAD, size, 0, LIMITS)


def fresh(times: int) -> None:
    for _ in repeat(None, times):
        reset_head()
        guest = ready(plugin)
        if guest.request(exchange) < 0:
            finish(guest)
        guest.free()


def load(times: int) -> None:
    """From the compiled file to an instance that has run its init."""
    for _ in repeat(None, times):
        module = Module.load(engine, compiled, "cache")
        plugin = Plugin(engine, module, SPEC)
        ready(plugin).free()
        plugin.close()
        module.close()


def reset_head() -> None:
    lib.blitz_head_reset(exchange.request, 0)
    if lib.blitz_scan_request(exchange.request, HEAD, len(HEAD), 0, LIMITS) != len(HEAD):
        raise SystemExit("blitz: the scanner declined the head")


def header(name: bytes) -> bytes | None:
    head: Any = exchange.request
    index = lib.blitz_head_find(head, name, len(name), 0)
    if index < 0:
        return None
    span = head.fields[index].value
    return bytes(ffi.buffer(lib.blitz_head_at(head, span), span.len))


reset_head()
verdict = guest.request(exchange)
if verdict & 3 != lib.BLITZ_V_CONTINUE or header(b"x-seen-1") != USER.encode():
    raise SystemExit(
        f"blitz: the guest did not do its job (result {verdict}, header {header(b'x-seen-1')!r})"
    )
serve({"call": call, "scan": scan_only, "fresh": fresh, "load": load})
