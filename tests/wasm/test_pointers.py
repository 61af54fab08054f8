"""Pointers and lengths at, over and wrapping the end of memory, for every argument of every host function.

Invariant: whatever a guest passes, the call returns or traps with a sentence that names the function and
the argument; nothing outside the guest's memory is read or written.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from blitz.errors import PluginTrap
from blitz.wasm.abi.linkage import HostFunction, host_functions
from blitz.wasm.engine import Engine

from .support import exchanging, running

Wasm = Callable[[str], bytes]

END = 65536
WORDS = {"i": "i32", "I": "i64", "F": "f64"}

# function -> argument -> (index of the pointer, index of the length or the fixed size)
ARGUMENTS: dict[str, dict[str, tuple[int, int | str]]] = {
    "log": {"level": (0, 1), "message": (2, 3)},
    "get_env": {"name": (0, 1), "buf": (2, 3)},
    "set_header": {"name": (0, 1), "value": (2, 3)},
    "get_header": {"name": (0, 1), "buf": (2, 3)},
    "get_body": {"buf": (0, 1)},
    "add_header": {"name": (0, 1), "value": (2, 3)},
    "remove_header": {"name": (0, 1)},
    "set_body": {"body": (0, 1)},
    "set_chunk": {"chunk": (0, 1)},
    "set_path": {"path": (0, 1)},
    "set_method": {"method": (0, 1)},
    "get_property": {"name": (0, 1), "buf": (2, 3)},
    "get_config": {"buf": (0, 1)},
    "random": {"buf": (0, 1)},
    "getRandomValues": {"buf": (0, 1)},
    "rate_limit": {"key": (0, 1)},
    "kv_incr": {"key": (0, 1)},
    "kv_get": {"key": (0, 1), "buf": (2, 3)},
    "kv_set": {"key": (0, 1), "value": (2, 3)},
    "http_fetch": {
        "upstream": (0, 1),
        "method": (2, 3),
        "target": (4, 5),
        "headers": (6, 7),
        "body": (8, 9),
    },
    "fetch_header": {"name": (0, 1), "buf": (2, 3)},
    "fetch_body": {"buf": (0, 1)},
    "count": {"name": (0, 1)},
    "gauge": {"name": (0, 1)},
    "observe": {"name": (0, 1)},
    "__wbindgen_throw": {"message": (0, 1)},
    "args_sizes_get": {"argc": (0, "4"), "argv_size": (1, "4")},
    "environ_sizes_get": {"count": (0, "4"), "size": (1, "4")},
    "environ_get": {"environ": (0, "4"), "environ_buf": (1, "4")},
    "clock_res_get": {"resolution": (1, "8")},
    "clock_time_get": {"time": (2, "8")},
    "fd_fdstat_get": {"stat": (1, "24")},
    "fd_read": {"nread": (3, "4")},
    "fd_write": {"iovs": (1, "8"), "nwritten": (3, "4")},
    "poll_oneoff": {"nevents": (3, "4")},
    "random_get": {"buf": (0, 1)},
}
# arguments that must be right for the others to be looked at
DEFAULTS = {"fd_write": {0: 1, 1: 512, 2: 1}, "rate_limit": {2: 60, 3: 5}}
NO_POINTERS = {
    "set_status", "now_ms", "now", "__wbindgen_rethrow", "__wbindgen_object_drop_ref", "abort",
    "emscripten_notify_memory_growth", "proc_exit", "sleep_ms", "skip_body",
}  # fmt: skip
RETPTR = {
    "get_env",
    "get_header",
    "get_body",
    "get_property",
    "get_config",
    "kv_get",
    "fetch_header",
    "fetch_body",
}

BUFFER = """(func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))"""
MALLOC = '(func (export "__wbindgen_malloc") (param i32) (result i32) (i32.const 2048))'


def by_name(name: str) -> HostFunction:
    return next(function for function in host_functions() if function.name == name)


def calling(function: HostFunction, spelt: str, values: list[int]) -> str:
    """A module whose hook calls one host function with these values."""
    module = {"wasi": "wasi_snapshot_preview1", "bindgen": "wbg"}.get(function.group, "env")
    name = function.name
    if spelt != function.plain_type or (function.group == "bindgen" and name[:2] != "__"):
        name = f"__wbg_{name.replace('_', '')}_0123456789abcdef"
    parameters, results = spelt.split(":")
    types = " ".join(WORDS[letter] for letter in parameters)
    constants = " ".join(
        f"({WORDS[letter]}.const {value})" for letter, value in zip(parameters, values, strict=True)
    )
    call = f"(call $f {constants})"
    data = '(data (i32.const 0) "GET") (data (i32.const 65528) "/ENDofit")' if name != "fd_write" else ""
    return f"""(module (import "{module}" "{name}" (func $f (param {types})
        {"".join(f"(result {WORDS[letter]})" for letter in results)}))
      (memory (export "memory") 1) {data} {BUFFER} {MALLOC}
      (func (export "process_request") (param i32 i32 i32 i32) (result i32)
        {f"(drop {call})" if results else call} (i32.const 0)))"""


def test_every_host_function_is_in_the_table() -> None:
    # The other functions of WASI answer with an errno and look at no argument.
    others = {function.name for function in host_functions() if function.group != "wasi"}
    assert others - set(ARGUMENTS) - NO_POINTERS == set()


CASES = [
    pytest.param(name, argument, id=f"{name}-{argument}")
    for name, row in ARGUMENTS.items()
    for argument in row
]
# (pointer, length): over and wrapping the end
OUTSIDE = [
    (END - 1, 2),
    (END, 1),
    (END + 1, 0),
    (0, END + 1),
    (1, END),
    (-1, 1),
    (-1, 0),
    (-1, -1),
    (4, -1),
    (END, -1),
]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_outside_is_a_trap_that_names_the_argument(
    engine: Engine, wat: Wasm, name: str, argument: str
) -> None:
    function = by_name(name)
    pointer_at, length_at = ARGUMENTS[name][argument]
    for pointer, length in OUTSIDE:
        values = [0] * function.plain_type.index(":")
        for index, value in DEFAULTS.get(name, {}).items():
            values[index] = value
        values[pointer_at] = pointer
        if isinstance(length_at, int):
            values[length_at] = length
        elif 0 <= pointer <= END - int(length_at):
            continue
        with (
            running(engine, wat(calling(function, function.plain_type, values)), env={"K": "v"}) as guest,
            exchanging() as exchange,
        ):
            error = guest.fails(guest.request(exchange))
            assert isinstance(error, PluginTrap), (pointer, length)
            assert re.search(rf"{name}: {argument} \(pointer {pointer & 0xFFFFFFFF}, \d+ bytes\)", str(error))


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_the_last_bytes_of_memory_are_inside(engine: Engine, wat: Wasm, name: str, argument: str) -> None:
    function = by_name(name)
    pointer_at, length_at = ARGUMENTS[name][argument]
    for size in (0, 1, 8):
        values = [0] * function.plain_type.index(":")
        for index, value in DEFAULTS.get(name, {}).items():
            values[index] = value
        size = size if isinstance(length_at, int) else int(length_at)
        values[pointer_at] = END - size
        if isinstance(length_at, int):
            values[length_at] = size
        with (
            running(engine, wat(calling(function, function.plain_type, values))) as guest,
            exchanging() as exchange,
        ):
            exchange.body(b"a body that is longer than the room")
            code = guest.request(exchange)
            if code < 0:
                assert "is outside the memory" not in str(guest.fails(code))


@pytest.mark.parametrize("name", sorted(RETPTR))
def test_a_result_pointer_outside_is_a_trap(engine: Engine, wat: Wasm, name: str) -> None:
    function = by_name(name)
    assert function.bindgen_type is not None
    for pointer in (END - 7, END, -1, -8):
        values = [0] * function.bindgen_type.index(":")
        values[0] = pointer
        text = calling(function, function.bindgen_type, values)
        with running(engine, wat(text), config=b"some config") as guest, exchanging() as exchange:
            exchange.body(b"a body")
            assert f"{name}: retptr (pointer {pointer & 0xFFFFFFFF}, 8 bytes)" in str(
                guest.fails(guest.request(exchange))
            )
        values[0] = END - 8
        text = calling(function, function.bindgen_type, values)
        with running(engine, wat(text), config=b"some config") as guest, exchanging() as exchange:
            exchange.body(b"a body")
            assert guest.request(exchange) == 0


def test_iovs_may_not_point_outside(engine: Engine, wat: Wasm) -> None:
    for pointer, length in OUTSIDE:
        data = (pointer & 0xFFFFFFFF).to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")
        escaped = "".join(f"\\{byte:02x}" for byte in data)
        text = calling(by_name("fd_write"), "iiii:i", [1, 64, 1, 128]).replace(
            "(memory", f'(data (i32.const 64) "{escaped}") (memory', 1
        )
        with running(engine, wat(text)) as guest, exchanging() as exchange:
            assert "fd_write: a buffer of iovs (pointer" in str(guest.fails(guest.request(exchange)))
