"""How often the requests of one upstream may be tried again: a bound on what tries add to its load.

An upstream that fails because it has too much to do would else get several times as much. Time is a
parameter, in seconds.
"""

from __future__ import annotations

from collections import deque

__all__ = ["FLOOR", "WINDOW", "RetryBudget"]

WINDOW = 10.0  # seconds over which is counted; Finagle's and Linkerd's
FLOOR = 10  # tries again in a window that are always free: of few requests a share is nothing


class RetryBudget:
    """Of one upstream. In no ``WINDOW`` more than ``FLOOR`` and *share* of its requests are tried again."""

    __slots__ = ("_retries", "_seen", "_sent", "requests")

    def __init__(self) -> None:
        self.requests = 0  # sent so far, tries again included; whoever sends keeps it up to date
        self._seen: deque[tuple[float, int]] = deque([(float("-inf"), 0)])
        self._retries: deque[float] = deque()

    def look(self, now: float) -> None:
        """Remember how many requests there have been: to be called about once a second."""
        if now - self._seen[-1][0] >= 1.0:
            self._seen.append((now, self.requests))
        while len(self._seen) > 1 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()

    def take(self, now: float, share: float) -> bool:
        """May one more request be tried again, at most *share* of all? If so, it is counted."""
        self.look(now)
        while self._retries and self._retries[0] <= now - WINDOW:
            self._retries.popleft()
        sent = self.requests - self._before(now) - len(self._retries)
        if len(self._retries) >= FLOOR + share * max(sent, 0):
            return False
        self._retries.append(now)
        return True

    def _before(self, now: float) -> int:
        """How many there had been when the window began; of two answers the one that allows less."""
        begin = now - WINDOW
        return next((count for at, count in self._seen if at >= begin), self.requests)
