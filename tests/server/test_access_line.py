"""A line of the access log, byte for byte as the oracle in Python writes it, whatever an exchange holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blitz.server.access import AccessLog
from blitz.server.access_format import shown
from blitz.text import one_line

from . import access_oracle as oracle
from .test_access import record

KINDS = ["json", "common", "combined"]
# Octets as clients send them, and more of those that are hard to write.
HARD = st.sampled_from([*(bytes([octet]) for octet in b'"\\\n\t \0\x1f\x7f\x80\xffa'), "é".encode(), b"..."])
HARD_OCTETS = st.lists(HARD, max_size=12).map(b"".join)
LONG_OCTETS = st.builds(
    lambda piece, size, end: (piece * size + end)[:5000], HARD_OCTETS, st.integers(1, 2100), HARD_OCTETS
)
OCTETS = st.one_of(st.just(b""), st.binary(max_size=40), HARD_OCTETS, LONG_OCTETS)
# Text of ours has passed one_line.
LONG_TEXT = st.text(min_size=90, max_size=100).map(lambda text: text * 3)
OURS = st.one_of(st.just(""), st.text(max_size=30), LONG_TEXT).map(lambda text: one_line(text)[:300].encode())
NUMBER = st.one_of(st.integers(0, 10), st.integers(0, 2**63))
DURATION = st.one_of(
    st.floats(0, 1e-3), st.floats(0, 1e6), st.integers(0, 10**6).map(lambda n: n / 1e6), st.floats(0, 2**33)
)
FACTS = st.fixed_dictionaries(
    {
        "time": st.one_of(st.floats(0, 4e9), st.integers(0, 4 * 10**12).map(lambda n: n / 1e3)),
        "duration": DURATION,
        "status": st.integers(0, 999),
        "tries": st.integers(0, 5),
        "received": NUMBER,
        "sent": NUMBER,
        "http": st.sampled_from([b"", b"1.0", b"1.1"]),
        "id": st.sampled_from([b"", b"0123456789abcdef" * 2]),
        "client": st.sampled_from([b"", b"192.0.2.1", b"2001:db8::1"]),
        "scheme": st.sampled_from([b"", b"http", b"https"]),
        **dict.fromkeys(oracle.SAID, OCTETS),
        **dict.fromkeys(("route", "plugin", "cause", "error"), OURS),
    }
)


@pytest.mark.parametrize("kind", KINDS)
@given(FACTS)
@settings(max_examples=150, deadline=None)
def test_a_line_is_that_of_the_oracle(kind: str, facts: dict[str, Any]) -> None:
    log = AccessLog(kind)
    log.write(**facts)
    assert oracle.taken(log) == [oracle.line_of(facts, kind) + b"\n"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [b"q", b'"', b"\xff", b"\n"])
def test_what_is_shortened_is_as_the_oracle_has_it(kind: str, fill: bytes) -> None:
    """Sizes about every border: of each field, and of the whole line."""
    log = AccessLog(kind)
    names = list(oracle.SAID)
    for size in [*range(95, 104), *range(295, 304), *range(505, 520), *range(2040, 2052), 4096, 9000]:
        for facts in ({"target": fill * size}, dict.fromkeys(names, fill * size)):
            whole = record(route="é".encode() * size, error=one_line("\u202eü" * size)[:300].encode()) | facts
            log.write(**whole)
            assert oracle.taken(log) == [oracle.line_of(whole, kind) + b"\n"]


@pytest.mark.parametrize("kind", ["json", "combined"])
def test_durations_are_the_shortest_text(kind: str) -> None:
    log = AccessLog(kind)
    for millionths in [*range(1200), 10**6 - 1, 10**6, 10**6 + 1, 10**9 + 10]:
        for duration in (millionths / 1e6, millionths / 1e6 + 4.9e-7, (millionths + 0.5) / 1e6):
            facts = record(duration=duration)
            log.write(**facts)
            assert oracle.taken(log) == [oracle.line_of(facts, kind) + b"\n"]


@given(OCTETS, st.integers(3, 400))
@example(b"a" * 3, 3)
@settings(deadline=None)
def test_what_is_shown_is_as_the_oracle_shows_it(octets: bytes, most: int) -> None:
    assert shown(octets, most) == oracle.shown(octets, most)


@pytest.mark.parametrize("count", [1, 500, 3000])
def test_lines_come_in_order_and_blocks_hold_whole_ones(count: int) -> None:
    log = AccessLog("json")
    expected = []
    for number in range(count):
        facts = record(target=b"/%d?" % number + b"q" * (number % 700))
        log.write(**facts)
        expected.append(oracle.line_of(facts, "json") + b"\n")
    assert oracle.taken(log) == expected
    assert oracle.taken(log) == []
