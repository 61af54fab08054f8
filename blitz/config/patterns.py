"""Regular expressions of a configuration: RE2's, which take time linear in what they read.

Python's own may take exponential time on a path that a client chooses, so they are not used instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blitz.extras import how_to_install

__all__ = ["check_pattern", "compile_pattern", "count_groups"]

MISSING = f"patterns need RE2: {how_to_install('google-re2')}, or write `path_prefix`, or values"
MAX_MEMORY = 8 << 20  # bytes of one compiled pattern: RE2's default


def compile_pattern(text: str, *, fold: bool = False) -> Callable[[bytes], Any]:
    """The search function of *text* over bytes, which are read as UTF-8.

    Args:
        fold: whatever the case of letters.
    Raises:
        ValueError: one sentence.
    """
    try:
        import re2
    except ImportError:
        raise ValueError(MISSING) from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    options.case_sensitive = not fold
    try:
        pattern = re2.compile(text.encode(), options)
    except re2.error as exc:
        why = exc.args[0] if exc.args else "it cannot be read"
        why = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise ValueError(f'"{text}" is not a pattern of RE2: {why}') from None
    search: Callable[[bytes], Any] = pattern.search
    return search


def count_groups(text: str) -> int:
    """How many groups the pattern *text* has. Raises ValueError: as above."""
    search: Any = compile_pattern(text)
    return int(search.__self__.groups)


def check_pattern(text: str) -> None:
    """Refuse what RE2 does not read."""
    compile_pattern(text)
