"""Invariant: of any module the engine gets everything that means something to its code, byte for byte, and of
the rest only names of functions, each cut; of any other bytes it gets what it has to complain about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.wasm.engine import Engine
from blitz.wasm.sections import MAX_NAME, code_start, debug_sections, lean, sections
from tests.hostile.modules import custom, names_section, section, trapping

from .support import exchanging, running

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
CUSTOM = st.sampled_from([b".debug_line", b".debug_info", b"name", b"producers", b"x" * 300, b"\xff"])
NAMES = st.lists(
    st.tuples(st.integers(0, 300), st.text(max_size=MAX_NAME * 2).map(str.encode) | st.binary(max_size=300))
)
CUSTOMS = (
    st.builds(custom, CUSTOM, st.binary(max_size=40))
    | NAMES.map(names_section)
    | st.builds(lambda names, rest: names_section(names)[:-1] + rest, NAMES, st.binary(max_size=3))
)


def meaning(wasm: bytes) -> list[bytes]:
    return [wasm[one.start : one.end] for one in sections(wasm) if one.kind]


def names(wasm: bytes) -> list[bytes]:
    """The contents of the sections with names."""
    return [wasm[one.content : one.end] for one in sections(wasm) if one.name == b"name"]


@given(st.lists(CUSTOMS, max_size=3).map(b"".join), st.lists(CUSTOMS, max_size=3).map(b"".join))
def test_what_means_something_stays_byte_for_byte(before: bytes, after: bytes) -> None:
    wasm = trapping([b"f", b"g"], before=before, after=after)
    made = lean(wasm)
    assert meaning(made) == meaning(wasm)
    assert lean(made) == made
    assert {one.name for one in sections(made) if not one.kind} <= {b"name"}


@given(st.lists(CUSTOMS, max_size=4).map(b"".join))
def test_names_are_cut_and_text(after: bytes) -> None:
    for content in names(lean(trapping(after=after))):
        assert content[0] == 1  # functions' names only
        left = content
        size, at = leb(left, 1)
        assert size == len(left) - at
        count, at = leb(left, at)
        for _ in range(count):
            _, at = leb(left, at)
            length, at = leb(left, at)
            assert length <= MAX_NAME
            left[at : at + length].decode()
            at += length
        assert at == len(left)


def leb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: trapping([b"f"]) + tail))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    lean(data)
    code_start(data)
    debug_sections(data)


@given(st.binary(max_size=20))
def test_what_is_malformed_is_left_for_the_engine(tail: bytes) -> None:
    wasm = trapping() + section(11, b"\xff" * 5)[:-1] + tail
    assert lean(wasm).endswith((section(11, b"\xff" * 5)[:-1] + tail)[-3:])


@pytest.mark.parametrize("name", ["auth_custom", "rate_limiter", "request_logger"])
def test_a_module_without_custom_sections_stays_as_it_is(name: str) -> None:
    wasm = (PLUGINS / f"{name}.wasm").read_bytes()
    assert b"".join(meaning(lean(wasm))) == b"".join(meaning(wasm))


def test_padded_sizes_are_read_as_the_engine_reads_them(engine: Engine) -> None:
    """A size may be written with more bytes than it needs, and hide nothing."""
    content = b"\x04name\x01\x82\x80\x80\x80\x00\x01\x00"
    padded = b"\0" + bytes([len(content) | 128]) + b"\x80\x80\x80\x00" + content
    wasm = trapping(before=custom(b"x", b"y"), after=padded)
    with running(engine, wasm) as guest, exchanging() as exchange:
        assert guest.fails(guest.request(exchange)).frames == ("<wasm function 0>",)


def test_a_long_name_is_cut_in_a_frame(engine: Engine) -> None:
    with running(engine, trapping([b"a" * 60_000])) as guest, exchanging() as exchange:
        # The one function that is named is the one that the hook would call.
        assert guest.fails(guest.request(exchange)).frames == ("<wasm function 0>",)
    with running(engine, trapping([b"a" * 60_000] * 2)) as guest, exchanging() as exchange:
        assert guest.fails(guest.request(exchange)).frames[0] == "a" * MAX_NAME


def test_one_name_that_is_no_text_does_not_cost_the_others(
    engine: Engine, wat: Callable[[str], bytes]
) -> None:
    with running(engine, trapping([b"\xff\xfe", b"good"])) as guest, exchanging() as exchange:
        assert guest.fails(guest.request(exchange)).frames[:2] == ("good", "\ufffd\ufffd")
