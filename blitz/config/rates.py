"""Rates as people write them: ``"100/m"``, ``"10/s"``, ``"100 req/s"``, ``"5/h"``, ``"20/10s"``.

Errors are ValueError with one sentence: what was seen, what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Rate", "parse_rate"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
_RATE = re.compile(
    r"([0-9]{1,9})\s*(?:req|reqs|requests?)?\s*(?:/|per\b)\s*([0-9]{1,9})?\s*([a-z]{1,7})", re.IGNORECASE
)
_HELP = 'write such as "100/m", "10 req/s" or "20/10s": a number, "/", and s, m, h or d'
MAX_PER_SECOND = 1_000_000
MAX_DAYS = 366


@dataclass(frozen=True, slots=True)
class Rate:
    """*count* in *seconds*."""

    count: int
    seconds: int


def parse_rate(text: str) -> Rate:
    """Read a rate. Raises ValueError with one sentence."""
    match = _RATE.fullmatch(text.strip())
    unit = _UNITS.get(match[3].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f'"{text}" is not a rate; {_HELP}')
    count, seconds = int(match[1]), int(match[2] or 1) * _SECONDS[unit]
    if not count or not seconds:
        raise ValueError(f'"{text}" lets {"everything" if count else "nothing"} pass; {_HELP}')
    if count > MAX_PER_SECOND * seconds:
        raise ValueError(f'"{text}" is more than {MAX_PER_SECOND} a second, which is no limit')
    if seconds > MAX_DAYS * _SECONDS["d"]:
        raise ValueError(f'"{text}" is longer than {MAX_DAYS} days; nothing is counted for so long')
    return Rate(count, seconds)
