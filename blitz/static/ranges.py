"""Ranges of bytes that a request asks for (RFC 9110 section 14)."""

from __future__ import annotations

import itertools
import re

__all__ = ["MAX_RANGES", "content_range", "parse_ranges", "unsatisfied"]

# Players ask for one, readers of PDF for a few. Every further one costs a part head of a hundred bytes.
MAX_RANGES = 16
MAX_FIELD = 1024  # bytes of a field that is worth reading
_UNIT = re.compile(rb"[ \t]*bytes[ \t]*=(.*)", re.IGNORECASE | re.DOTALL)
# Optional white space around elements, and empty elements (RFC 9110 section 5.6.1.2), but not inside of one.
_SPEC = re.compile(rb"([0-9]*)-([0-9]*)")


def parse_ranges(field: bytes, size: int) -> list[tuple[int, int]] | None:
    """The ranges of *field* (the value of ``Range``) in a representation of *size* bytes, as ``(start, end)``
    with the end not in it, in the order asked for.

    None: the field is to be ignored, and the whole is sent: it is not valid, of another unit, has more than
    MAX_RANGES ranges, or some that overlap, which no honest client needs (RFC 9110 section 14.2 lets a server
    do so). An empty list: it is valid, and nothing of it is there (416).
    """
    found = _UNIT.fullmatch(field) if len(field) <= MAX_FIELD else None
    if found is None:
        return None
    elements = [element for text in found[1].split(b",") if (element := text.strip(b" \t"))]
    if not elements or len(elements) > MAX_RANGES:
        return None
    ranges: list[tuple[int, int]] = []
    for element in elements:
        spec = _SPEC.fullmatch(element)
        if spec is None or element == b"-":
            return None
        if not spec[1]:
            length = int(spec[2])
            if length and not size:
                return None  # satisfiable, and there is no byte that a Content-Range could name
            if length:
                ranges.append((max(size - length, 0), size))
            continue
        first = int(spec[1])
        last = int(spec[2]) if spec[2] else max(size - 1, first)
        if last < first:
            return None
        if first < size:
            ranges.append((first, min(last + 1, size)))
    return None if _overlap(ranges) else ranges


def _overlap(ranges: list[tuple[int, int]]) -> bool:
    ordered = sorted(ranges)
    return any(later[0] < before[1] for before, later in itertools.pairwise(ordered))


def content_range(start: int, end: int, size: int) -> bytes:
    """The value of ``Content-Range`` for the bytes from *start* up to *end*, which is not in it."""
    return b"bytes %d-%d/%d" % (start, end - 1, size)


def unsatisfied(size: int) -> bytes:
    """The same for a 416."""
    return b"bytes */%d" % size
