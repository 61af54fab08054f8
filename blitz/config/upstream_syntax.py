"""Small texts in what is said about upstreams: sets of statuses, percentages, what a hash is made of.

Errors are ValueError with one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["check_cookie_name", "check_uri", "parse_hash", "parse_percent", "parse_statuses"]

_CLASS = re.compile(r"([1-5])xx")
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110 section 5.6.2
_TARGET = re.compile(r"/[!-\"$-~]*")  # RFC 9112 section 3.2.1, more or less: visible, and no fragment


def parse_statuses(texts: Iterable[str]) -> frozenset[int]:
    """``["5xx", "429", "200-204"]``, an element with commas too; none at all: the empty set."""
    found: set[int] = set()
    for text in texts:
        for part in text.split(","):
            whole, some = _CLASS.fullmatch(part.strip().lower()), _RANGE.fullmatch(part.strip())
            if whole is not None:
                first = int(whole[1]) * 100
                found.update(range(first, first + 100))
            elif some is not None and (last := int(some[2] or some[1])) >= int(some[1]):
                found.update(range(int(some[1]), last + 1))
            else:
                raise ValueError(f'"{text}" is no status; write such as "503", "5xx" or "200-399"')
    return frozenset(found)


def parse_percent(text: str) -> float:
    """``"20%"`` as 0.2."""
    found = _PERCENT.fullmatch(text)
    if found is None or float(found[1]) > 100:
        raise ValueError(f'"{text}" is no percentage; write one from "0%" to "100%"')
    return float(found[1]) / 100


def parse_hash(text: str) -> tuple[str, str]:
    """``client``, ``path``, ``header:NAME`` or ``cookie:NAME``: what, and the name."""
    what, colon, name = text.partition(":")
    if what in ("client", "path") and not colon:
        return what, ""
    if what in ("header", "cookie") and _TOKEN.fullmatch(name):
        return what, name.lower() if what == "header" else name
    raise ValueError(
        f'"{text}" is nothing to hash; write "client", "path", "header:x-user" or "cookie:session"'
    )


def check_cookie_name(text: str) -> None:
    """Refuse what cannot be a cookie's name (RFC 6265 section 4.1.1)."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f'"{text}" is not the name of a cookie; write such as "srv"')


def check_uri(text: str) -> None:
    """Refuse what cannot be the target of a GET."""
    if not _TARGET.fullmatch(text):
        raise ValueError(f'"{text}" is no path; write such as "/healthz" or "/up?quick=1"')
