"""Bytes out of a cffi ``blitz_head *``."""

from __future__ import annotations

from typing import Any

from blitz._native import ffi, lib

__all__ = ["field_values", "span_bytes"]


def span_bytes(head: Any, span: Any) -> bytes:
    """The bytes of a span of *head* (cffi ``blitz_head *``)."""
    size = span.len
    return ffi.buffer(lib.blitz_head_at(head, span), size)[:] if size else b""


def field_values(head: Any, name: bytes) -> list[bytes]:
    """The values of all field lines of that name, in order."""
    values = []
    at = 0
    while (index := lib.blitz_head_find(head, name, len(name), at)) >= 0:
        values.append(span_bytes(head, head.fields[index].value))
        at = index + 1
    return values
