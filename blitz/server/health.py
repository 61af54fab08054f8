"""Whether connections to an endpoint can be made: told when it changes, not with every request."""

from __future__ import annotations

import logging

import trio

__all__ = ["EndpointHealth"]

_log = logging.getLogger("blitz.upstream")


class EndpointHealth:
    """Of one endpoint of one upstream. It outlives reloads that keep both.

    Attributes:
        failures: connections that could not be made. failed_at: when the last of them was given up.
        down_since: None while it is up, or nobody has tried.
    """

    __slots__ = ("_before", "_endpoint", "_upstream", "down_since", "failed_at", "failures")

    def __init__(self, endpoint: str, upstream: str) -> None:
        self._endpoint = endpoint
        self._upstream = upstream
        self._before = 0
        self.failures = 0
        self.failed_at = float("-inf")
        self.down_since: float | None = None

    def failed(self, cause: str) -> None:
        """A connection could not be made; "": for want of a place, which says nothing about the endpoint."""
        now = trio.current_time()
        self.failures += 1
        self.failed_at = now
        if not cause or self.down_since is not None:
            return
        self.down_since = now
        self._before = self.failures - 1
        _log.warning(
            "upstream %s: %s is down: %s",
            self._upstream,
            self._endpoint,
            cause,
            extra={"upstream": self._upstream, "endpoint": self._endpoint},
        )

    def works(self) -> None:
        """A connection was made."""
        since, self.down_since = self.down_since, None
        if since is None:
            return
        seconds = trio.current_time() - since
        tries = self.failures - self._before
        _log.warning(
            "upstream %s: %s is back: down for %.1f s, %s failed",
            self._upstream,
            self._endpoint,
            seconds,
            f"{tries:,} connection{'' if tries == 1 else 's'}",
            extra={"upstream": self._upstream, "endpoint": self._endpoint, "seconds": seconds},
        )
