"""What a filter decides: let the message pass, or answer it here and now."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Verdict"]


class Verdict(IntEnum):
    """Values equal the verdict bits of ``native/blitz_native.h``."""

    CONTINUE = 0
    STOP = 1
    ERROR = 2
