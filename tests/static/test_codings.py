"""Which coding a client gets: none that it has not asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.static.codings import accepted

ALL = ("zstd", "br", "gzip")


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (None, ()),
        (b"", ()),
        (b"gzip", ("gzip",)),
        (b"x-gzip", ("gzip",)),
        (b"GZIP, Br", ("br", "gzip")),
        (b"gzip, deflate, br, zstd", ALL),
        (b"gzip;q=1, br;q=0.5, zstd;q=0.7", ("gzip", "zstd", "br")),
        (b"br;q=0, *", ("zstd", "gzip")),
        (b"*;q=0", ()),
        (b"identity", ()),
        (b"gzip;q=0", ()),
        (b"gzip;q=0.000", ()),
        (b"gzip ; q=0.001", ("gzip",)),
        (b"gzip;q=2", ()),
        (b"gzip;level=9", ()),
        (b"gz ip", ()),
        (b",,gzip,,", ("gzip",)),
        (b"gzip," + b" " * 2000, ()),
    ],
)
def test_accepted(field: bytes | None, wanted: tuple[str, ...]) -> None:
    assert accepted(field, ALL) == wanted


@given(st.binary(max_size=80))
def test_any_bytes_accept_something_or_nothing(field: bytes) -> None:
    for coding in accepted(field, ALL):
        assert coding.encode() in field.lower() or b"*" in field
