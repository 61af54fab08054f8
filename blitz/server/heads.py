"""Bytes out of heads, under the name that the files of this room know: see ``blitz/http/heads.py``."""

from __future__ import annotations

from blitz.http.heads import field_values, span_bytes

__all__ = ["field_values", "span_bytes"]
