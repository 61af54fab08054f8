"""The one-header job under the Extism SDK: its own guest (Extism's calling convention), host functions
in Python.

    python extism_sdk.py GUEST.wasm
"""

from __future__ import annotations

import sys
from itertools import repeat
from pathlib import Path

import extism  # type: ignore[import-not-found]
from extism.extism import CompiledPlugin  # type: ignore[import-not-found]
from loop import PATH, USER, serve

headers = {"host": "bench.example", "user-agent": "blitz-bench", "accept": "*/*", "x-user": USER}


@extism.host_fn()
def get_header(name: str) -> str:
    return headers.get(name, "")


@extism.host_fn()
def set_header(name: str, value: str):  # type: ignore[no-untyped-def]  # the SDK refuses "-> None"
    headers[name] = value


functions = [get_header, set_header]
wasm = Path(sys.argv[1]).read_bytes()
compiled = CompiledPlugin(wasm, functions=functions)
plugin = extism.Plugin(compiled)


def call(times: int) -> None:
    run = plugin.call
    for _ in repeat(None, times):
        run("process_request", PATH)


def fresh(times: int) -> None:
    for _ in repeat(None, times):
        extism.Plugin(compiled).call("process_request", PATH)


plugin.call("process_request", PATH)
if headers.get("x-seen-1") != USER:
    raise SystemExit("extism: the guest did not do its job")
serve({"call": call, "fresh": fresh})
