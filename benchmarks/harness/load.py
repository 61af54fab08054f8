"""Drive load.c: one run is one slice of load against one port."""

from __future__ import annotations

import json
import os
import subprocess
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from .compile import program
from .errors import BenchError

__all__ = ["Load", "Outcome", "Shape"]


@dataclass(frozen=True)
class Shape:
    """What is asked of a server. Sizes in bytes, rate in requests per second over all connections."""

    path: str = "/"
    connections: int = 64
    rate: float = 0.0  # 0: closed loop
    pipeline: int = 1
    headers: tuple[str, ...] = ()
    body: int = 0
    fill: str = "u"  # what the body consists of, again and again
    chunked: bool = False  # the body is sent in chunks
    http10: bool = False  # HTTP/1.0 with Connection: keep-alive
    tls: bool = False
    fresh: bool = False  # a connection for each request
    resume: bool = False  # as fresh, each continuing the TLS session of the one before
    status: int = 200
    length: int = -1  # expected body length; -1: any
    requests: int = 0  # stop after so many; 0: no limit
    patience: float = 5.0  # seconds to wait for what is outstanding at the end
    poll: bool = False  # the load generator never sleeps: see load.c

    def argv(self) -> list[str]:
        argv = [f"--{key}={getattr(self, key)}" for key in _OPTIONS]
        argv += [f"--header={header}" for header in self.headers]
        return argv + [f"--{key}" for key in _FLAGS if getattr(self, key)]


_OPTIONS = (
    "path",
    "connections",
    "rate",
    "pipeline",
    "body",
    "fill",
    "status",
    "length",
    "requests",
    "patience",
)
_FLAGS = ("chunked", "http10", "tls", "fresh", "resume", "poll")


@dataclass(frozen=True)
class Outcome:
    requests: int  # completed inside the time
    answered: int  # all that were answered
    seconds: float
    bytes_in: int
    bytes_out: int
    reopened: int
    cpu: float  # seconds of the load generator itself
    latency_us: dict[str, float]
    errors: dict[str, int]
    wrong_status: int

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def complaint(self) -> str:
        parts = [f"{n} {kind}" for kind, n in self.errors.items() if n]
        last = f" (last wrong status {self.wrong_status})" if self.wrong_status else ""
        return f"{self.failed} failed requests: {', '.join(parts)}{last}"


class Load:
    """A load generator that is connected and warm, waiting for ``go``."""

    def __init__(self, port: int, shape: Shape, seconds: float, *, cores: Sequence[int]) -> None:
        argv = [str(program("load/load.c")), f"--port={port}", f"--seconds={seconds}", *shape.argv()]
        self._limit = 2 * seconds + shape.patience + 60
        self._popen = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        assert self._popen.stdout is not None
        if self._popen.stdout.readline() != "ready\n":
            self._popen.kill()
            raise BenchError(f"the load generator did not get ready (status {self._popen.wait()})")

    def go(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write("go\n")
        self._popen.stdin.flush()

    def wait(self) -> Outcome:
        try:
            text, _ = self._popen.communicate(timeout=self._limit)
        except subprocess.TimeoutExpired as exc:
            self._popen.kill()
            self._popen.wait()
            raise BenchError("the load generator did not end in time") from exc
        try:
            return Outcome(**json.loads(text))
        except (ValueError, TypeError) as exc:
            raise BenchError(f"the load generator reported {text[:200]!r}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
