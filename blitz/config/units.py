"""Durations and sizes as people write them: ``"250ms"``, ``"5s"``, ``"16MiB"``.

A bare number is seconds, or bytes. Decimal and binary prefixes keep their own meaning (``2MB`` is
2,000,000; ``2MiB`` is 2,097,152), and one unit per value keeps ``1m`` from being read as a mebibyte
or a million. Errors are ValueError with one sentence: what was seen, what is allowed.
"""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

DURATION_UNITS = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
SIZE_UNITS = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
# Past these no wait and no buffer means anything, and floats and C integers lose their footing.
MAX_DURATION = 366 * 86400
MAX_SIZE = 2**62

_SIZE_FACTORS = {unit.lower(): factor for unit, factor in SIZE_UNITS.items()}  # "16mib" is not ambiguous
_NUMBER = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([A-Za-zµ]*)", re.ASCII)

_DURATION_HELP = 'write a number with one of us, ms, s, m, h, such as "250ms" or "5s"'
_SIZE_HELP = 'write a number with one of B, KB, MB, GB, KiB, MiB, GiB, such as "64KiB" or "2MB"'


def parse_duration(text: str | int | float, *, bare: str = "s") -> float:
    """Return seconds.

    Args:
        text: ``"250ms"``, ``"5s"``, ``5``.
        bare: the unit of a number that has none.
    Raises:
        ValueError: one sentence with what was seen and what is allowed.
    """
    number, unit = _split(text, _DURATION_HELP)
    factor = DURATION_UNITS.get(unit or bare)
    if factor is None:
        raise ValueError(f'"{text}" has the unit "{unit}"; {_DURATION_HELP}')
    seconds = number * factor
    if seconds > MAX_DURATION:
        raise ValueError(f'"{text}" is more than a year; {_DURATION_HELP}')
    return float(seconds)


def parse_size(text: str | int | float) -> int:
    """Return bytes. Units in any case. Raises ValueError with one sentence."""
    number, unit = _split(text, _SIZE_HELP)
    factor = _SIZE_FACTORS.get(unit.lower() or "b")
    if factor is None:
        raise ValueError(f'"{text}" has the unit "{unit}"; {_SIZE_HELP}')
    size = number * factor
    if size != size.to_integral_value():
        raise ValueError(f'"{text}" is not a whole number of bytes')
    if size > MAX_SIZE:
        raise ValueError(f'"{text}" is larger than any machine; {_SIZE_HELP}')
    return int(size)


def format_duration(seconds: float) -> str:
    """The shortest way to write it: ``0.25`` is ``250ms``, ``3600`` is ``1h``."""
    exact = Decimal(repr(float(seconds)))
    for unit in ("h", "m", "s", "ms", "us"):
        count = exact / DURATION_UNITS[unit]
        if count >= 1 and count == count.to_integral_value():
            return f"{int(count)}{unit}"
    return f"{exact.normalize():f}s" if exact else "0s"


def format_size(size: int) -> str:
    """The shortest exact way to write it: ``65536`` is ``64KiB``, ``2000000`` is ``2MB``."""
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "KB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    return str(size)


def _split(text: str | int | float, help_text: str) -> tuple[Decimal, str]:
    if isinstance(text, int | float):
        number = Decimal(repr(text))
        if not number.is_finite() or number < 0:
            raise ValueError(f"{text} is not a finite number of 0 or more; {help_text}")
        return number, ""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not understood; {help_text}')
    return Decimal(match[1]), match[2]
