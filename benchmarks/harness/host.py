"""Programs under ``benchmarks/hosts/``: each does something in a process of its own and answers questions."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .bench import Bench
from .errors import BenchError
from .places import BENCHMARKS, ROOT

__all__ = ["HOSTS", "Host", "open_host"]

HOSTS = BENCHMARKS / "hosts"
_START_TIMEOUT = 60.0


@dataclass(frozen=True)
class Host:
    """A running program that answers each line ``QUESTION NUMBER`` with a line that holds a number."""

    name: str
    process: subprocess.Popen[str]

    def ask(self, question: str, number: float) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{question} {number}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            return float(line)
        except (ValueError, OSError):
            status = self.process.wait(_START_TIMEOUT)
            raise BenchError(f"{self.name} ended with status {status} when asked for {question}") from None


@contextlib.contextmanager
def open_host(bench: Bench, name: str, command: Sequence[str], *, core: int | None = None) -> Iterator[Host]:
    """Start a program, on the server's core if no other is named. BenchError when it does not get ready."""
    log = bench.scratch(name) / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HOSTS}"},
            preexec_fn=lambda: os.sched_setaffinity(0, [bench.cores.server if core is None else core]),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                process.wait(_START_TIMEOUT)
                raise BenchError(f"{name} did not start: {log.read_text()[-1500:]}")
            yield Host(name, process)
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):  # a question that it died over
                assert process.stdin is not None
                process.stdin.close()
