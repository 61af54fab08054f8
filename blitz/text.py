"""Text of others (guests, clients, files, modules) as it may stand in a log line or on a terminal.

The rule is C's, which guests' log lines pass through: ``blitz_text_escape`` in ``native/blitz_native.h``.
"""

from __future__ import annotations

from blitz._native import ffi, lib

__all__ = ["one_line"]

GROWTH = 4  # bytes that one may become


def one_line(text: str) -> str:
    """Return *text* with everything escaped that would not show, or would not stay in its line.

    That is control characters and line ends, what changes the direction of text, other invisible
    characters, and characters that Unicode 14 does not know. The result is printable as ``str.isprintable``
    says, and returned as it is when passed again.
    """
    if text.isascii() and text.isprintable():
        return text
    raw = _octets(text)
    room = ffi.new("uint8_t[]", GROWTH * len(raw) + 1)
    used = ffi.new("size_t *")
    written = lib.blitz_text_escape(room, GROWTH * len(raw), raw, len(raw), used)
    return bytes(ffi.buffer(room, written)).decode()


def _octets(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # a file name keeps the octets it has
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
