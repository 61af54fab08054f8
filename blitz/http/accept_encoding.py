"""Which content codings a client takes (RFC 9110 section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["acceptable", "choose_coding"]

# qvalue of RFC 9110 section 12.4.2; in thousandths below.
_WEIGHT = re.compile(rb"(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ALIASES = {b"x-gzip": b"gzip"}  # section 8.4.1.3
_WORTH_READING = 4096  # bytes; no client means anything by more
_REMEMBERED = 256  # bytes: what browsers say is shorter; longer ones are read each time


def choose_coding(said: bytes, offered: tuple[bytes, ...]) -> bytes | None:
    """The one of *offered* that the client likes best; None: it gets the bytes as they are."""
    return next(iter(acceptable(said, offered)), None)


def acceptable(said: bytes, offered: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Those of *offered* that the client takes, the one that it likes best first; what it likes alike, in the
    order offered, as in nginx and Caddy.

    One that it has not named counts as ``*`` does. A client that says nothing may know no coding. It prefers
    none (identity) only if it says so: with a weight of its own that is higher.

    Args:
        said: the values of its Accept-Encoding fields, as one list.
        offered: in lower case, the preferred one first.
    """
    if not said or len(said) > _WORTH_READING:
        return ()
    return (_acceptable if len(said) <= _REMEMBERED else _acceptable.__wrapped__)(said, offered)


@lru_cache(maxsize=256)
def _acceptable(said: bytes, offered: tuple[bytes, ...]) -> tuple[bytes, ...]:
    weights = _weights(said)
    rest = weights.get(b"*", 0)
    least = max(1, weights.get(b"identity", 0))
    liked = {coding: weights.get(coding, rest) for coding in offered}
    return tuple(sorted((one for one in offered if liked[one] >= least), key=lambda one: -liked[one]))


def _weights(said: bytes) -> dict[bytes, int]:
    """Of what is named. A member that cannot be read counts for nothing; of two for one name, the lower."""
    weights: dict[bytes, int] = {}
    for member in said.split(b","):
        name, *parameters = (part.strip(b" \t") for part in member.split(b";"))
        weight = _weight(parameters)
        if weight is None or not _TOKEN.fullmatch(name):
            continue
        name = name.lower()
        name = _ALIASES.get(name, name)
        weights[name] = min(weight, weights.get(name, weight))
    return weights


def _weight(parameters: Sequence[bytes]) -> int | None:
    """Thousandths; None: that is no weight."""
    if not parameters:
        return 1000
    name, _, value = parameters[0].partition(b"=")
    if len(parameters) > 1 or name not in (b"q", b"Q") or not _WEIGHT.fullmatch(value):
        return None
    whole, _, fraction = value.partition(b".")
    return int(whole) * 1000 + int(fraction.ljust(3, b"0"))
