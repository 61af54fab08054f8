"""A path names something only if it has one reading, and nothing of it is hidden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.routing.path import canonical
from blitz.static.media_types import UNKNOWN, media_type
from blitz.static.names import MAX_NAME, file_name

from .hostile import paths


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", b""),
        ("/a", b"a"),
        ("/a/", b"a/"),
        ("/a/b.txt", b"a/b.txt"),
        ("/a%20b", b"a b"),
        ("/%61", b"a"),
        ("/100%25", b"100%"),
        ("/a%252fb", b"a%2fb"),
        ("/.well-known/x", b".well-known/x"),
        ("/a..b", b"a..b"),
        ("", None),
        ("*", None),
        ("a", None),
        ("//", None),
        ("//a", None),
        ("/a//b", None),
        ("/.", None),
        ("/..", None),
        ("/a/..", None),
        ("/a/../b", None),
        ("/%2e%2e/b", None),
        ("/a%2fb", None),
        ("/a\\b", None),
        ("/a%5cb", None),
        ("/a;b", None),
        ("/a%3bb", None),
        ("/a%00", None),
        ("/.git/config", None),
        ("/a/.env", None),
        ("/.well-knownx", None),
        ("/.WELL-KNOWN/x", None),
        ("/" + "a" * 256, None),
        ("/" + "a/" * MAX_NAME, None),
    ],
)
def test_names(path: str, name: bytes | None) -> None:
    assert file_name(path.encode()) == name


def check(path: bytes) -> None:
    name = file_name(path)
    if name is None:
        return
    # Plugins, guards and the disk see the same path.
    assert b"/" + name == canonical(path)
    segments = name.split(b"/")
    assert not name.startswith(b"/")
    assert b"\0" not in name
    assert b"\\" not in name
    assert all(one == b".well-known" or not one.startswith(b".") for one in segments)
    assert all(segments[:-1])
    assert len(name) <= MAX_NAME


@given(st.binary(max_size=40))
def test_any_path_names_what_guards_have_seen(path: bytes) -> None:
    check(path)
    check(b"/" + path)


def test_hostile_paths_name_what_guards_have_seen() -> None:
    for path in paths(7, 4000):
        check(path.encode())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"a.html", b"text/html; charset=utf-8"),
        (b"a.HTML", b"text/html; charset=utf-8"),
        (b"a.js", b"text/javascript; charset=utf-8"),
        (b"a.json", b"application/json"),
        (b"a.tar.gz", b"application/gzip"),
        (b"sub.html/a", UNKNOWN),
        (b"html", UNKNOWN),
        (b"a.", UNKNOWN),
        (b"a.exe", UNKNOWN),
        (b"a.php", UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_media_types(name: bytes, kind: bytes) -> None:
    assert media_type(name) == kind
