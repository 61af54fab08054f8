"""Where things are: the tree, the cache that setup.sh fills, programs, scratch folders."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

__all__ = [
    "BENCHMARKS",
    "CACHE",
    "PYTHON",
    "ROOT",
    "VENV_PYTHON",
    "debian_libraries",
    "find_module",
    "find_program",
]

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
CACHE = Path(
    os.environ.get("BLITZ_BENCH_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blitz-bench"
)
PYTHON = sys.executable
VENV_PYTHON = CACHE / "venv/bin/python"
DEBIAN = CACHE / "debian"

# The system's own program comes first, then what setup.sh unpacked.
_FOLDERS = [
    *os.environ.get("PATH", "").split(os.pathsep),
    "/usr/sbin",
    "/sbin",
    str(DEBIAN / "usr/sbin"),
    str(DEBIAN / "usr/bin"),
    str(CACHE / "npm/node_modules/.bin"),
    str(CACHE / "venv/bin"),
    str(CACHE / "go/bin"),
]


def find_program(name: str) -> str | None:
    """Absolute path of a program, or None."""
    return shutil.which(name, path=os.pathsep.join(_FOLDERS))


def find_module(name: str) -> str | None:
    """Absolute path of a dynamic module of nginx, or None."""
    for root in (Path("/"), DEBIAN):
        path = root / "usr/lib/nginx/modules" / name
        if path.is_file():
            return str(path)
    return None


def debian_libraries() -> dict[str, str]:
    """Environment in which a program finds the unpacked shared libraries."""
    folders = [DEBIAN / "usr/lib" / _triplet(), DEBIAN / "lib" / _triplet()]
    return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))} if DEBIAN.is_dir() else {}


def _triplet() -> str:
    return f"{os.uname().machine}-linux-gnu"
