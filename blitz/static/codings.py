"""Which content coding a client takes best, of those that are there (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["ENDINGS", "accepted"]

ENDINGS = {"zstd": b".zst", "br": b".br", "gzip": b".gz"}  # of the files that hold them
_ELEMENT = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?"
)
MAX_FIELD = 1024  # bytes of a field that is worth reading


def accepted(field: bytes | None, offered: Sequence[str]) -> tuple[str, ...]:
    """Those of *offered* that the client takes, the one it likes best first; what it likes alike, in the
    order offered.

    Args:
        field: its Accept-Encoding; None: it has none, and gets no coding, as servers do.
    """
    if field is None or len(field) > MAX_FIELD:
        return ()
    weights: dict[bytes, float] = {}
    for element in field.split(b","):
        found = _ELEMENT.fullmatch(element.strip(b" \t"))
        if found is not None:
            name = found[1].lower()
            weights[b"gzip" if name == b"x-gzip" else name] = float(found[2] or 1)
    rest = weights.get(b"*", 0.0)
    liked = {coding: weights.get(coding.encode(), rest) for coding in offered}
    # One that it likes less than the file as it is (which it takes unless it says so) is still smaller.
    return tuple(sorted((one for one in offered if liked[one] > 0), key=lambda one: -liked[one]))
