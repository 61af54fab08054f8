"""When a worker that died is replaced, and what is said about it. No processes here, and no clock.

The first replacement comes at once if the worker served for a while, else after a pause that doubles with
each that dies, with a little chance in it, so that workers that died together do not start together.
A place that goes on failing is not spoken of each time: what is left out is counted.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Loss", "Restarts"]

FIRST_PAUSE = 0.1  # seconds
MAX_PAUSE = 10.0
JITTER = 0.2  # of a pause, in either direction
STABLE = 10.0  # seconds; a worker that served this long starts the pauses anew
SAY_AGAIN = 60.0  # seconds between lines about a place that goes on failing for the same reason


@dataclass(slots=True)
class Loss:
    """A place whose worker is gone, or came back a moment ago.

    Attributes:
        reason: of the last end. failures: ends without a stable worker between them. pause: before the next
            start; due: when that is, None once it has started.
        said_at, said: when the log had a line about it last, and its reason.
    """

    reason: str = ""
    failures: int = 0
    pause: float = 0.0
    due: float | None = None
    said_at: float = 0.0
    said: str = ""


class Restarts:
    """Of all places. Attributes: total: workers that died. of: the same by place."""

    def __init__(self) -> None:
        self.total = 0
        self.of: dict[int, int] = {}
        self._losses: dict[int, Loss] = {}

    def died(self, place: int, reason: str, served: float, now: float) -> tuple[Loss, bool]:
        """Note an end; the loss with its next pause, and whether it is worth a line.

        Args:
            served: seconds; 0 for one that never did.
        """
        self.total += 1
        self.of[place] = self.of.get(place, 0) + 1
        loss = self._losses.setdefault(place, Loss())
        if served >= STABLE:
            loss = self._losses[place] = Loss()
        else:
            loss.pause = min(max(loss.pause * 2, FIRST_PAUSE), MAX_PAUSE)
        loss.reason = reason
        loss.failures += 1
        loss.due = now + loss.pause * random.uniform(1 - JITTER, 1 + JITTER)
        worth = loss.said != reason or now - loss.said_at >= SAY_AGAIN
        if worth:
            loss.said, loss.said_at = reason, now
        return loss, worth

    def serves(self, place: int) -> int:
        """The place has a worker that serves; how often it failed before, 0 for one that never did."""
        loss = self._losses.get(place)
        return loss.failures if loss is not None else 0

    def settle(self, place: int) -> None:
        """Its worker has served for a while: what was before is over."""
        self._losses.pop(place, None)

    @property
    def waiting(self) -> dict[int, Loss]:
        """The places without a process."""
        return {place: loss for place, loss in self._losses.items() if loss.due is not None}

    def take_due(self, now: float) -> list[int]:
        """The places whose next worker starts now."""
        due = [place for place, loss in self.waiting.items() if loss.due is not None and loss.due <= now]
        for place in due:
            self._losses[place].due = None
        return due

    def hurry(self, *, anew: bool = False) -> None:
        """Nothing waits any longer. anew: what it is due to may be over, and pauses begin with the first."""
        for loss in self._losses.values():
            if anew:
                loss.pause = 0.0
            if loss.due is not None:
                loss.due = 0.0

    def forget_from(self, places: int) -> None:
        """There are only so many places now."""
        for place in [place for place in self._losses if place >= places]:
            del self._losses[place]

    def give_up(self) -> None:
        """Nothing is started any more."""
        self._losses.clear()
