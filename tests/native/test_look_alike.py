"""Names that others read as one. Invariant: once the rules have run and a name's other spellings are removed,
the fields that CGI would make the same variable of are those spelt as the name, and all others are there."""

from __future__ import annotations

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from blitz._native import lib
from tests.head import Head

PUNCTUATION = "-_.!#$%&'*+^`|~"
WORDS = st.sampled_from(["x", "user", "content", "length", "forwarded", "for"])
MARKS = st.text(PUNCTUATION, min_size=1, max_size=2)


@st.composite
def names(draw: st.DrawFn) -> bytes:
    """Of few words, so that many of them collide."""
    name = draw(WORDS)
    for _ in range(draw(st.integers(1, 2))):
        name += draw(MARKS) + draw(WORDS)
    return draw(st.sampled_from([str.lower, str.upper, string.capwords]))(name).encode()


def variable(name: bytes) -> bytes:
    return re.sub(b"[^A-Z0-9]", b"_", name.upper())


def spelt(field: bytes, name: bytes) -> bool:
    return field.lower() == name.lower()


# Of a field that the rules know one spelling is left, and no other name reaches it.
KNOWN = {b"CONTENT_LENGTH", b"X_FORWARDED_FOR", b"X_FORWARDED_HOST"}


@given(sent=st.lists(names(), max_size=12), name=names())
def test_what_is_left_is_spelt_as_the_name(sent: list[bytes], name: bytes) -> None:
    head = Head.request(b"GET", b"/", [(b"host", b"a"), *((one, b"%d" % i) for i, one in enumerate(sent))])
    if head.check() < 0:
        return  # content_length, a second host ...
    before = list(head.fields())
    assert not any(b"_" in field for field, _ in before)
    same = [field for field in before if spelt(field[0], name)]
    alike = [
        (field, value)
        for field, value in before
        if variable(field) == variable(name) and (spelt(field, name) or variable(field) not in KNOWN)
    ]
    assert lib.blitz_head_count(head.c, name, len(name)) == len(alike)
    assert lib.blitz_head_remove_spellings(head.c, name, len(name)) == len(alike) - len(same)
    assert list(head.fields()) == [field for field in before if field in same or field not in alike]


@given(sent=st.lists(names(), max_size=12), name=names())
def test_an_answer_has_names_as_they_are_spelt(sent: list[bytes], name: bytes) -> None:
    head = Head.response(200, [(one, b"1") for one in sent])
    assert lib.blitz_head_remove_spellings(head.c, name, len(name)) == 0
    assert lib.blitz_head_count(head.c, name, len(name)) == sum(spelt(one, name) for one in sent)
