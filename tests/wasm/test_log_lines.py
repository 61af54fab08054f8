"""Invariant: a line that the native core finishes is byte for byte what the formatter makes of its record."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blitz._native import ffi, lib
from blitz.wasm import log_lines as log_lines_module
from blitz.wasm import plugin as plugin_module
from blitz.wasm.chain import CONTINUE, PENDING, Chain, ChainRun
from blitz.wasm.engine import Engine
from blitz.wasm.logs import LEVELS, finished_lines
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin
from blitz.wasm.pool import PluginPool

from .plugin_log import FORMATTERS, Records, only
from .support import exchanging, spec

Wasm = Callable[[str], bytes]
# Both hooks log the field x-say, at the level that the method names, as often as the field's first byte says.
HOOKS = """(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (import "env" "get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "get_header" (func $field (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "x-say") (data (i32.const 16) "request.method")
  (func (export "blitz_buffer") (result i32) (i32.const 131072))
  (func (export "blitz_buffer_size") (result i32) (i32.const 65536))
  (func $say (local $n i32) (local $times i32) (local $method i32)
    (local.set $method (call $get (i32.const 16) (i32.const 14) (i32.const 64) (i32.const 16)))
    (local.set $n (call $field (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 65536)))
    (local.set $times (i32.sub (i32.load8_u (i32.const 1024)) (i32.const 48)))
    (loop $again
      (call $log (i32.const 64) (local.get $method) (i32.const 1024) (local.get $n))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (i32.gt_s (local.get $times) (i32.const 0)))))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (call $say) (i32.const 0))
  (func (export "process_response") (param i32 i32 i32) (result i32) (call $say) (i32.const 0)))"""
NAMES = ("trace", "debug", "info", "warn", "error")
STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
every_formatter = pytest.mark.parametrize("formatter", FORMATTERS)


@pytest.fixture
def pool(engine: Engine, wat: Wasm, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginPool]:
    monkeypatch.setattr(plugin_module, "LOG_LINES_PER_SECOND", 0)
    module = Module.compile(engine, wat(HOOKS), "guest.wasm")
    pool = PluginPool(Plugin(engine, module, spec('a "name" ≠ \x1b', response_body="none")))
    yield pool
    pool.close()
    pool.free()


def exchange_once(pool: PluginPool, level: str, text: bytes) -> str:
    """One exchange as a driver that collects lines runs it; -> the request's id."""
    finished = finished_lines()
    with exchanging(method=level.upper().encode()) as exchange:
        exchange.add(exchange.c.request, [(b"x-say", text)])
        exchange.add(exchange.c.response, [(b"x-say", text)])
        run = ChainRun(Chain([pool]), exchange.c, lambda: 0.0)
        exchange.c.chain.lines = finished.native if finished is not None else ffi.NULL
        finish(run, run.request())
        run.begin_response()
        finish(run, run.response())
        run.close()
        return bytes(ffi.buffer(lib.blitz_exchange_id(exchange.c), 32)).decode()


def finish(run: ChainRun, step: int) -> None:
    while step == PENDING:
        step = run.resume()
    assert step == CONTINUE


def flush() -> None:
    finished = finished_lines()
    assert finished is not None
    finished.flush()


def expected(log: Records, level: int, name: str, hook: str, request_id: str, text: str) -> bytes:
    """What the formatter makes of it."""
    line = f"[WASM Plugin] {name}: {text}"
    about = {"plugin": name, "hook": hook, "id": request_id, "lines": (line,)}
    record = logging.makeLogRecord(
        {"name": "blitz.plugin", "levelno": LEVELS[level], "levelname": NAMES[level].upper(), "msg": line}
        | about
    )
    assert log.formatter is not None
    return STAMP.sub(b"TIME", f"{log.formatter.format(record)}\n".encode())


TEXTS = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(range(5)), TEXTS)
@every_formatter
def test_finished_lines_are_what_the_formatter_makes(
    formatter: str, pool: PluginPool, level: int, text: bytes
) -> None:
    with only(formatter) as log:
        said = b"1 " + bytes(byte for byte in text if byte > 0x1F and byte != 0x7F) + b"."
        exchange_once(pool, NAMES[level], b"1")  # the first one is spelt by the formatter
        flush()
        log.kept.pieces.clear()
        log.records.clear()
        request_id = exchange_once(pool, NAMES[level], said)
        flush()
        assert not log.records
        seen = shown(said)
        lines = [
            expected(log, level, pool.name, hook, request_id, seen)
            for hook in ("process_request", "process_response")
        ]
        assert STAMP.sub(b"TIME", b"".join(log.kept.pieces)) == b"".join(lines)


def shown(said: bytes) -> str:
    room, used = ffi.new("uint8_t[]", 4 * len(said)), ffi.new("size_t *")
    return bytes(ffi.buffer(room, lib.blitz_text_escape(room, 4 * len(said), said, len(said), used))).decode()


@every_formatter
def test_only_the_first_line_of_a_kind_is_a_record(formatter: str, pool: PluginPool) -> None:
    with only(formatter) as log:
        for _ in range(20):
            exchange_once(pool, "info", b"1")
        flush()
        assert len(log.records) == 2  # one for each hook
        assert b"".join(log.kept.pieces).count(b"\n") == 40


@every_formatter
def test_what_finds_no_room_is_a_record_and_in_its_order(
    formatter: str, pool: PluginPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with only(formatter) as log:
        monkeypatch.setattr(log_lines_module, "SIZE", 2000)
        for number in range(30):
            exchange_once(pool, "info", b"3 %d %s" % (number, b"x" * 100))
        flush()
        told = re.findall(rb": 3 (\d+) x", b"".join(log.kept.pieces))
        assert [int(number) for number in told] == [number for number in range(30) for _ in range(6)]
        assert 2 < len(log.records) < 60


@every_formatter
def test_a_line_that_was_cut_is_a_record(
    formatter: str, pool: PluginPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with only(formatter) as log:
        exchange_once(pool, "info", b"1")
        log.records.clear()
        exchange_once(
            pool, "info", b"1" + b"x" * 40_000 + b"\xff" * 20_000
        )  # each of which becomes three bytes
        assert len(log.records) == 2
        assert b" [truncated]" in b"".join(log.kept.pieces)


@every_formatter
def test_others_who_listen_get_records(formatter: str, pool: PluginPool) -> None:
    with only(formatter) as log:

        class Listener(logging.Handler):
            def __init__(self) -> None:
                super().__init__()
                self.records: list[Any] = []

            def emit(self, record: logging.LogRecord) -> None:
                self.records.append(record)

        for _ in range(3):
            exchange_once(pool, "info", b"1")
        listener = Listener()
        logging.getLogger("blitz.plugin").addHandler(listener)
        ids = [exchange_once(pool, "info", b"1 there") for _ in range(3)]
        assert [record.id for record in listener.records] == [one for one in ids for _ in range(2)]
        assert {record.hook for record in listener.records} == {"process_request", "process_response"}
        assert all("1 there" in record.lines[0] for record in listener.records)
        assert b"".join(log.kept.pieces).count(b"\n") == 12  # what was collected before is not lost
