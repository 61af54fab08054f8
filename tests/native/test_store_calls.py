"""Calls into wasmtime that a guest's behaviour could make fatal are made in one file, behind their checks."""

from __future__ import annotations

import re
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[2] / "native"
GUARDED_IN = "store_call.c"


def guarded() -> set[str]:
    """The functions that the table in store_call.h names."""
    bound = re.findall(r"X\([^,]+, (\w+),", (NATIVE / "wasmtime_api.h").read_text(encoding="utf-8"))
    table = (NATIVE / "store_call.h").read_text(encoding="utf-8").partition("checked by\n")[2]
    table = table.partition(" *\n")[0]
    listed = re.findall(r"^ \*   ([a-z_]+(?:, [a-z_]+)*),?\s", table, re.MULTILINE)
    names = {f"wasmtime_{name}" for line in listed for name in line.split(", ")}
    assert names <= set(bound)
    return names


def test_the_table_names_what_takes_a_handle_a_store_or_a_future() -> None:
    assert {
        "wasmtime_func_call_unchecked",
        "wasmtime_memory_data",
        "wasmtime_table_grow",
        "wasmtime_caller_export_get",
        "wasmtime_instance_export_get",
        "wasmtime_func_call_async",
        "wasmtime_instance_pre_instantiate_async",
        "wasmtime_call_future_poll",
        "wasmtime_call_future_delete",
        "wasmtime_store_delete",
    } <= guarded()


def test_nobody_else_makes_them() -> None:
    for file in sorted(NATIVE.glob("*.c")):
        called = set(re.findall(r"blitz_wt\.(\w+)\(", file.read_text(encoding="utf-8")))
        assert file.name == GUARDED_IN or not called & guarded(), file.name
