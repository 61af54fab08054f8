"""One server process (with its children) on given cores: start, wait until it listens, account, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .errors import BenchError

__all__ = ["Server", "free_port"]

_START_TIMEOUT = 30.0  # a cold interpreter and a compile on a busy machine
_STOP_TIMEOUT = 2.0  # a server stuck in a plugin does not hear SIGTERM


def free_port(address: str = "127.0.0.1") -> int:
    """A port that was free a moment ago. A server that finds it taken is started again elsewhere."""
    with socket.socket() as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


class Server:
    """A running server. Everything it says goes to ``<folder>/log``."""

    def __init__(
        self, name: str, argv: Sequence[str], folder: Path, *, cores: Sequence[int], env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.folder = folder
        self._log = (folder / "log").open("ab")
        self._popen = subprocess.Popen(
            list(argv),
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_listening(self, port: int, address: str = "127.0.0.1") -> None:
        """Return once the port accepts; BenchError when the process ends or takes too long."""
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
                return
            time.sleep(0.02)
        raise BenchError(
            f"{self.name} did not listen on port {port} within {_START_TIMEOUT:.0f} s: {self._last_words()}"
        )

    def check_alive(self) -> None:
        if self._popen.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self._popen.returncode}: {self._last_words()}")

    def tree(self) -> list[int]:
        """Process ids of the server and all its descendants."""
        pids = [self.pid]
        for pid in pids:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    pids.extend(int(child) for child in children.read_text().split())
        return pids

    def cpu_seconds(self) -> float:
        """CPU time of the whole tree, user and system, threads that have ended included.

        A process's CPU clock has the clock id ``~pid << 3 | 2`` (clock_getcpuclockid(3)); it counts
        nanoseconds, /proc/PID/stat only ticks of 10 ms.
        """
        total = 0.0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                total += time.clock_gettime((~pid << 3) | 2)
        return total

    def memory(self) -> int:
        """Resident bytes of the tree; shared pages count once per process that maps them."""
        return sum(self._status("VmRSS"))

    def peak_memory(self) -> int:
        return sum(self._status("VmHWM"))

    def reset_peak_memory(self) -> None:
        for pid in self.tree():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        if self._popen.poll() is None:
            pids = self.tree()
            self._popen.terminate()
            try:
                self._popen.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
            # Workers whose parent died without telling them; the ids were read while they were ours.
            for pid in pids[1:]:
                if _session(pid) == self.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        self._log.close()

    def _status(self, key: str) -> Iterator[int]:
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(key + ":"):
                        yield int(line.split()[1]) * 1024

    def _last_words(self) -> str:
        text = (self.folder / "log").read_text(errors="replace").strip()
        return text[-1500:] or "it said nothing"


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1
