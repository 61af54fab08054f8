"""A response made in Python, before it is a head."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TEXT", "Reply"]

TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """kind: its Content-Type, b"" for none; fields: further ones, names in lower case."""

    status: int
    body: bytes = b""
    kind: bytes = TEXT
    fields: tuple[tuple[bytes, bytes], ...] = ()
