"""Which of an upstream's endpoints an exchange tries, in which order, and after which failures again.

Knows no socket and no clock: time is a parameter, seconds on whatever clock the caller keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from blitz.errors import BlitzError

__all__ = ["Tries", "in_turn"]

E = TypeVar("E")


def in_turn(endpoints: Sequence[E], first: int, is_failing: Callable[[E], bool]) -> list[E]:
    """All of *endpoints*, from number *first* on and around; those that fail come last, in the same order."""
    return sorted([*endpoints[first:], *endpoints[:first]], key=is_failing)


class Tries(Generic[E]):
    """Those of one exchange.

    An endpoint to which no connection can be made gives way to the next one. A kept connection that turns out
    dead before a byte of the response (``BlitzError.retryable``) gets the request tried once more, on new
    connections only, if it may be repeated (RFC 9112 section 9.3.1). Nothing is tried after that: what has
    gone to an upstream that was there may have been done.

    Attributes:
        fresh: kept connections are not to be used.
    """

    __slots__ = ("_left", "_order", "_repeatable", "fresh")

    def __init__(self, order: Callable[[float], Sequence[E]], *, repeatable: bool) -> None:
        """
        Args:
            order: given the time, all endpoints in the order in which they should be tried.
            repeatable: the whole request is still here, and doing it twice is as doing it once.
        """
        self._order = order
        self._repeatable = repeatable
        self._left: Iterator[E] | None = None
        self.fresh = False

    def next(self, now: float) -> E | None:
        """The endpoint to try now; None: there is none left."""
        if self._left is None:
            self._left = iter(self._order(now))
        return next(self._left, None)

    def again_after(self, error: BlitzError, *, used: bool) -> bool:
        """The request was sent and *error* came of it. True: begin again with ``next``.

        Args:
            used: its connection had served other exchanges before.
        """
        if self.fresh or not used or not self._repeatable or not error.retryable:
            return False
        self.fresh = True
        self._left = None
        return True
