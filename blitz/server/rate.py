"""A client that sends a body slowly enough never stalls, and holds an upstream for as long as it likes.

So it owes a rate, averaged over the time that it was waited for. Time in which nobody would take its bytes
does not count: a slow upstream is not its fault.
"""

from __future__ import annotations

import trio

from blitz.errors import ClientError

__all__ = ["MinRate"]

_NOT = -1.0


class MinRate:
    """Of one request body: *rate* data bytes a second are owed after *grace* seconds of waiting."""

    __slots__ = ("_grace", "_rate", "_since", "_waited")

    def __init__(self, rate: int, grace: float) -> None:
        self._rate = rate
        self._grace = grace
        self._waited = 0.0
        self._since = _NOT

    def begin_wait(self, received: int) -> float:
        """A wait begins, or goes on when no data came meanwhile; the seconds that it may last.

        Raises:
            ClientError: 408, with *received* data bytes the time is up.
        """
        now = trio.current_time()
        if self._since < 0:
            self._since = now
        left = self._grace + received / self._rate - self._waited - (now - self._since)
        if left <= 0:
            raise ClientError(
                f"request body is slower than {self._rate} bytes a second (limits.min_body_rate)", status=408
            )
        return left

    def end_wait(self) -> None:
        """Data has come."""
        if self._since >= 0:
            self._waited += trio.current_time() - self._since
            self._since = _NOT
