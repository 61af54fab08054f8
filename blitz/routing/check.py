"""What health checks of one endpoint come to: when the next is due, and whether it is up.

Knows no socket, no clock and no chance: all are parameters. Times are seconds.
"""

from __future__ import annotations

__all__ = ["CheckState"]

JITTER = 0.1  # of the interval: the workers' checks of all endpoints do not stay in step


class CheckState:
    """Of one endpoint, which is up until checks say otherwise; outlives reloads that keep both.

    Attributes:
        up: ``fall`` failures in a row make it False, ``rise`` good answers True.
        why: what the last failure was. running: a check is under way.
    """

    __slots__ = ("_due", "_in_row", "fall", "interval", "rise", "running", "up", "why")

    def __init__(self, interval: float, rise: int, fall: int, now: float, random: float) -> None:
        """*random*, of [0, 1), spreads the first checks over an interval."""
        self.interval = interval
        self.rise = rise
        self.fall = fall
        self.up = True
        self.why = ""
        self.running = False
        self._in_row = 0  # results that speak against ``up``
        self._due = now + random * min(interval, 1.0)

    def is_like(self, other: CheckState) -> bool:
        """Both are of checks that are made the same way."""
        return (self.interval, self.rise, self.fall) == (other.interval, other.rise, other.fall)

    def is_due(self, now: float) -> bool:
        return not self.running and now >= self._due

    def begin(self, now: float, random: float) -> None:
        """A check begins; the next is due an interval later, give or take JITTER by *random* of [0, 1)."""
        self.running = True
        self._due = now + self.interval * (1 + JITTER * (2 * random - 1))

    def end(self, why: str | None) -> bool:
        """The check has ended. True: that has changed ``up``.

        Args:
            why: it failed; "": the endpoint is well; None: nothing was found out.
        """
        self.running = False
        if why is None:
            return False
        self.why = why or self.why
        if (why == "") == self.up:
            self._in_row = 0
            return False
        self._in_row += 1
        if self._in_row < (self.fall if self.up else self.rise):
            return False
        self._in_row = 0
        self.up = not self.up
        return True
