"""A reload that failed because the system was short of something is tried again, until it succeeds or another
reload has an answer of its own.

Whoever changed a file and was told nothing, or sent a signal, does not do it again: the compiler's process
was killed, the disk was full, there were no descriptors. What is wrong with the files stays refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import trio

from blitz.errors import BlitzError
from blitz.trouble import may_pass

__all__ = ["ReloadAgain"]

FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # seconds; it doubles
# Reasons of reloads that nobody waits for.
UNATTENDED = ("files", "signal")


class ReloadAgain:
    """Of one gateway. *reload*: ``Gateway.reload``."""

    def __init__(self, reload: Callable[..., Awaitable[None]]) -> None:
        self._reload = reload
        self._reason = ""
        self._pause = 0.0
        self._wanted = trio.Event()

    @property
    def is_due(self) -> bool:
        return bool(self._reason)

    def note(self, error: BlitzError, reason: str) -> bool:
        """A reload failed with *error*. -> it was one of ours, and there will be another."""
        if reason not in UNATTENDED or not may_pass(error):
            self.forget()
            return False
        again = bool(self._reason)
        self._reason = reason
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), MAX_PAUSE)
        self._wanted.set()
        return again

    def forget(self) -> None:
        """There is nothing to be tried again."""
        self._reason, self._pause = "", 0.0

    async def run(self) -> None:
        """Try again, for ever."""
        while True:
            if not self._reason:
                self._wanted = trio.Event()
                await self._wanted.wait()
            await trio.sleep(self._pause)
            if self._reason:
                with contextlib.suppress(BlitzError):  # noted above
                    await self._reload(reason=self._reason)
