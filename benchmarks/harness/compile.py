"""Build the C programs of the benchmarks into the cache, when their sources changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from .errors import BenchError
from .places import BENCHMARKS, CACHE

__all__ = ["has_openssl", "program"]

_FLAGS = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
_TLS_FLAGS = ["-DWITH_TLS", "-lssl", "-lcrypto"]


def program(source: str) -> Path:
    """Path of the program built from ``benchmarks/<source>``.

    The name in the cache carries a digest of the sources and flags, so two trees never share one.
    """
    path = BENCHMARKS / source
    compiler = os.environ.get("CC", "cc")
    more = ["-ldl", *(_TLS_FLAGS if has_openssl() else [])]
    digest = hashlib.sha256(" ".join([compiler, *_FLAGS, *more]).encode())
    for part in [path, *sorted(path.parent.glob("*.h"))]:
        digest.update(part.read_bytes())
    built = CACHE / "bin" / f"{path.stem}-{digest.hexdigest()[:16]}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        partial = built.with_name(f"{built.name}.{os.getpid()}")
        command = [compiler, *_FLAGS, str(path), "-o", str(partial), *more]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{source} does not compile with {compiler}: {done.stderr.strip()[-2000:]}")
        partial.rename(built)
    return built


@cache
def has_openssl() -> bool:
    """Can the load generator speak TLS? It needs OpenSSL's headers (Debian: libssl-dev)."""
    command = [os.environ.get("CC", "cc"), "-E", "-include", "openssl/ssl.h", "-x", "c", "/dev/null"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
