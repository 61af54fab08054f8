"""A worker process as its parent knows it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from blitz.config import Served
from blitz.process.orders import Orders

__all__ = ["ChildProcess"]


@dataclass(slots=True)
class ChildProcess:
    """
    Attributes:
        started: monotonic; born: seconds since the epoch. slot: of the board.
        given: what it was started on; None: what files hold, which may be another configuration.
        orders: to it.
        ready_at: monotonic; 0.0 until it serves.
        leaving_since: monotonic; somebody else told it to end, and it ends once a successor serves. Else 0.0.
        silent: seconds since its last heartbeat, as far as the parent was awake. silent_since: since the
            epoch; 0.0 unless it is late. hung: it was killed for that.
    """

    place: int
    generation: int
    started: float
    born: float
    slot: int
    restarts: int
    given: Served | None
    orders: Orders
    ready_at: float = 0.0
    leaving_since: float = 0.0
    told_to_end: bool = False
    silent: float = 0.0
    silent_since: float = 0.0
    hung: bool = False
    error: str = ""

    @property
    def ready(self) -> bool:
        return self.ready_at > 0.0

    def end(self, code: int) -> str:
        """How it ended, without what differs from one time to the next."""
        if self.error:
            why = "; ".join(self.error.splitlines())
            return f"had to end: {why}" if self.ready else f"cannot start: {why}"
        how = f"ended by {_signal_name(-code)}" if code < 0 else f"ended with {code}"
        if self.hung:
            how = "said nothing for too long and was killed"
        return how if self.ready else f"{how} before it served"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # between SIGRTMIN and SIGRTMAX
        return f"signal {number}"
