"""What plugins say on the fast path: finished without Python, whole, and in the order of the exchanges."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from blitz.config import Plugin

from ..wasm.plugin_log import only
from .harness import answering, rig
from .test_fast_path import OK, get, on_the_fast_path

GUEST = """(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info") (data (i32.const 8) "asked") (data (i32.const 16) "answered")
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 5)) (i32.const 0))
  (func (export "process_response") (param i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 8)) (i32.const 0)))"""
TIMES = 30


@pytest.fixture
def plugins(tmp_path: Path) -> list[Plugin]:
    path = tmp_path / "guest.wasm"
    path.write_bytes(wasmtime.wat2wasm(GUEST))
    return [Plugin(name=name, file=str(path), response_body="none") for name in "ab"]


async def test_lines_of_the_fast_path_are_whole_and_in_order(plugins: list[Plugin]) -> None:
    with only("json") as log:
        async with rig(answering(OK), plugins=plugins) as test:
            client = await on_the_fast_path(test)
            for _ in range(TIMES):
                await client.send(get("/"))
                assert (await client.answer())[0] == 200
        lines = [json.loads(line) for line in b"".join(log.kept.pieces).splitlines()]
    said = [(line["plugin"], line["message"], line["hook"]) for line in lines]
    exchange = [(name, f"[WASM Plugin] {name}: asked", "process_request") for name in "ab"]
    exchange += [(name, f"[WASM Plugin] {name}: answered", "process_response") for name in "ba"]
    assert said == exchange * (TIMES + 3)
    assert all(len({line["id"] for line in lines[at : at + 4]}) == 1 for at in range(0, len(lines), 4))
    assert len({line["id"] for line in lines}) == TIMES + 3
    # Records are those of the general path: the first exchange opens the upstream connection, and where the
    # machine is busy, a guest may lose its time slice.
    assert len(log.records) < len(lines) / 2


async def test_a_program_that_listens_gets_a_record_of_each(plugins: list[Plugin]) -> None:
    told: list[Any] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record)

    listener, logger = Listener(), logging.getLogger("blitz.plugin")
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    try:
        async with rig(answering(OK), plugins=plugins) as test:
            client = await on_the_fast_path(test)
            for _ in range(TIMES):
                await client.send(get("/"))
                assert (await client.answer())[0] == 200
    finally:
        logger.removeHandler(listener)
        logger.setLevel(logging.NOTSET)
    assert [(one.plugin, one.hook) for one in told[:4]] == [
        ("a", "process_request"),
        ("b", "process_request"),
        ("b", "process_response"),
        ("a", "process_response"),
    ]
    assert len(told) == 4 * (TIMES + 3)
    assert len({one.id for one in told}) == TIMES + 3
