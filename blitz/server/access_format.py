"""What clients sent, as the lines of the gateway's own log show it: in printable ASCII, and not too long.

The rule is that of the access log, whose lines are written in C: ``native/access_line.c``.
"""

from __future__ import annotations

from blitz._native import ffi, lib

__all__ = ["MAX_ERROR", "MAX_SMALL", "shown"]

MAX_ERROR = 300  # characters of a sentence, and of what a client says about itself
MAX_SMALL = 100  # of a method


def shown(octets: bytes, most: int) -> str:
    """*octets* as printable ASCII, at most *most* characters of it; "..." stands for the rest."""
    room = ffi.new("uint8_t[]", most)
    return bytes(ffi.buffer(room, lib.blitz_access_show(room, most, octets, len(octets)))).decode()
