"""Any field gives ranges that RFC 9110 section 14 gives, or is ignored; never more bytes than there are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.static.ranges import MAX_RANGES, content_range, parse_ranges, unsatisfied

CASES = [
    ("one", b"bytes=0-4", 10, [(0, 5)]),
    ("the unit has no case", b"BYTES=0-4", 10, [(0, 5)]),
    ("to the end", b"bytes=5-", 10, [(5, 10)]),
    ("the end is cut", b"bytes=5-99", 10, [(5, 10)]),
    ("the last bytes", b"bytes=-3", 10, [(7, 10)]),
    ("more last bytes than there are", b"bytes=-30", 10, [(0, 10)]),
    ("several keep their order", b"bytes=8-9, 0-1", 10, [(8, 10), (0, 2)]),
    ("empty elements", b"bytes=,0-1,,", 10, [(0, 2)]),
    ("one that is not there", b"bytes=0-1,10-", 10, [(0, 2)]),
    ("none that is there", b"bytes=10-", 10, []),
    ("no last bytes", b"bytes=-0", 10, []),
    ("an empty file has no first byte", b"bytes=0-", 0, []),
    ("an empty file has no last bytes that could be named", b"bytes=-1", 0, None),
    ("backwards", b"bytes=5-4", 10, None),
    ("backwards beside a good one", b"bytes=0-1,5-4", 10, None),
    ("overlapping", b"bytes=0-5,5-9", 10, None),
    ("the same twice", b"bytes=0-0,0-0", 10, None),
    ("another unit", b"lines=0-4", 10, None),
    ("nothing", b"bytes=", 10, None),
    ("a dash", b"bytes=-", 10, None),
    ("a sign", b"bytes=+1-2", 10, None),
    ("a space inside", b"bytes=1 -2", 10, None),
    ("digits of other scripts", "bytes=١-٢".encode(), 10, None),
    ("a number without end", b"bytes=0-" + b"9" * 900, 10, [(0, 10)]),
    ("a field without end", b"bytes=0-" + b"9" * 2000, 10, None),
    ("too many", b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(0, 40, 2)), 100, None),
]


@pytest.mark.parametrize(("field", "size", "wanted"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_ranges(field: bytes, size: int, wanted: list[tuple[int, int]] | None) -> None:
    assert parse_ranges(field, size) == wanted


def brute_force(field: bytes, size: int) -> list[tuple[int, int]] | None:
    """RFC 9110 section 14.1.2, by looking at each byte."""
    found = re.fullmatch(rb"(?i)bytes=(.*)", field)
    if found is None:
        return None
    ranges = []
    elements = [one.strip(b" ") for one in found[1].split(b",") if one.strip(b" ")]
    if not elements or len(elements) > MAX_RANGES:
        return None
    for element in elements:
        spec = re.fullmatch(rb"([0-9]*)-([0-9]*)", element)
        if spec is None or element == b"-":
            return None
        first, last = spec[1], spec[2]
        if first and last and int(last) < int(first):
            return None
        if first:
            these = [n for n in range(size) if n >= int(first) and (not last or n <= int(last))]
        else:
            these = [n for n in range(size) if n >= size - int(last)]
            if not size and int(last):
                return None
        if these:
            ranges.append((these[0], these[-1] + 1))
    taken = [n for start, end in ranges for n in range(start, end)]
    return None if len(taken) > len(set(taken)) else ranges


NUMBER = st.one_of(st.just(b""), st.integers(0, 25).map(lambda n: b"%d" % n))
SPEC = st.one_of(
    st.tuples(NUMBER, NUMBER).map(b"-".join), st.sampled_from([b"", b" ", b"x", b"1", b"1--2", b"-1-"])
)
FIELD = st.tuples(
    st.sampled_from([b"bytes=", b"Bytes=", b"bits=", b"bytes"]),
    st.lists(SPEC, max_size=MAX_RANGES + 2),
    st.sampled_from([b",", b", ", b" ,"]),
).map(lambda parts: parts[0] + parts[2].join(parts[1]))


@given(FIELD, st.integers(0, 20))
def test_ranges_are_those_of_a_reading_byte_by_byte(field: bytes, size: int) -> None:
    assert parse_ranges(field, size) == brute_force(field, size)


@given(st.binary(max_size=60), st.integers(0, 100))
def test_any_bytes_name_what_is_there_or_nothing(field: bytes, size: int) -> None:
    for value in (field, b"bytes=" + field):
        ranges = parse_ranges(value, size)
        taken = [n for start, end in ranges or [] for n in range(start, end)]
        assert len(taken) == len(set(taken)) <= size
        assert all(0 <= start < end <= size for start, end in ranges or [])


def test_fields_of_responses() -> None:
    assert content_range(0, 5, 10) == b"bytes 0-4/10"
    assert unsatisfied(10) == b"bytes */10"
