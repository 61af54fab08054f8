"""The end of a connection whose client may still be sending: closing at once would destroy the response."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .resources import Resources
    from .stream import ByteStream

__all__ = ["linger"]

LINGER_TIME = 2.0  # seconds we go on reading after a last response, so that a reset cannot destroy it
LINGER_SIZE = 1024 * 1024  # and at most so many bytes


async def linger(stream: ByteStream, resources: Resources) -> None:
    """Say that this was all and read for a while what the client is still sending."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        with trio.move_on_after(LINGER_TIME):
            await stream.send_eof()
            left = LINGER_SIZE
            while left > 0:
                got = await stream.receive_into(resources.unread.view)
                if not got:
                    break
                left -= got
