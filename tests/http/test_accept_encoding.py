"""``Accept-Encoding``: the gateway's choice is that of a reader who goes through RFC 9110 section 12.5.3 word
by word, whatever is said and however it is written.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.http.accept_encoding import acceptable, choose_coding

ALL = ("zstd", "br", "gzip")
NAMES = ["gzip", "br", "zstd", "x-gzip", "identity", "*", "deflate", "compress"]


def by_the_book(said: list[tuple[str, Fraction]], offered: tuple[str, ...]) -> str | None:
    """Each coding looked up by itself; *said*: names in lower case, with their weights, in thousandths."""

    def weight(coding: str) -> Fraction | None:
        # "If the field lists the content coding": its qvalue. "x-gzip" is to be taken as "gzip".
        known_as = {"gzip": ("gzip", "x-gzip")}.get(coding, (coding,))
        listed = [value for name, value in said if name in known_as]
        return min(listed) if listed else None

    def acceptable(coding: str) -> Fraction:
        # "*" matches any available coding not explicitly listed; what matches nothing is not acceptable.
        found = weight(coding)
        if found is None:
            found = weight("*")
        return found if found is not None else Fraction(0)

    ranked = sorted(
        (one for one in offered if acceptable(one) > 0),
        key=lambda one: (-acceptable(one), offered.index(one)),
    )
    plain = weight("identity")  # not listed: acceptable, but nobody has asked for it
    if not ranked or (plain is not None and plain > acceptable(ranked[0])):
        return None
    return ranked[0]


@st.composite
def spelt(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, Fraction]]]:
    """A field value, and what it says."""
    said, members = [], []
    blank = st.sampled_from(["", " ", "\t", "  "])
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(NAMES))
        thousandths = draw(st.sampled_from([None, 0, 1, 5, 500, 999, 1000]))
        shown = "".join(draw(st.sampled_from([letter, letter.upper()])) for letter in name)
        if thousandths is None:
            weight = Fraction(1)
        else:
            weight = Fraction(thousandths, 1000)
            digits = f"{thousandths // 1000}.{thousandths % 1000:03d}"
            least = len(digits.rstrip("0").rstrip("."))
            digits = digits[: draw(st.integers(least, len(digits)))]
            shown += f"{draw(blank)};{draw(blank)}{draw(st.sampled_from('qQ'))}={digits}"
        said.append((name, weight))
        members.append(draw(blank) + shown + draw(blank))
        if draw(st.booleans()):
            members.append(
                draw(
                    st.sampled_from(
                        ["", " ", "br;q=2", "gzip;q=-1", "zstd;q=0.1234", "a b", "*;x=1", "gzip;q"]
                    )
                )
            )
    return ",".join(members).encode(), said


@given(spelt(), st.permutations(ALL), st.integers(1, 3))
@settings(max_examples=400)
def test_the_choice_is_the_one_of_the_book(
    case: tuple[bytes, list[tuple[str, Fraction]]], order: list[str], count: int
) -> None:
    value, said = case
    offered = tuple(order[:count])
    wanted = by_the_book(said, offered)
    found = choose_coding(value, tuple(one.encode() for one in offered))
    assert (found.decode() if found is not None else None) == wanted


@given(st.binary(max_size=600))
def test_any_bytes_give_one_of_the_offered_or_none(value: bytes) -> None:
    assert choose_coding(value, (b"br", b"gzip")) in (b"br", b"gzip", None)


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ("", None),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("identity", None),
        ("identity;q=0", None),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("*", "zstd"),
        ("*;q=0", None),
        ("*, zstd;q=0", "br"),
        ("gzip;q=0.5, identity;q=0.8", None),
        ("gzip;q=0.5", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", None),
    ],
)
def test_what_clients_say(said: str, chosen: str | None) -> None:
    found = choose_coding(said.encode(), (b"zstd", b"br", b"gzip"))
    assert (found.decode() if found is not None else None) == chosen


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (b"gzip;q=1, br;q=0.5, zstd;q=0.7", (b"gzip", b"zstd", b"br")),
        (b"br;q=0, *", (b"zstd", b"gzip")),
        (b"gzip;q=0.5, br, identity;q=0.7", (b"br",)),
        (b"gzip," + b" " * 5000, ()),
    ],
)
def test_all_that_a_client_takes_the_one_it_likes_best_first(said: bytes, wanted: tuple[bytes, ...]) -> None:
    assert acceptable(said, (b"zstd", b"br", b"gzip")) == wanted
