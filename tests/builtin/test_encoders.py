"""Content codings: any body, cut anyhow and flushed anywhere, is the same behind the client's decoder."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.builtin.encoders import ENCODERS, STEP, memory_of
from blitz.config.codings import brotli_package, zstd_package

CODINGS = ["gzip", "zstd", "br"]


class Decoder:
    """A client's, which is told what came, and whether that ends a body."""

    def __init__(self, coding: str) -> None:
        self._made: Any
        self._feed: Callable[[bytes], bytes]
        if coding == "gzip":
            self._made = zlib.decompressobj(31)
            self._feed = self._made.decompress
        elif coding == "zstd":
            self._made = zstd_package().ZstdDecompressor()
            self._feed = self._made.decompress
        else:
            self._made = brotli_package().Decompressor()
            self._feed = self._made.process

    def feed(self, data: bytes) -> bytes:
        return self._feed(data) if data else b""

    @property
    def ended(self) -> bool:
        return self._made.is_finished() if hasattr(self._made, "is_finished") else bool(self._made.eof)


bodies = st.one_of(
    st.binary(max_size=2000),
    st.text(alphabet="ab\n{}", max_size=2000).map(str.encode),
    st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 3000)).map(lambda one: one[0] * one[1]),
)


@pytest.mark.parametrize("coding", CODINGS)
@given(
    body=bodies,
    cuts=st.lists(st.tuples(st.integers(0, STEP), st.booleans()), max_size=20),
    level=st.integers(1, 4),
    known=st.booleans(),
)
def test_what_goes_in_comes_out(
    coding: str, body: bytes, cuts: list[tuple[int, bool]], level: int, known: bool
) -> None:
    encoder = ENCODERS[coding](level, len(body) if known else None)
    decoder = Decoder(coding)
    view, at, got = memoryview(body), 0, b""
    for size, flush in [*cuts, *[(STEP, False)] * (len(body) // STEP + 1)]:
        got += decoder.feed(encoder.compress(view[at : at + size]))
        at = min(at + size, len(body))
        if flush:
            got += decoder.feed(encoder.flush())
            assert got == body[:at], "all that was there can be read behind a flush"
    assert not decoder.ended
    got += decoder.feed(encoder.finish())
    assert got == body
    assert decoder.ended


@pytest.mark.parametrize("coding", CODINGS)
@given(size=st.integers(0, 1 << 40))
def test_what_is_held_is_bounded(coding: str, size: int) -> None:
    """Small for small bodies, and never more than for one whose size is not known."""
    assert memory_of(coding, size) <= memory_of(coding, None) <= 1152 * 1024
    assert memory_of("gzip", size) <= max(256 * 1024, 0)
    if size < 256:
        assert memory_of("gzip", size) <= 8 * 1024
