"""Signals to a service whose worker is compiling: nobody waits for a compiler."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from tests.wasm.bombs import many_locals

from .test_workers import ANSWER, Server, serving, wait_until

SOON = 20.0  # seconds; compiling the bomb takes minutes
PASSING = """(module (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blitz.toml"
    path.write_text(
        f'listen = ["127.0.0.1:0"]\nplugin_dir = "plugins"\ncache_dir = "cache"\n{ANSWER.format(body="one")}'
    )
    (tmp_path / "plugins").mkdir()
    (tmp_path / "cache").mkdir(mode=0o700)
    return path


def put_bomb(file: Path) -> None:
    (file.parent / "plugins" / "bomb.wasm").write_bytes(many_locals(100_000))


def compilers(file: Path) -> list[int]:
    """Processes that compile a plugin beside *file*."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"blitz.wasm.compile" in command and str(file.parent).encode() in command:
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def starting(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service whose first worker compiles."""
    put_bomb(file)
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", "run", "-c", str(file)], stderr=subprocess.DEVNULL, env={**os.environ}
    )
    try:
        wait_until(lambda: compilers(file))
        yield process
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: not compilers(file))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_service_that_still_compiles_ends_at_once(file: Path, number: int) -> None:
    with starting(file) as process:
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(SOON) == 0
        assert not compilers(file)
        assert time.monotonic() - began < SOON


def test_the_compiler_of_a_worker_that_was_killed_ends_with_it(file: Path) -> None:
    with starting(file) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        wait_until(lambda: not compilers(file), SOON)


def test_a_reload_that_compiles_does_not_hold_up_the_end(file: Path) -> None:
    with serving(file) as server:
        put_bomb(file)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: compilers(file))
        assert server.get() == b"one"
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < SOON
        assert not compilers(file)
        assert "Traceback" not in "".join(server.lines)


def test_a_change_that_came_while_the_worker_started_is_taken_up(file: Path) -> None:
    (file.parent / "plugins" / "passing.wasm").write_bytes(wasmtime.wat2wasm(PASSING))
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", "run", "-c", str(file)], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: compilers(file))
        (compiler,) = compilers(file)
        os.kill(compiler, signal.SIGSTOP)
        file.write_text(file.read_text().replace("one", "two"))
        worker = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(worker), signal.SIGHUP)
        time.sleep(0.2)  # it is to arrive before the compiler is done
        os.kill(compiler, signal.SIGCONT)
        server = Server(process)
        server.wait_for("generation 2 is running (signal)")
        assert server.get() == b"two"
        assert server.stop() == 0
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
