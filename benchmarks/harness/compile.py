"""Build the C programs of the benchmarks into the cache, when their sources changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from .errors import BenchError
from .places import BENCHMARKS, CACHE

__all__ = ["program"]

_FLAGS = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


def program(source: str) -> Path:
    """Path of the program built from ``benchmarks/<source>``.

    The name in the cache carries a digest of the sources and flags, so two trees never share one.
    """
    path = BENCHMARKS / source
    compiler = os.environ.get("CC", "cc")
    digest = hashlib.sha256(" ".join([compiler, *_FLAGS]).encode())
    for part in [path, *sorted(path.parent.glob("*.h"))]:
        digest.update(part.read_bytes())
    built = CACHE / "bin" / f"{path.stem}-{digest.hexdigest()[:16]}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        partial = built.with_name(f"{built.name}.{os.getpid()}")
        command = [compiler, *_FLAGS, str(path), "-o", str(partial), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{source} does not compile with {compiler}: {done.stderr.strip()[-2000:]}")
        partial.rename(built)
    return built
