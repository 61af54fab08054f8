"""The log on standard error: written at once where that is possible, and waited for by nobody."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.cli import stderr as stderr_module
from blitz.cli.stderr import MAX_KEPT, StderrHandler
from tests.conftest import compile_wat

from .commands import curl, environment

LINE = "x" * 999
SOON = 20.0  # seconds


@contextlib.contextmanager
def logging_to(fd: int) -> Iterator[tuple[logging.Logger, StderrHandler]]:
    handler = StderrHandler(fd)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        yield logger, handler
    finally:
        handler.close()


@pytest.fixture(params=["pipe", "pipe_of_another", "socket"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Where to read, where to write."""
    if request.param == "socket":
        left, right = socket.socketpair()
        with left, right:
            yield left.fileno(), right.fileno()
        return
    if request.param == "pipe_of_another":

        def refuse(path: str, flags: int) -> int:
            raise PermissionError(path)

        monkeypatch.setattr(stderr_module.os, "open", refuse)
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read(fd: int, until: bytes) -> list[bytes]:
    data = b""
    deadline = time.monotonic() + SOON
    while until not in data:
        assert time.monotonic() < deadline
        data += os.read(fd, 65536)
    return data.splitlines()


def test_a_line_is_written_at_once(ends: tuple[int, int]) -> None:
    with logging_to(ends[1]) as (logger, _):
        logger.warning("one")
        logger.warning("two \udcff")
        assert os.read(ends[0], 100) == b"one\ntwo \\udcff\n"


def test_nobody_waits_for_a_reader(ends: tuple[int, int]) -> None:
    with logging_to(ends[1]) as (logger, handler):
        began = time.monotonic()
        for number in range(5000):
            logger.warning("%05d %s", number, LINE)
        assert time.monotonic() - began < SOON
        assert handler._size <= MAX_KEPT
        lost = handler.lost
        assert 3000 < lost < 4500
        lines = read(ends[0], b"did not take them\n")
        assert lines[-1] == b"%d lines of the log were lost: standard error did not take them" % lost
        assert lines[:-1] == [b"%05d %s" % (number, LINE.encode()) for number in range(5000 - lost)]
        wait_for(lambda: handler._thread is None)
        logger.warning("after")
        assert os.read(ends[0], 100) == b"after\n"


def wait_for(true: object) -> None:
    deadline = time.monotonic() + SOON
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_long_line_is_whole(ends: tuple[int, int]) -> None:
    with logging_to(ends[1]) as (logger, _):
        logger.warning("%s", "y" * 600_000)
        assert read(ends[0], b"\n") == [b"y" * 600_000]


def test_when_nobody_reads_any_more_nothing_is_kept() -> None:
    reading, writing = os.pipe()
    with logging_to(writing) as (logger, handler):
        for _ in range(500):
            logger.warning(LINE)
        assert handler._size
        os.close(reading)
        wait_for(lambda: not handler._size and handler._thread is None)
        logger.warning(LINE)
        assert not handler._size
    os.close(writing)


def test_a_file_gets_everything(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file, logging_to(file.fileno()) as (logger, _):
        for number in range(3000):
            logger.warning("%05d %s", number, LINE)
    assert len((tmp_path / "log").read_bytes().splitlines()) == 3000


def test_a_child_does_not_write_what_its_parent_keeps() -> None:
    reading, writing = os.pipe()
    with logging_to(writing) as (logger, handler):
        for _ in range(100):
            logger.warning(LINE)
        assert handler._size
        pid = os.fork()
        if not pid:
            os._exit(0 if handler._size == 0 and handler._thread is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.close(reading)
        wait_for(lambda: handler._thread is None)
    os.close(writing)


# ---------------------------------------------------------------- a worker

LOUD = """(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 60000)) (i32.const 0)))"""
CONFIG = """
listen = ["127.0.0.1:0"]
[[plugins]]
name = "loud"
file = "loud.wasm"
[[routes]]
path_prefix = "/loud"
plugins = ["loud"]
answer = { status = 200, body = "loud" }
[[routes]]
plugins = []
answer = { status = 200, body = "calm" }
"""


def test_a_plugin_whose_log_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "loud.wasm").write_bytes(compile_wat(LOUD))
    (tmp_path / "blitz.toml").write_text(CONFIG)
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", "run", "-c", str(tmp_path / "blitz.toml")],
        env=environment(),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = b""
        while b"listening on" not in line:
            line = process.stderr.readline()
            assert line
        port = int(line.partition(b"http://127.0.0.1:")[2].partition(b";")[0].partition(b",")[0])
        for _ in range(100):
            assert curl(port, "/loud")[2] == b"loud"
            assert curl(port, "/")[2] == b"calm"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
