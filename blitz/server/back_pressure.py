"""Waiting for a peer to take what we send: as long as it takes some, however little, and no longer.

The deadline moves with each piece that the kernel accepts. That alone would cut off slow readers: a socket
turns writable only when a third of its buffer is free, which may be a megabyte. So when the deadline passes,
the peer's acknowledgements are looked at before anybody is sent away (``blitz_took_some``).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from blitz._native import lib

if TYPE_CHECKING:
    from .deadline import Timer
    from .stream import ByteStream

__all__ = ["await_taker", "send_patiently"]


async def send_patiently(
    stream: ByteStream, data: memoryview, timer: Timer, seconds: float, what: str
) -> None:
    """Send all of *data*; *timer* expires when the peer takes none of it for *seconds* (0: never)."""
    await_taker(stream, timer, seconds, what)
    await stream.send_rest(data, partial(timer.arm, seconds, what))


def await_taker(stream: ByteStream, timer: Timer, seconds: float, what: str) -> None:
    """A wait for *stream* to take more begins: *timer* expires unless it takes some in *seconds*."""
    timer.arm_while(seconds, what, _Acknowledged(stream).some)


class _Acknowledged:
    """What the peer has acknowledged since somebody asked last."""

    __slots__ = ("_stream", "_unsent")

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._unsent = stream.unsent()

    def some(self) -> bool:
        before, self._unsent = self._unsent, self._stream.unsent()
        return bool(lib.blitz_took_some(before, self._unsent))
