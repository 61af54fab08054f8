"""Run the command as a user does: a process of its own, with a small environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
PATIENCE = 60.0  # seconds; a busy machine compiles slowly
ADDRESS = re.compile(r"listen(?:ing|s) on https?://127\.0\.0\.1:(\d+)")


def environment(**more: str) -> dict[str, str]:
    """Nothing of the developer's own settings reaches the command."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME") if name in os.environ
    }
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def blitz(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    command = [sys.executable, "-m", "blitz", *words]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Running:
    """A command that serves.

    Attributes:
        port: where it listens.
        lines: what it has written so far, both streams.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(ADDRESS.search(self.wait_for("on http"))[1])  # type: ignore[index]

    def wait_for(self, text: str) -> str:
        """The first line that has *text* in it."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._said:
            if not self._said.wait_for(lambda: found() or not self._reader.is_alive(), PATIENCE):
                raise TimeoutError(f"no line with {text!r} in {self.lines}")
        line = found()
        assert line is not None, self.lines
        return line

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.finish_reading()
        return code

    def finish_reading(self) -> None:
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()


@contextmanager
def serving(*words: str, cwd: Path | None = None, **env: str) -> Iterator[Running]:
    """A running command; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", *words],
        cwd=cwd,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = None
    try:
        running = Running(process)
        yield running
    finally:
        process.kill()
        process.wait()
        if running is not None:
            running.finish_reading()
        if process.stdout is not None:
            process.stdout.close()


def curl(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """One GET -> status, headers, body."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()
