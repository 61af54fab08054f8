"""Check one string of a configuration, and report where it stands."""

from __future__ import annotations

from collections.abc import Callable

from blitz.config.source import Bad, Document

__all__ = ["is_readable"]


def is_readable(document: Document, check: Callable[[str], object], text: str, *path: str | int) -> bool:
    """*check* takes *text*, which stands at *path*; what it raises (ValueError) is reported."""
    if isinstance(text, Bad):
        return False
    try:
        check(text)
    except ValueError as error:
        document.report(path, str(error))
        return False
    return True
