"""The first match is replaced, in time linear in the path."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.config.patterns import compile_pattern
from blitz.config.rewrite_regex import parse_template
from blitz.routing.rewrite import PathPattern


def replaced(regex: str, to: str, path: bytes) -> bytes | None:
    return PathPattern(compile_pattern(regex), parse_template(to)).replaced(path)


@given(
    st.text("ab/1", max_size=12), st.sampled_from(["a(b*)", "^/(a|b)", "(1)?b", "//(.*)", "x", "(a)(b)?$"])
)
def test_it_is_what_a_backtracking_engine_does(path: str, regex: str) -> None:
    found = re.search(regex, path)
    wanted = None
    if found is not None:
        wanted = path[: found.start()] + "<" + (found[1] or "") + "$" + found[0] + ">" + path[found.end() :]
    made = replaced(regex, "<$1$$$0>", path.encode())
    assert made == (wanted.encode() if wanted is not None else None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (r"/$1/\2", ("/", 1, "/", 2)),
        (r"\10", (1, "0")),
        ("$10", (10,)),
        ("$$1", ("$", "1")),
        ("$0", (0,)),
        ("/a", ("/a",)),
    ],
)
def test_templates(text: str, parts: tuple[str | int, ...]) -> None:
    assert parse_template(text) == parts


def test_bytes_that_are_no_utf8_pass_or_stay() -> None:
    assert replaced("^/(.*)$", "/x/$1", b"/a") == b"/x/a"
    made = replaced("a", "b", b"/\xffa")
    assert made in (b"/\xffb", None)
