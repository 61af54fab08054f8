"""The path that a prefix is compared with; ``native/path.c`` has the rules, docs/http.md their reasons."""

from __future__ import annotations

from blitz._native import ffi, lib

__all__ = ["canonical"]


def canonical(path: bytes) -> bytes:
    """*path* decoded once, with slashes merged and dot segments resolved, without parameters.

    Encoded slashes and backslashes count as slashes. The case of letters stays, and a slash at the end.
    """
    made = ffi.new("uint8_t[]", len(path))
    return bytes(ffi.buffer(made, lib.blitz_path_canonical(made, path, len(path))))
