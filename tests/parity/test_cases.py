"""Random cases say the same to every driver, wherever they are cut."""

from __future__ import annotations

import itertools

from tests.http_suite.case import TOKEN

from .exchanges import _split


def test_no_cut_divides_the_word_that_names_the_case() -> None:
    """It is replaced piece by piece: divided, it would name none, and its access line would be another's."""
    octets = b"GET /T0KEN/0 HTTP/1.1\r\n\r\nGET /T0KEN/1 HTTP/1.1\r\n\r\n"
    for cuts in itertools.product(range(0, 1000, 9), repeat=2):
        pieces = [each for each in _split(octets, list(cuts), 0.0) if isinstance(each, bytes)]
        assert b"".join(pieces) == octets
        assert sum(piece.count(TOKEN) for piece in pieces) == 2, cuts


def test_the_last_bytes_stay_in_one_piece() -> None:
    for cut in range(1000):
        assert _split(b"abcdefghij", [cut], 0.0, last=4)[-1].endswith(b"ghij")  # type: ignore[union-attr]
