"""Invariant: on any bytes every code path of this machine copies the prefix that Python's decoder
accepts, writes nothing outside the destination, and repairs exactly as ``errors="replace"`` does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz._native import ffi, lib

E_STATE = lib.BLITZ_E_STATE
ALL_PATHS = ("portable", "sse2", "avx2", "neon")
PATHS = [
    path for path in ALL_PATHS if lib.blitz_utf8_copy_with(path.encode(), ffi.NULL, ffi.NULL, 0) != E_STATE
]
CANARY = 0xA5
MARGIN = 64


def valid_prefix(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def assert_copies(data: bytes) -> None:
    expected = valid_prefix(data)
    for path in PATHS:
        buffer = bytearray([CANARY]) * (len(data) + 2 * MARGIN)
        dst = ffi.from_buffer("uint8_t[]", buffer) + MARGIN
        copied = lib.blitz_utf8_copy_with(path.encode(), dst, data, len(data))
        assert copied == expected, (path, data)
        assert buffer[MARGIN : MARGIN + copied] == data[:copied], (path, data)
        assert set(buffer[:MARGIN] + buffer[MARGIN + len(data) :]) == {CANARY}, (path, data)


def lossy(data: bytes, cap: int | None = None) -> tuple[int, bytes]:
    """Bytes needed, and the buffer of *cap* bytes (default: what the first call says is needed)."""
    if cap is None:
        cap = lib.blitz_utf8_lossy(ffi.NULL, 0, data, len(data))
    buffer = bytearray([CANARY]) * (cap + MARGIN)
    needed = lib.blitz_utf8_lossy(ffi.from_buffer("uint8_t[]", buffer), cap, data, len(data))
    assert set(buffer[cap:]) == {CANARY}
    return needed, bytes(buffer[:cap])


def assert_repairs(data: bytes) -> None:
    expected = data.decode(errors="replace").encode()
    assert lossy(data) == (len(expected), expected), data


def test_the_path_in_use_is_the_best_that_this_machine_has() -> None:
    assert ffi.string(lib.blitz_utf8_path()).decode() == next(
        path for path in ("avx2", "neon", "sse2", "portable") if path in PATHS
    )


def test_portable_path_is_always_there_and_an_unknown_one_is_refused() -> None:
    assert "portable" in PATHS
    assert lib.blitz_utf8_copy_with(b"mmx", ffi.NULL, ffi.NULL, 0) == E_STATE


def test_plain_copy_uses_the_chosen_path() -> None:
    data = "grüße, 世界 😀".encode() * 9 + b"\xff" + b"rest"
    buffer = bytearray(len(data))
    assert lib.blitz_utf8_copy(ffi.from_buffer("uint8_t[]", buffer), data, len(data)) == len(data) - 5
    assert buffer[: len(data) - 5] == data[:-5]


# (id, bytes): one sequence each, well-formed or not
SEQUENCES = [
    ("ascii_low", b"\x00"),
    ("ascii_high", b"\x7f"),
    ("two_first", b"\xc2\x80"),
    ("two_last", b"\xdf\xbf"),
    ("three_first", b"\xe0\xa0\x80"),
    ("before_surrogates", b"\xed\x9f\xbf"),
    ("after_surrogates", b"\xee\x80\x80"),
    ("three_last", b"\xef\xbf\xbf"),
    ("four_first", b"\xf0\x90\x80\x80"),
    ("four_last", b"\xf4\x8f\xbf\xbf"),
    ("overlong_two", b"\xc0\x80"),
    ("overlong_two_last", b"\xc1\xbf"),
    ("overlong_three", b"\xe0\x80\x80"),
    ("overlong_three_last", b"\xe0\x9f\xbf"),
    ("overlong_four", b"\xf0\x80\x80\x80"),
    ("overlong_four_last", b"\xf0\x8f\xbf\xbf"),
    ("surrogate_first", b"\xed\xa0\x80"),
    ("surrogate_last", b"\xed\xbf\xbf"),
    ("surrogate_pair", b"\xed\xa0\x80\xed\xb0\x80"),
    ("too_large_first", b"\xf4\x90\x80\x80"),
    ("too_large_lead", b"\xf5\x80\x80\x80"),
    ("five_bytes", b"\xf8\x88\x80\x80\x80"),
    ("six_bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("fe", b"\xfe"),
    ("ff", b"\xff"),
    ("lone_continuation", b"\x80"),
    ("continuations", b"\x80\xbf\x80\xbf"),
    ("lead_after_lead", b"\xe2\xe2\x82\xac"),
    ("one_continuation_too_many", b"\xc3\xa4\xa4"),
]


@pytest.mark.parametrize("sequence", [pytest.param(data, id=name) for name, data in SEQUENCES])
def test_every_truncation_at_every_offset(sequence: bytes) -> None:
    for filler in (b"a", "é".encode(), "世".encode()):
        for offset in range(64 + len(sequence)):
            before = (filler * 70)[:offset]
            before = before[: valid_prefix(before)]
            before += b"-" * (offset - len(before))
            for cut in range(1, len(sequence) + 1):
                for after in (b"", b"z", "é".encode(), b"z" * 33):
                    assert_copies(before + sequence[:cut] + after)


@pytest.mark.parametrize("length", [*range(70), 127, 128, 129, 159, 160, 161, 255, 256, 257, 1000])
def test_one_bad_byte_at_every_place_of_a_block(length: int) -> None:
    text = ("abcdefgh" * 200).encode()[:length]
    assert_copies(text)
    for place in range(length):
        assert_copies(text[:place] + b"\x80" + text[place + 1 :])
        assert_copies(text[:place] + b"\xf0" + text[place + 1 :])


def test_every_pair_of_bytes_across_every_border() -> None:
    rng = random.Random(5)
    for first in range(256):
        for second in range(256):
            at = rng.randrange(70)
            assert_copies(b"x" * at + bytes([first, second]) + b"y" * rng.randrange(70))


def test_every_code_point_is_accepted() -> None:
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for start in range(0, len(points), 4096):
        data = "".join(points[start : start + 4096]).encode()
        for path in PATHS:
            buffer = bytearray(len(data))
            copied = lib.blitz_utf8_copy_with(
                path.encode(), ffi.from_buffer("uint8_t[]", buffer), data, len(data)
            )
            assert copied == len(data)
            assert buffer == data


PIECES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(str.encode),
    st.sampled_from([data for _, data in SEQUENCES]),
    st.integers(min_value=0, max_value=70).map(lambda n: b"h" * n),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_any_bytes_copy_as_python_decodes_them(data: bytes) -> None:
    assert_copies(data)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_any_bytes_are_repaired_as_python_repairs_them(data: bytes) -> None:
    assert_repairs(data)


@pytest.mark.parametrize("sequence", [pytest.param(data, id=name) for name, data in SEQUENCES])
def test_every_truncation_is_repaired_as_python_repairs_it(sequence: bytes) -> None:
    for cut in range(1, len(sequence) + 1):
        for before in (b"", b"a", b"a" * 31, "é".encode() * 20):
            for after in (b"", b"z", b"\xa0", "世".encode()):
                assert_repairs(before + sequence[:cut] + after)


def test_repair_stops_before_the_sequence_that_does_not_fit() -> None:
    data = b"a\xff" + "é世".encode() + b"z"
    whole = "a\ufffdé世z".encode()
    for cap in range(len(whole) + 1):
        needed, written = lossy(data, cap)
        assert needed == len(whole)
        fits = next(n for n in range(cap, -1, -1) if valid_prefix(whole[:n]) == n)
        assert written == whole[:fits] + bytes([CANARY]) * (cap - fits)


def test_counting_a_large_text_needs_no_destination() -> None:
    data = "grüße".encode() * 100_000 + b"\xe2\x82"
    assert lib.blitz_utf8_lossy(ffi.NULL, 0, data, len(data)) == len(data) + 1
