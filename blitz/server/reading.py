"""Reading files while others are served: in a thread, for a bounded time, and left behind if it must be.

A disk or a network file system that does not answer keeps a thread for as long as it likes, and no signal
ends that. So nothing waits for such a thread: not the event loop, not a reload, not the end of the
process. What runs here therefore only reads: nobody takes what it finds when it comes too late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from blitz.errors import ConfigError
from blitz.files import progress

__all__ = ["read_apart"]

READ_TIMEOUT = 10.0  # seconds
# Threads that may hang; a reload that finds all of them hanging waits for one, and gives up as well.
MAX_READERS = 4

_T = TypeVar("_T")
_readers: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("readers")


async def read_apart(read: Callable[[], _T]) -> _T:
    """Return what *read* returns; it runs in a thread, and may only read.

    Raises:
        ConfigError: it took longer than READ_TIMEOUT.
        What *read* raises.
    """
    place: list[str] = []
    token = progress.set(place)  # the thread gets a copy of this context
    try:
        with trio.fail_after(READ_TIMEOUT):
            return await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=_limiter())
    except trio.TooSlowError:
        what = place[0] if place else "the files before it"
        error = ConfigError(
            f"{what}: not read within {READ_TIMEOUT:g} s: its disk or network file system does not answer; "
            "see to it, and load again"
        )
        error.transient = True
        raise error from None
    finally:
        progress.reset(token)


def _limiter() -> trio.CapacityLimiter:
    try:
        return _readers.get()
    except LookupError:
        limiter = trio.CapacityLimiter(MAX_READERS)
        _readers.set(limiter)
        return limiter
