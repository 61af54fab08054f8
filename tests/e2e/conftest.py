"""A gateway in front of the origin, as processes: started as a user starts them."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..ports import free_port
from .origin import blob

ROOT = Path(__file__).parents[2]
LARGE = 200_000_000  # bytes
START_WAIT = 20.0


@pytest.fixture(scope="session")
def sha256() -> str:
    """Of a body of LARGE bytes."""
    digest = hashlib.sha256()
    for part in blob(LARGE):
        digest.update(part)
    return digest.hexdigest()


class Process:
    """A server in a child process that listens on ``port``."""

    def __init__(self, *command: str, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        # A pipe that nobody reads would fill up and stop it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._child = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stderr=self._errors
        )
        deadline = time.monotonic() + START_WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self._child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command}: not listening: {self.stop()[1]}") from None
                time.sleep(0.02)

    @property
    def pid(self) -> int:
        return self._child.pid

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def wait(self, seconds: float) -> int:
        return self._child.wait(seconds)

    def stop(self) -> tuple[int, str]:
        """End it; returns its exit code and what it wrote to standard error."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(15)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        with self._errors as errors:
            errors.seek(0)
            return self._child.returncode, errors.read().decode(errors="replace")

    def resident(self) -> int:
        """Bytes of memory of this process and its children."""
        return sum(_status(pid, "VmRSS") for pid in self._family())

    def peak(self) -> int:
        """The most that each of them ever had, in sum."""
        return sum(_status(pid, "VmHWM") for pid in self._family())

    def open_files(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self._family())

    def _family(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


@pytest.fixture(scope="session")
def origin() -> Iterator[Process]:
    port = free_port()
    process = Process("-m", "tests.e2e.origin", str(port), port=port)
    yield process
    process.stop()


Start = Callable[..., Process]


@pytest.fixture
def start_gateway(origin: Process) -> Iterator[Start]:
    """Start gateways in front of the origin: ``start_gateway("--workers", "2")``."""
    started = []

    def start(*options: str) -> Process:
        port = free_port()
        command = ("-m", "blitz", "proxy", f"127.0.0.1:{port}", origin.url, *options)
        started.append(Process(*command, port=port))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="session", params=["auto", "h11"])
def gateway(request: pytest.FixtureRequest, origin: Process) -> Iterator[Process]:
    """One that serves all the tests which do not end it."""
    port = free_port()
    listen = f"127.0.0.1:{port}"
    process = Process(
        "-m", "blitz", "proxy", listen, origin.url, "--set", f"http.parser={request.param}", port=port
    )
    yield process
    code, output = process.stop()
    assert code == 0, output
    assert "Traceback" not in output, output
