"""A client that sends a body slowly enough never stalls, and holds an upstream for as long as it likes.

So it owes a rate, averaged over the time that it was waited for. Time in which nobody would take its bytes
does not count: a slow upstream is not its fault. What is owed is ``native/body_pipe.c``.
"""

from __future__ import annotations

from typing import Any

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientError

__all__ = ["MinRate", "too_slow"]


class MinRate:
    """Of one request body: *rate* data bytes a second are owed after *grace* seconds of waiting.

    Attributes:
        cdata: cffi ``blitz_rate *``.
    """

    __slots__ = ("cdata",)

    def __init__(self, rate: int, grace: float) -> None:
        self.cdata: Any = ffi.new("blitz_rate *", {"owed": rate, "grace": grace})

    def begin_wait(self, received: int) -> float:
        """A wait begins, or goes on when no data came meanwhile; the seconds that it may last.

        Raises:
            ClientError: 408, with *received* data bytes the time is up.
        """
        left = float(lib.blitz_rate_begin(self.cdata, trio.current_time(), received))
        if left <= 0:
            raise too_slow(int(self.cdata.owed))
        return left

    def end_wait(self) -> None:
        """Data has come."""
        lib.blitz_rate_end(self.cdata, trio.current_time())


def too_slow(rate: int) -> ClientError:
    return ClientError(
        f"request body is slower than {rate} bytes a second (limits.min_body_rate)", status=408
    )
