"""Check one string of a configuration, and report where it stands."""

from __future__ import annotations

from collections.abc import Callable

from blitz.config.positions import path_text
from blitz.config.source import Bad, Document

__all__ = ["is_readable", "was_reported"]


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


def was_reported(document: Document, at: tuple[str | int, ...]) -> bool:
    """Something in the table at *at* was: what it says is not known."""
    return any(problem.key.startswith(path_text(at)) for problem in document.problems)
