"""Conditions are taken in the order of RFC 9110 section 13.2.2, and only what is valid counts."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.static.conditions import http_date, parse_http_date, precondition, range_counts

TAG, OTHER = b'"a1"', b'"b2"'
CHANGED = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
NOW = 1_700_100_000
BEFORE, AT, AFTER = (http_date(CHANGED + n) for n in (-1, 0, 1))

# What each value of a field means for the representation: None where the field is to be ignored.
TAGS = {
    TAG: (True, True),  # (compared strongly, weakly)
    OTHER: (False, False),
    b"W/" + TAG: (False, True),
    b"*": (True, True),
    OTHER + b" , " + TAG: (True, True),
    b"," + OTHER + b",": (False, False),
    b"W/" + OTHER + b", W/" + TAG: (False, True),
    b"a1": (False, False),
    b"": (False, False),
    TAG + b" x": (False, False),
    b'"a,1"': (False, False),
}
DATES = {BEFORE: True, AT: False, AFTER: False, b"yesterday": None, b"": None}  # changed since then?


def oracle(method: bytes, fields: dict[bytes, bytes]) -> int:
    """The steps of section 13.2.2, one by one."""
    match, unmodified = fields.get(b"if-match"), fields.get(b"if-unmodified-since")
    none_match, modified = fields.get(b"if-none-match"), fields.get(b"if-modified-since")
    if match is not None:  # step 1
        if not TAGS[match][0]:
            return 412
    elif unmodified is not None and DATES[unmodified]:  # step 2
        return 412
    if none_match is not None:  # step 3
        if TAGS[none_match][1]:
            return 304 if method in (b"GET", b"HEAD") else 412
    elif method in (b"GET", b"HEAD") and modified is not None and DATES[modified] is False:  # step 4
        return 304
    return 0


@given(
    st.sampled_from([b"GET", b"HEAD", b"PUT"]),
    st.fixed_dictionaries(
        {},
        optional={
            b"if-match": st.sampled_from(sorted(TAGS)),
            b"if-unmodified-since": st.sampled_from(sorted(DATES)),
            b"if-none-match": st.sampled_from(sorted(TAGS)),
            b"if-modified-since": st.sampled_from(sorted(DATES)),
        },
    ),
)
def test_the_order_of_conditions(method: bytes, fields: dict[bytes, bytes]) -> None:
    assert precondition(method, fields, TAG, CHANGED, NOW) == oracle(method, fields)


@pytest.mark.parametrize(
    ("value", "now", "counts"),
    [
        pytest.param(None, NOW, True, id="none"),
        pytest.param(TAG, NOW, True, id="the tag"),
        pytest.param(OTHER, NOW, False, id="another tag"),
        pytest.param(b"W/" + TAG, NOW, False, id="a weak tag names no bytes"),
        pytest.param(AT, NOW, True, id="the date"),
        pytest.param(AFTER, NOW, False, id="a later date is another"),
        pytest.param(BEFORE, NOW, False, id="an earlier date"),
        pytest.param(AT, CHANGED + 1, False, id="a date that is no strong validator yet"),
        pytest.param(b"*", NOW, False, id="a star is no tag here"),
        pytest.param(b"", NOW, False, id="empty"),
        pytest.param(TAG + b", " + OTHER, NOW, False, id="a list"),
    ],
)
def test_if_range(value: bytes | None, now: int, counts: bool) -> None:
    fields = {} if value is None else {b"if-range": value}
    assert range_counts(fields, TAG, CHANGED, now) == counts


@given(st.integers(0, 253_402_300_799))
def test_dates_go_there_and_back(seconds: int) -> None:
    assert http_date(seconds) == email.utils.formatdate(seconds, usegmt=True).encode()
    assert parse_http_date(http_date(seconds), NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        (b"Sun Nov  6 08:49:37 1994", 784111777),
        (b"Sunday, 06-Nov-70 08:49:37 GMT", 3182489377),
        (b"Sunday, 06-Nov-80 08:49:37 GMT", 342348577),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"Sun, 06 Nov 1994 08:49:37 CET", None),
        (b"Sun, 06 Nov 1994 08:49:37 +0000", None),
        (b"Sun, 6 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 31 Feb 1994 08:49:37 GMT", None),
        (b"Sun, 06 Foo 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 24:49:37 GMT", None),
        (b"Sun, 06 Nov 0000 08:49:37 GMT", None),
        (b"784111777", None),
    ],
)
def test_what_is_a_date(text: bytes, seconds: int | None) -> None:
    assert parse_http_date(text, NOW) == seconds


@given(st.binary(max_size=50))
def test_any_bytes_are_a_date_or_none(text: bytes) -> None:
    assert parse_http_date(text, NOW) is None or text[:3].isalpha()


@pytest.mark.parametrize("seconds", [-(10**12), 10**12])
def test_a_file_of_a_strange_time_has_a_date(seconds: int) -> None:
    assert parse_http_date(http_date(seconds), NOW) is not None
