"""Invariants: a head that arrives byte by byte, whole, or with more behind it is the same head; every path
reads it alike; real heads of the strict subset never need h11."""

from __future__ import annotations

import itertools

import pytest

from blitz._native import ffi, lib
from tests.head import Head, HeadLimits
from tests.native import readers

LIMIT, DECLINED, SYNTAX = lib.BLITZ_E_LIMIT, lib.BLITZ_E_DECLINED, lib.BLITZ_E_SYNTAX
SCANNED = readers.corpus("scanned")
FOR_H11 = readers.corpus("h11")
BEHIND = (b"", b"x", b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"\0" * 40)


def test_this_machine_has_a_path_of_its_own() -> None:
    assert ffi.string(lib.blitz_scan_path()).decode() in readers.PATHS
    assert lib.blitz_scan_request_with(b"vax", Head().c, b"", 0, 0, ffi.NULL) == lib.BLITZ_E_STATE


@pytest.mark.parametrize("path", readers.PATHS)
@pytest.mark.parametrize(("name", "data", "method"), [pytest.param(*row, id=row[0]) for row in SCANNED])
def test_real_heads_are_scanned_as_h11_reads_them(
    name: str, data: bytes, method: bytes | None, path: str
) -> None:
    judged = readers.judge(data, method)
    assert isinstance(judged, Head), readers.name_of(judged)
    for behind in BEHIND:
        head = Head()
        raw = data + behind
        size = (
            head.scan_request(raw, path=path)
            if method is None
            else head.scan_response(raw, method, path=path)
        )
        assert size == len(data)
        assert readers.meaning(head) == readers.meaning(judged)
        assert readers.extent(raw, path=path) == len(data)
    for step in (1, 7, 100):
        head_in_parts = readers.scan_in_parts(data + b"more", method, path, step)
        assert isinstance(head_in_parts, Head)
        assert readers.meaning(head_in_parts) == readers.meaning(judged)


@pytest.mark.parametrize(("name", "data", "method"), [pytest.param(*row, id=row[0]) for row in SCANNED])
def test_no_part_of_a_real_head_is_taken_for_a_head(name: str, data: bytes, method: bytes | None) -> None:
    for size in range(0, len(data), max(1, len(data) // 300)):
        for path in readers.PATHS:
            assert readers.scan(data[:size], method, path) == 0
            assert readers.extent(data[:size], path=path) == 0


@pytest.mark.parametrize(("name", "data", "method"), [pytest.param(*row, id=row[0]) for row in FOR_H11])
def test_legal_heads_outside_the_subset_are_declined_and_read_by_h11(
    name: str, data: bytes, method: bytes | None
) -> None:
    assert {readers.scan(data, method, path) for path in readers.PATHS} == {DECLINED}
    assert isinstance(readers.judge(data, method), Head)


def test_the_table_points_into_the_bytes_and_marks_plain_lines() -> None:
    head = Head()
    data = b"GET / HTTP/1.1\r\nHost: a\r\nA:b\r\nB: c \r\nC: \r\n\r\n"
    assert head.scan_request(data) == len(data)
    plain = [bool(head.c.fields[i].plain) for i in range(head.c.n_fields)]
    assert plain == [True, False, False, True]
    assert head.c.arena_len == 0
    assert head.c.base_len == len(data)


REQUEST = b"GET /abc HTTP/1.1\r\nHost: a\r\nLong-Name: long value\r\n\r\n"
LIMITS = [
    ("head fits", {"max_head_size": len(REQUEST)}, len(REQUEST)),
    ("head one too long", {"max_head_size": len(REQUEST) - 1}, LIMIT),
    ("line fits", {"max_line_size": 17}, len(REQUEST)),
    ("line one too long", {"max_line_size": 16}, LIMIT),
    ("field fits", {"max_field_size": 21}, len(REQUEST)),
    ("field one too long", {"max_field_size": 20}, LIMIT),
    ("fields fit", {"max_fields": 2}, len(REQUEST)),
    ("one field too many", {"max_fields": 1}, LIMIT),
    ("more fields than a table has", {"max_fields": 100_000}, len(REQUEST)),
]


@pytest.mark.parametrize(("case", "bounds", "expected"), [pytest.param(*row, id=row[0]) for row in LIMITS])
def test_limits_to_the_byte(case: str, bounds: dict[str, int], expected: int) -> None:
    limits = HeadLimits(**bounds)
    for data in (REQUEST, REQUEST + b"x" * 100):
        for path in readers.PATHS:
            assert Head().scan_request(data, limits=limits, path=path) == expected
            assert readers.extent(data, path=path, limits=limits) == expected
            results = [
                lib.blitz_head_extent_with(path.encode(), data, size, size - 1, limits.c)
                for size in range(1, len(REQUEST) + 1)
            ]
            assert next((result for result in results if result), 0) == expected


def test_an_endless_head_is_refused_at_its_bound() -> None:
    limits = HeadLimits(max_head_size=1000)
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000
    results = [lib.blitz_scan_request(Head().c, data, size, size - 1, limits.c) for size in range(1, 1100)]
    assert results[:999] == [0] * 999
    assert set(results[999:]) == {LIMIT}


def test_more_fields_than_the_table_has_are_a_limit() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 256 + b"\r\n"
    assert {readers.scan(data, None, path) for path in readers.PATHS} == {LIMIT}
    assert readers.extent(data) == LIMIT


@pytest.mark.parametrize("minor", [b"0", b"1"])
@pytest.mark.parametrize("byte", range(256))
def test_every_byte_everywhere_gives_one_answer(byte: int, minor: bytes) -> None:
    data = b"POST /a?b HTTP/1." + minor + b"\r\nHost: a.b:1\r\nContent-Length: 5\r\nX-Y: z w\r\n\r\n"
    for at in range(len(data)):
        changed = data[:at] + bytes([byte]) + data[at + 1 :]
        results = {path: readers.scan(changed, None, path) for path in readers.PATHS}
        first = results["portable"]
        if isinstance(first, int):
            assert set(results.values()) == {first}, (at, changed)
            continue
        judged = readers.judge(changed, None)
        assert isinstance(judged, Head), (at, changed)
        for result in results.values():
            assert isinstance(result, Head)
            assert readers.meaning(result) == readers.meaning(judged), (at, changed)


OPTIONS = [
    b"",
    b"Host: a",
    b"Host: a\r\nHost: a",
    b"Connection: keep-alive",
    b"Connection: Keep-Alive, close",
    b"Connection: close",
    b"Connection: upgrade, keep-alive\r\nUpgrade: a",
    b"Content-Length: 0",
    b"Content-Length: 2",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue\r\nContent-Length: 2",
    b"Expect: anything",
    b"Connection: x\r\nX: 1",
    b"X_Y: 1",
    b"TE: trailers",
]


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_both_versions_mean_what_h11_and_the_rules_make_of_them(version: bytes) -> None:
    """Framing, persistence, Host and Expect depend on the version, in requests and in responses."""
    methods = (b"GET", b"HEAD", b"POST", b"DELETE", b"TRACE")
    starts = [(method + b" /a " + version, None) for method in methods]
    starts += [(version + b" " + status, b"GET") for status in (b"103 A", b"200 OK", b"204 A", b"304 A")]
    scanned = 0
    for start, method in starts:
        for one, other in itertools.product(OPTIONS, repeat=2):
            data = b"".join(line + b"\r\n" for line in (start, one, other) if line) + b"\r\n"
            judged = readers.judge(data, method)
            for path in readers.PATHS:
                found = readers.scan(data, method, path)
                if isinstance(found, Head):
                    assert isinstance(judged, Head), data
                    assert readers.meaning(found) == readers.meaning(judged), data
                    scanned += 1
                else:
                    assert found == DECLINED, data
    assert scanned > 400 * len(readers.PATHS)


EXTENTS = [
    ("empty", b"", 0),
    ("half a line end", b"GET / HTTP/1.1\r", 0),
    ("whole", b"A\r\nb: c\r\n\r\nmore", 11),
    ("no fields", b"A\r\n\r\n", 5),
    ("bare LF", b"A\nb: c\n\n", SYNTAX),
    ("LF behind CRLF", b"A\r\nb: c\r\n\n", SYNTAX),
    ("bare CR", b"A\rB\r\n\r\n", SYNTAX),
    ("CR CR LF", b"A\r\r\n\r\n", SYNTAX),
    ("NUL", b"A\0", SYNTAX),
    ("DEL", b"A\x7f", SYNTAX),
    ("escape", b"A\x1b[0m", SYNTAX),
    ("tab is allowed", b"A\tB\r\n\r\n", 7),
    ("TLS instead of HTTP", b"\x16\x03\x01\x02\x00", SYNTAX),
    ("space first", b" A\r\n", SYNTAX),
    ("fold", b"A\r\nb: c\r\n d\r\n\r\n", SYNTAX),
    ("fold of nothing", b"A\r\nb: c\r\n \r\n\r\n", SYNTAX),
    ("empty first line", b"\r\nA\r\n\r\n", SYNTAX),
    ("two lengths", b"A\r\nContent-Length: 1\r\nb: c\r\ncontent-length:1\r\n\r\n", SYNTAX),
    ("list of lengths", b"A\r\ncontent-length: 1, 1\r\n\r\n", SYNTAX),
]


@pytest.mark.parametrize(("case", "data", "expected"), [pytest.param(*row, id=row[0]) for row in EXTENTS])
def test_extent(case: str, data: bytes, expected: int) -> None:
    for path in readers.PATHS:
        assert readers.extent(data, path=path) == expected
        seen, result = 0, 0
        while result == 0 and seen < len(data):
            result = lib.blitz_head_extent_with(path.encode(), data, seen + 1, seen, ffi.NULL)
            seen += 1
        assert result == expected
