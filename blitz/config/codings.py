"""The packages that write content codings: what is there, and what to install where it is not."""

from __future__ import annotations

import sys
from types import ModuleType

from blitz.extras import how_to_install

__all__ = ["brotli_package", "check_coding", "zstd_package"]


def zstd_package() -> ModuleType:
    """The standard library's from Python 3.14 on, before that its backport. Raises ImportError."""
    if sys.version_info >= (3, 14):
        import compression.zstd as zstd
    else:
        import backports.zstd as zstd
    return zstd


def brotli_package() -> ModuleType:
    """Google's. Raises ImportError."""
    import brotli

    return brotli  # type: ignore[no-any-return]


_NEEDS = {"zstd": (zstd_package, "backports.zstd"), "br": (brotli_package, "brotli")}


def check_coding(name: str) -> None:
    """Raises ValueError, one sentence: *name* cannot be written here."""
    if name not in _NEEDS:
        return  # gzip is the standard library's
    load, distribution = _NEEDS[name]
    try:
        load()
    except ImportError:
        raise ValueError(
            f'"{name}" needs the package {distribution}: {how_to_install(distribution)}, or leave it out'
        ) from None
