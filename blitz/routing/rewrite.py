"""A path with what a pattern finds in it replaced. ``native/route_rules.c`` says whether that is a path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["PathPattern"]


class PathPattern:
    """A pattern, and what stands in the place of its first match.

    The first only: to look for all of them takes time that grows with the square of the path's length, for
    patterns that look far ahead, and clients choose the path.
    """

    __slots__ = ("_search", "_template")

    def __init__(self, search: Callable[[bytes], Any], template: Sequence[str | int]) -> None:
        """
        Args:
            search: of a compiled pattern, over bytes.
            template: literal texts, and numbers of groups.
        """
        self._search = search
        self._template = [one.encode() if isinstance(one, str) else one for one in template]

    def replaced(self, path: bytes) -> bytes | None:
        """*path* (without query) as it is rewritten; None: the pattern is not in it."""
        found = self._search(path)
        if found is None:
            return None
        made = (one if isinstance(one, bytes) else found.group(one) or b"" for one in self._template)
        return path[: found.start()] + b"".join(made) + path[found.end() :]
