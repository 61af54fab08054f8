"""The system has no process for a worker: who serves goes on, and the worker comes when there is one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .test_workers import ANSWER, Server, wait_until

# The service as it is, where fork(2) fails while a file is there. Root has no limit of its own to meet.
SERVICE = """
import errno, os, sys
fork, full = os.fork, sys.argv.pop(1)
def refused():
    if os.path.exists(full):
        raise OSError(errno.{number}, os.strerror(errno.{number}))
    return fork()
os.fork = refused
from blitz.cli import main
main()
"""


def start(tmp_path: Path, full: Path, number: str, workers: int) -> subprocess.Popen[str]:
    file = tmp_path / "blitz.toml"
    file.write_text(f'listen = ["127.0.0.1:0"]\nworkers = {workers}\n{ANSWER.format(body="one")}')
    words = [sys.executable, "-c", SERVICE.format(number=number), str(full), "run", "-c", str(file)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ})


@pytest.mark.parametrize("number", ["EAGAIN", "ENOMEM"])
def test_a_worker_comes_when_there_is_a_process_for_it(tmp_path: Path, number: str) -> None:
    full = tmp_path / "full"
    server = Server(start(tmp_path, full, number, 2))
    try:
        wait_until(lambda: len(server.children()) == 2)
        full.touch()
        victim, other = sorted(server.children())
        os.kill(victim, signal.SIGKILL)
        server.wait_for("the system has no process for it")
        for _ in range(5):
            assert server.get() == b"one"
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for("failed to start: cannot start: the system has no process for it")
        assert server.get() == b"one"
        assert other in server.children()
        full.unlink()
        wait_until(lambda: len(server.children()) == 2)
        assert server.get() == b"one"
        assert server.stop() == 0
    finally:
        server.close()


def test_the_first_worker_is_a_sentence(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.touch()
    process = start(tmp_path, full, "EAGAIN", 1)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the system has no process for it: resource temporarily unavailable" in said
    assert "Traceback" not in said
