"""Conditional requests (RFC 9110 section 13): is the response 200, 304 or 412, and does Range count."""

from __future__ import annotations

import calendar
import datetime
import re
from typing import Protocol

__all__ = ["Fields", "http_date", "parse_http_date", "precondition", "range_counts"]

_TAG = re.compile(rb'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|$)')
LAST = 253_402_300_799  # the last second of the year 9999
EPOCH = 719_163  # the ordinal of 1970-01-01
_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (
    *(b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun"),
    *(b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
)
_CLOCK = rb"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_DATES = (  # RFC 9110 section 5.6.7: IMF-fixdate, RFC 850, asctime
    re.compile(rb"(?:%b), (?P<d>\d\d) (?P<b>\w{3}) (?P<y>\d{4}) %b GMT" % (b"|".join(_DAYS), _CLOCK)),
    re.compile(rb"(?:%b)\w{0,6}, (?P<d>\d\d)-(?P<b>\w{3})-(?P<y>\d\d) %b GMT" % (b"|".join(_DAYS), _CLOCK)),
    re.compile(rb"(?:%b) (?P<b>\w{3}) (?P<d>[ \d]\d) %b (?P<y>\d{4})" % (b"|".join(_DAYS), _CLOCK)),
)
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Fields(Protocol):
    """Of a request."""

    def get(self, name: bytes, /) -> bytes | None:
        """The value of the field *name*, lower case, several joined by commas; None: there is none."""
        ...


def precondition(method: bytes, fields: Fields, tag: bytes, modified: int, now: int) -> int:
    """What the conditions of a request come to: 0 (go on), 304 or 412; in the order of section 13.2.2.

    Args:
        fields: of the request.
        tag: the entity tag of what would be sent, with its quotes; strong.
        modified: when that was changed last, seconds since 1970.
        now: seconds since 1970.
    """
    if (wanted := fields.get(b"if-match")) is not None:
        if not _names(wanted, tag, weak=False):
            return 412
    elif (since := _date(fields, b"if-unmodified-since", now)) is not None and modified > since:
        return 412
    if (known := fields.get(b"if-none-match")) is not None:
        if _names(known, tag, weak=True):
            return 304 if method in (b"GET", b"HEAD") else 412
    elif method in (b"GET", b"HEAD"):
        since = _date(fields, b"if-modified-since", now)
        if since is not None and modified <= since:
            return 304
    return 0


def range_counts(fields: Fields, tag: bytes, modified: int, now: int) -> bool:
    """Range is to be looked at: there is no If-Range, or it names what would be sent (section 13.1.5).

    A date counts only where it is a strong validator (section 8.8.2.2): what was changed within the last
    second may have changed twice in it.
    """
    wanted = fields.get(b"if-range")
    if wanted is None:
        return True
    wanted = wanted.strip(b" \t")
    if wanted.startswith((b'"', b"W/")):
        return wanted == tag
    return parse_http_date(wanted, now) == modified and modified < now - 1


def _names(field: bytes, tag: bytes, *, weak: bool) -> bool:
    """Does the list *field* name *tag*? One that is no list of tags names nothing.

    Args:
        weak: compare weakly: ``W/"1"`` is ``"1"`` (section 8.8.3.2).
    """
    if field.strip(b" \t") == b"*":
        return True
    at, found = 0, False
    while at < len(field):
        one = _TAG.match(field, at)
        if one is None:
            return False
        at = one.end()
        found = found or (one[2] is not None and (weak or not one[1]) and b'"%b"' % one[2] == tag)
    return found


def _date(fields: Fields, name: bytes, now: int) -> int | None:
    field = fields.get(name)
    return parse_http_date(field.strip(b" \t"), now) if field is not None else None


def parse_http_date(text: bytes, now: int) -> int | None:
    """Seconds since 1970; None: it is no HTTP-date, and to be ignored (RFC 9110 section 5.6.7).

    Args:
        now: a year of two digits is not more than 50 years in the future.
    """
    for pattern in _DATES:
        found = pattern.fullmatch(text)
        if found is not None and found["b"] in _MONTHS:
            break
    else:
        return None
    month, day, year = _MONTHS.index(found["b"]) + 1, int(found["d"]), int(found["y"])
    hour, minute, second = int(found["h"]), int(found["m"]), int(found["s"])
    if len(found["y"]) == 2:
        this = 1970 + now // 31_556_952
        year += this // 100 * 100
        year -= 100 if year > this + 50 else 0
    if not year or not 1 <= day <= _DAYS_OF_MONTH[month - 1] or hour > 23 or minute > 59 or second > 60:
        return None
    return calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))


def http_date(seconds: int) -> bytes:
    """IMF-fixdate of a moment since 1970; one that has no date there is the nearest that has."""
    days, rest = divmod(min(max(seconds, 0), LAST), 86_400)
    date = datetime.date.fromordinal(EPOCH + days)
    clock = b"%02d:%02d:%02d GMT" % (rest // 3600, rest // 60 % 60, rest % 60)
    month = _MONTHS[date.month - 1]
    return b"%b, %02d %b %04d %b" % (_DAYS[date.weekday()], date.day, month, date.year, clock)
