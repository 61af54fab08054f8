"""The memory that the operator gives a plugin is the memory that it gets, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

import blitz
from blitz.config import Plugin

from .harness import rig

MIB = 1024 * 1024
# Grows to 512 MiB in its hook and writes at the end; traps when it may not grow.
GREEDY = """(module (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (if (i32.eq (memory.grow (i32.const 8191)) (i32.const -1)) (then (unreachable)))
    (i32.store8 (i32.const 536870911) (i32.const 1))
    (i32.const 0))
  (func (export "blitz_alloc") (param i32) (result i32) (i32.const 1024)))"""


@pytest.fixture
def greedy(tmp_path: Path) -> Path:
    path = tmp_path / "greedy.wasm"
    path.write_bytes(wasmtime.wat2wasm(GREEDY))
    return path


async def test_a_plugin_gets_the_memory_it_was_given(greedy: Path) -> None:
    async with blitz.open_chain([greedy], memory="512MiB") as chain:
        assert isinstance(await chain.process_request(blitz.Request("GET", "/")), blitz.Continue)


async def test_a_plugin_gets_no_more(greedy: Path) -> None:
    async with blitz.open_chain([greedy], memory="511MiB") as chain:
        with pytest.raises(blitz.PluginError):
            await chain.process_request(blitz.Request("GET", "/"))


async def test_what_it_took_shows_in_the_statistics(greedy: Path) -> None:
    plugin = Plugin(name="greedy", file=str(greedy), memory=512 * MIB)
    async with rig(plugins=[plugin]) as test:
        assert test.gateway.statistics().guests.memory_size == 64 * 1024
        assert (await test.get())[0] == 200
        assert test.gateway.statistics().guests.memory_size == 512 * MIB
