"""Invariant: whatever bytes somebody else wrote, what stands for them in a log line is one line of printable
characters, and text that shows is left as it is."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blitz._native import ffi, lib
from blitz.text import one_line

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "native"))
import text_tables

MARGIN = 16
CANARY = 0xA5
# What hides, turns round, ends a line or moves a cursor.
TRICKS = (
    *"\n\r\t\x00\x1b\x7f\x85\x9b\xad",
    *"\u061c\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u2060\u2066\u2067",
    *"\u2068\u2069\u206f\ufeff\ufff9\ufffb\u034f\u115f\u3164\uffa0\u180e\ue000\ufffe\U000e0001\U000e0041",
    *"\U000e007f\U000e0100\U0010fffd\U0001d173",
)
SHOWN = ("plain text", "größe €", "日本語", "עברית", "हिन्दी", "e\u0301", "👍🏽", "❤\ufe0f", "\\x1b")


def escape(data: bytes, cap: int) -> tuple[bytes, int]:
    """What was written into *cap* bytes, and how much of *data* was used."""
    buffer = bytearray([CANARY]) * (cap + 2 * MARGIN)
    used = ffi.new("size_t *")
    dst = ffi.from_buffer("uint8_t[]", buffer) + MARGIN
    written = lib.blitz_text_escape(dst, cap, data, len(data), used)
    assert written <= cap and used[0] <= len(data)
    assert set(buffer[:MARGIN] + buffer[MARGIN + written :]) <= {CANARY}
    return bytes(buffer[MARGIN : MARGIN + written]), used[0]


def assert_one_printable_line(data: bytes) -> None:
    out, used = escape(data, 4 * len(data))
    assert used == len(data)
    text = out.decode()
    assert text.isprintable()
    assert not any(unicodedata.category(one) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp") for one in text)
    assert escape(out, len(out)) == (out, len(out))  # nothing is escaped twice


TRICKY = st.lists(st.sampled_from(TRICKS)).map("".join)
LINES = st.binary() | (st.text() | TRICKY).map(str.encode)


@given(st.lists(LINES, max_size=4).map(b"".join))
@example("".join(TRICKS).encode())
def test_any_bytes_become_one_printable_line(data: bytes) -> None:
    assert_one_printable_line(data)


@given(LINES, st.integers(0, 40))
def test_what_does_not_fit_is_left_out_whole(data: bytes, cap: int) -> None:
    out, used = escape(data, cap)
    whole, _ = escape(data, 4 * len(data))
    rest, _ = escape(data[used:], 4 * len(data))
    assert out + rest == whole
    out.decode()


def test_every_character_is_shown_or_escaped_as_the_rule_says() -> None:
    """Where this Python knows a character that Unicode 14 did not, it is escaped all the same."""
    codes = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    # A space between: what stands for one character is what is between two of them.
    shown = one_line(" ".join(map(chr, codes)).replace("   ", " \x00 ", 1)).split(" ")
    assert len(shown) == len(codes)
    for code, text in zip(codes, shown, strict=True):
        if code == 0x20:
            continue
        if text == chr(code):
            assert text_tables.is_shown(code), hex(code)
        elif code not in (0x0A, 0x0D, 0x09):
            assert text == f"\\x{code:02x}" or text == f"\\u{code:04x}" or text == f"\\U{code:08x}"
            assert not text_tables.is_shown(code) or unicodedata.unidata_version > "14.0.0", hex(code)


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="the table is that of Unicode 14")
def test_the_table_is_what_its_maker_prints() -> None:
    made = Path(text_tables.__file__).with_suffix(".h").read_text(encoding="utf-8")
    assert made == text_tables.render()


@pytest.mark.parametrize("trick", TRICKS, ids=lambda one: f"{ord(one):04x}")
def test_a_character_that_hides_or_turns_text_is_escaped(trick: str) -> None:
    text = one_line(f"a{trick}b")
    assert trick not in text and text.startswith("a\\") and text.endswith("b") and text.isprintable()


@pytest.mark.parametrize("text", SHOWN)
def test_text_that_shows_stays(text: str) -> None:
    assert one_line(text) == text


@given(st.text(st.characters(exclude_categories=())))
@example("\udcff")
@example("\ud800\udcff")
def test_any_str_becomes_one_printable_line(text: str) -> None:
    """Also one of a file name with odd octets in it, and one with lone surrogates."""
    assert one_line(text).isprintable()
    assert one_line(one_line(text)) == one_line(text)


@given(st.text() | TRICKY)
@example('"\\/\b\f')
def test_text_becomes_a_json_string(text: str) -> None:
    data = text.encode("utf-8", "replace")
    wanted = json.dumps(data.decode())[1:-1].encode()
    out = as_json(data, 6 * len(data))
    assert json.loads(b'"' + out + b'"') == data.decode()
    assert out == wanted or any(one < " " for one in text)  # control characters have short names, too
    if out:
        assert as_json(data, len(out)) == out
        assert as_json(data, len(out) - 1) == b"no room"


@given(LINES)
def test_any_bytes_become_a_json_string(data: bytes) -> None:
    out = as_json(data, 6 * len(data))
    assert out.isascii()
    assert json.loads(b'"' + out + b'"').isprintable() or escape(data, 4 * len(data))[0] != data


def as_json(data: bytes, cap: int) -> bytes:
    buffer = bytearray([CANARY]) * (cap + MARGIN)
    dst = ffi.from_buffer("uint8_t[]", buffer)
    written = lib.blitz_text_json(dst, cap, data, len(data))
    assert written <= cap
    assert set(buffer[cap:]) <= {CANARY}
    return bytes(buffer[:written]) if written >= 0 else b"no room"
