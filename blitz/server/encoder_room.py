"""What the compressed bodies of a gateway share: memory, and the event loop's time."""

from __future__ import annotations

import trio

__all__ = ["MAX_MEMORY", "EncoderRoom"]

MAX_MEMORY = 128 << 20  # bytes that the encoders of a worker hold together


class EncoderRoom:
    """One per gateway.

    Attributes:
        left: bytes that further encoders may hold; where that is too little, bodies go as they are.
        turns: whose slice of the event loop it is, of the bodies that are on their second one.
    """

    def __init__(self) -> None:
        self.left = MAX_MEMORY
        self.turns = trio.Lock()
