"""Messages of one kind, counted instead of repeated.

Guests, clients and upstreams cause messages; how many are written is not theirs to choose. Of each kind the
first few in a window are; the rest is counted, and told when the window ends. Kinds do not take each other's
room. Time is a parameter, in seconds of any clock that does not go back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

__all__ = ["WINDOW", "Flood", "LeftOut"]

WINDOW = 10.0  # seconds
MAX_KINDS = 1000  # that are remembered at a time; those beyond share one place


@dataclass(frozen=True, slots=True)
class LeftOut:
    """*count* messages of a kind were left out within *seconds*; *sample* is the first of them."""

    kind: Hashable
    count: int
    seconds: float
    sample: str

    def __str__(self) -> str:
        return f"{self.count:,} more like this in {max(round(self.seconds), 1)} s"


@dataclass(slots=True)
class _Window:
    began: float
    admitted: int = 0
    left_out: int = 0
    sample: str = ""


class Flood:
    """Admits *most* messages of each kind per *window* seconds.

    Attributes:
        due: when the first window ends in which something was left out; inf when nothing was.
    """

    def __init__(self, most: int, window: float = WINDOW, max_kinds: int = MAX_KINDS) -> None:
        self.due = math.inf
        self._most = most
        self._window = window
        self._max_kinds = max_kinds
        self._windows: dict[Hashable, _Window] = {}
        self._ended: list[LeftOut] = []

    def admit(
        self, kind: Hashable, now: float, *, most: int = 0, sample: Callable[[], str] | None = None
    ) -> bool:
        """May this message be written? If not, it is counted.

        Args:
            most: for this kind, instead of what the others may.
            sample: gives its text; called for the first that is left out.
        """
        window = self._windows.get(kind)
        if window is None or now - window.began >= self._window:
            kind, window = self._begin(kind, now)
        if window.admitted < (most or self._most):
            window.admitted += 1
            return True
        if not window.left_out:
            window.sample = sample() if sample is not None else ""
            self.due = min(self.due, window.began + self._window)
        window.left_out += 1
        return False

    def take_ended(self, now: float, *, early: bool = False) -> list[LeftOut]:
        """What was left out in windows that have ended; those are forgotten. *early*: they all end now."""
        self._forget_ended(now, early=early)
        self.due = min(
            (window.began + self._window for window in self._windows.values() if window.left_out),
            default=math.inf,
        )
        ended, self._ended = self._ended, []
        return ended

    def clear(self) -> None:
        """Forget everything."""
        self._windows.clear()
        self._ended.clear()
        self.due = math.inf

    def _begin(self, kind: Hashable, now: float) -> tuple[Hashable, _Window]:
        if kind in self._windows:
            self._end(kind, now)
        elif len(self._windows) >= self._max_kinds:
            self._forget_ended(now)
            if len(self._windows) >= self._max_kinds:
                kind = None  # no kind of its own
                old = self._windows.get(kind)
                if old is not None and now - old.began < self._window:
                    return kind, old
                self._end(kind, now)
        window = self._windows[kind] = _Window(now)
        return kind, window

    def _forget_ended(self, now: float, *, early: bool = False) -> None:
        for kind, window in list(self._windows.items()):
            if early or now - window.began >= self._window:
                self._end(kind, now)

    def _end(self, kind: Hashable, now: float) -> None:
        window = self._windows.pop(kind, None)
        if window is not None and window.left_out:
            seconds = min(now - window.began, self._window)
            self._ended.append(LeftOut(kind, window.left_out, seconds, window.sample))
            self.due = min(self.due, now)
