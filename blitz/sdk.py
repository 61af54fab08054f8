"""Where the SDKs for plugins lie, and what of them is copied. For setup.py too: standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

__all__ = ["INSTALLED", "find_sdks", "sdk_files"]

_PACKAGE = Path(__file__).resolve().parent
INSTALLED = "_sdk"  # in the package of a wheel, where setup.py puts them
PLACES = (_PACKAGE / INSTALLED, _PACKAGE.parent / "plugins" / "sdk")
# What building leaves behind.
_LEFT_OUT = ("__pycache__", "target", "node_modules", "Cargo.lock", "zig-out", ".zig-cache", "*.wasm")


def find_sdks() -> Path | None:
    """The directory with one directory for each language: of the installed package, else of a checkout."""
    return next((place for place in PLACES if (place / "README.md").is_file()), None)


def sdk_files(source: Path) -> Iterator[Path]:
    """The files below *source*, relative to it."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_file() and not any(fnmatch(part, name) for part in inside.parts for name in _LEFT_OUT):
            yield inside
