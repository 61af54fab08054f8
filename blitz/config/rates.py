"""Rates as people write them: ``"100/m"``, ``"10/s"``, ``"100 req/s"``, ``"100 requests/minute"``.

Errors are ValueError with one sentence: what was seen, what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Rate", "parse_rate"]

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
}
_RATE = re.compile(r"([0-9]{1,9})\s*(?:req|reqs|requests?)?\s*(?:/|per)\s*([a-z]{1,7})", re.IGNORECASE)
_HELP = 'write such as "100/m" or "10 req/s": a number, "/", and s, m or h'
MAX_PER_MINUTE = 60_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """*count* in *seconds*, and the same as a whole number per minute."""

    count: int
    seconds: int
    per_minute: int


def parse_rate(text: str) -> Rate:
    """Read a rate. Raises ValueError with one sentence."""
    match = _RATE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f'"{text}" is not a rate; {_HELP}')
    count, seconds = int(match[1]), _SECONDS[unit]
    if not count:
        raise ValueError(f'"{text}" lets nothing pass; {_HELP}')
    per_minute, part = divmod(count * 60, seconds)
    if part:
        near = max(round(count / 60), 1) * 60
        raise ValueError(f'"{text}" is no whole number a minute, which is what is counted; write "{near}/h"')
    if per_minute > MAX_PER_MINUTE:
        raise ValueError(f'"{text}" is more than {MAX_PER_MINUTE // 60} a second, which is no limit')
    return Rate(count, seconds, per_minute)
