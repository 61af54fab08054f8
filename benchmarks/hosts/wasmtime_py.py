"""The guest of the one-header job under wasmtime's own Python package, host functions in Python.

python wasmtime_py.py GUEST.wasm CACHE
"""

from __future__ import annotations

import sys
from itertools import repeat
from pathlib import Path
from typing import Any

import wasmtime
from loop import PATH, USER, serve

wasm, cached = Path(sys.argv[1]).read_bytes(), sys.argv[2]
engine = wasmtime.Engine()
module = wasmtime.Module(engine, wasm)
Path(cached).write_bytes(module.serialize())
headers = {"host": "bench.example", "user-agent": "blitz-bench", "accept": "*/*", "x-user": USER}
I32 = wasmtime.ValType.i32()


class Guest:
    """One instance, memory and hook looked up once."""

    def __init__(self, module: wasmtime.Module) -> None:
        self.store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        get_type = wasmtime.FuncType([I32, I32, I32, I32], [I32])
        set_type = wasmtime.FuncType([I32, I32, I32, I32], [])
        linker.define_func("blitz", "get_header", get_type, self.get_header)
        linker.define_func("blitz", "set_header", set_type, self.set_header)
        exports: Any = linker.instantiate(self.store, module).exports(self.store)
        self.memory, self.hook = exports["memory"], exports["process_request"]
        self.buffer = exports["blitz_buffer"](self.store)

    def get_header(self, name: int, name_length: int, buffer: int, room: int) -> int:
        key = self.memory.read(self.store, name, name + name_length).decode()
        value = headers.get(key)
        if value is None:
            return -1
        data = value.encode()[:room]
        self.memory.write(self.store, data, buffer)
        return len(data)

    def set_header(self, name: int, name_length: int, value: int, value_length: int) -> None:
        key = self.memory.read(self.store, name, name + name_length).decode()
        headers[key] = self.memory.read(self.store, value, value + value_length).decode()

    def call(self, method: str, path: str) -> int:
        arguments = (method + path).encode()
        self.memory.write(self.store, arguments, self.buffer)
        at, split = self.buffer, len(method)
        return int(self.hook(self.store, at, split, at + split, len(arguments) - split))

    def close(self) -> None:
        """Free the store now: our host functions and it hold each other, and its address space of
        some GiB must not wait for the garbage collector."""
        self.store.close()


guest = Guest(module)


def call(times: int) -> None:
    run = guest.call
    for _ in repeat(None, times):
        run("GET", PATH)


def fresh(times: int) -> None:
    for _ in repeat(None, times):
        guest = Guest(module)
        guest.call("GET", PATH)
        guest.close()


def load(times: int) -> None:
    for _ in repeat(None, times):
        Guest(wasmtime.Module.deserialize_file(engine, cached)).close()


if guest.call("GET", PATH) != 0 or headers.get("x-seen-1") != USER:
    raise SystemExit("wasmtime-py: the guest did not do its job")
serve({"call": call, "fresh": fresh, "load": load})
