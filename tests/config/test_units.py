"""Invariant: any text is a quantity or a ValueError of one sentence, and what is written is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.config.units import (
    DURATION_UNITS,
    MAX_DURATION,
    MAX_SIZE,
    SIZE_UNITS,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

DURATIONS = [
    ("250ms", 0.25),
    ("5s", 5.0),
    ("1m", 60.0),
    ("1h", 3600.0),
    ("1.5s", 1.5),
    ("100us", 0.0001),
    (" 5 s ", 5.0),
    ("30", 30.0),
    (30, 30.0),
    (0, 0.0),
    (0.1, 0.1),
]
SIZES = [
    ("16MiB", 16 * 2**20),
    ("64KiB", 65536),
    ("2MB", 2_000_000),
    ("1GiB", 2**30),
    ("16mib", 16 * 2**20),
    ("1.5KiB", 1536),
    ("10B", 10),
    ("10", 10),
    (2097152, 2097152),
    (0, 0),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


def test_a_bare_duration_takes_the_unit_of_its_place():
    assert parse_duration("3000", bare="ms") == 3.0
    assert parse_duration("3s", bare="ms") == 3.0


@pytest.mark.parametrize(
    "text", ["", "s", "5 parsecs", "-5s", "5S", "1m30s", "5MiB", "nan", "inf", "1e3s", "٣s"]
)
def test_a_wrong_duration_names_itself_and_what_is_allowed(text):
    with pytest.raises(ValueError, match="us, ms, s, m, h") as caught:
        parse_duration(text)
    assert f'"{text}"' in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "MiB", "5s", "16M", "-1", "1 KiB KiB", "0x10", "1e3"])
def test_a_wrong_size_names_itself_and_what_is_allowed(text):
    with pytest.raises(ValueError, match="KB, MB, GB, KiB, MiB, GiB") as caught:
        parse_size(text)
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize("number", [-1, -0.5, float("nan"), float("inf")])
def test_numbers_that_are_no_quantity_are_refused(number):
    with pytest.raises(ValueError, match="finite number of 0 or more"):
        parse_duration(number)


def test_parts_of_a_byte_and_absurd_amounts_are_refused():
    with pytest.raises(ValueError, match="whole number of bytes"):
        parse_size("1.0001KiB")
    with pytest.raises(ValueError, match="more than a year"):
        parse_duration("9000h")
    with pytest.raises(ValueError, match="larger than any machine"):
        parse_size("99999999999GiB")


@given(st.integers(0, MAX_SIZE))
def test_a_formatted_size_reads_back(size):
    assert parse_size(format_size(size)) == size


@given(st.integers(0, MAX_DURATION * 1_000_000))
def test_a_formatted_duration_reads_back(microseconds):
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(0, 1000), st.sampled_from(sorted(DURATION_UNITS)))
def test_every_duration_unit_is_its_factor(count, unit):
    assert parse_duration(f"{count}{unit}") == pytest.approx(count * float(DURATION_UNITS[unit]))


@given(st.integers(0, 1000), st.sampled_from(sorted(SIZE_UNITS)))
def test_every_size_unit_is_its_factor(count, unit):
    assert parse_size(f"{count}{unit}") == count * SIZE_UNITS[unit]


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_one_sentence(text):
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert text in str(error)
