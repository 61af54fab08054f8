"""Routes are matched on what a path means; one that means several routes is refused."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blitz.errors import ClientError
from blitz.routing.match import Router, Rule
from blitz.routing.path import may_mean_another, plain, readings

ROUTES = Router(
    [
        Rule(b"", b"/", "root"),
        Rule(b"", b"/public", "public"),
        Rule(b"", b"/admin", "admin"),
        Rule(b"", b"/projects", "projects"),
        Rule(b"", b"/a%20b", "space"),
    ]
)

FOUND = [
    (b"/public/../admin", "admin"),
    (b"/public/..//admin", "admin"),
    (b"/public/%2e%2e/admin/x", "admin"),
    (b"/public/%2E./admin", "admin"),
    (b"/public/.%2e/admin?/../public", "admin"),
    (b"/public/x/../../admin", "admin"),
    (b"/public/./x", "public"),
    (b"/public/..", "root"),
    (b"/./admin", "admin"),
    (b"//admin", "admin"),
    (b"///admin//x", "admin"),
    (b"/public//x", "public"),
    (b"/%61dmin", "admin"),
    (b"/adm%69n/x", "admin"),
    (b"/%2561dmin", "root"),
    (b"/admin%20", "root"),
    (b"/a%20b/c", "space"),
    (b"/projects/a%2Fb", "projects"),
    (b"/projects/a%5cb", "projects"),
    (b"/projects/a;v=1/b", "projects"),
    (b"/projects/..hidden/...", "projects"),
    (b"/.well-known/x", "root"),
    (b"/x%2fy", "root"),
    (b"/?a=/../admin", "root"),
]

REFUSED = [
    pytest.param(b"/public%2f..%2fadmin", id="encoded-slashes"),
    pytest.param(b"/public%5C..%5Cadmin", id="encoded-backslashes"),
    pytest.param(b"/public/x%2f..%2f..%2fadmin", id="encoded-slashes-inside"),
    pytest.param(b"/admin%2fx", id="nginx-finds-admin"),
    pytest.param(b"/admin//../public", id="empty-segment-before-dots"),
    pytest.param(b"/admin/x/..;/..;/public", id="dots-with-parameters"),
    pytest.param(b"/public/..;/admin", id="out-of-public-by-parameters"),
    pytest.param(b"/public/%2e%2e%3b/admin", id="encoded-parameters"),
    pytest.param(b"/admin;x", id="parameters-on-a-prefix"),
    pytest.param(b"/..", id="above-the-root"),
    pytest.param(b"/public/../../admin", id="climbs"),
    pytest.param(b"/%2e%2e/admin", id="climbs-encoded"),
    pytest.param(b"/a//../../public", id="climbs-when-merged"),
]


@pytest.mark.parametrize(("target", "route"), FOUND)
def test_a_path_is_found_by_its_meaning(target: bytes, route: str) -> None:
    assert ROUTES.find(b"h", target) == route


@pytest.mark.parametrize("target", REFUSED)
def test_a_path_with_two_meanings_is_refused(target: bytes) -> None:
    with pytest.raises(ClientError):
        ROUTES.find(b"h", target)


def test_hosts_are_told_apart_as_for_any_path() -> None:
    router = Router([Rule(b"h", b"/admin", 1), Rule(b"", b"/", 2)])
    assert router.find(b"h", b"/x/../admin") == 1
    assert router.find(b"other", b"/x/../admin") == 2
    assert router.find(b"other", b"/x%2f..%2fadmin") == 2  # it is the same route in both readings


# A second implementation, from the text of RFC 3986, on a string that is eaten from the left.


def remove_dot_segments(path: str) -> str:
    """Section 5.2.4, letter by letter."""
    rest, out = path, ""
    while rest:
        if rest.startswith("../"):
            rest = rest[3:]
        elif rest.startswith(("./", "/./")):
            rest = rest[2:]
        elif rest == "/.":
            rest = "/"
        elif rest.startswith("/../"):
            rest, out = rest[3:], out[: out.rindex("/")] if "/" in out else ""
        elif rest == "/..":
            rest, out = "/", out[: out.rindex("/")] if "/" in out else ""
        elif rest in (".", ".."):
            rest = ""
        else:
            end = rest.find("/", 1)
            end = len(rest) if end < 0 else end
            rest, out = rest[end:], out + rest[:end]
    return out


def brute_plain(path: bytes) -> bytes:
    def decode(found: re.Match[str]) -> str:
        byte = unquote_to_bytes(found[0]).decode("latin-1")
        return found[0].upper() if byte in "/\\%" else byte

    text = re.sub("%[0-9A-Fa-f]{2}", decode, path.decode())
    return merged(remove_dot_segments(text).encode("latin-1"))


def brute_doubtful(path: bytes) -> bytes:
    text = re.sub("(?i)%2f|%5c", "/", path.decode())
    text = re.sub("(?i)%3b", ";", text)
    text = re.sub(";[^/]*", "", text)
    text = re.sub("/+", "/", text)
    return brute_plain(text.encode())


def merged(path: bytes) -> bytes:
    return re.sub(rb"/+", b"/", path).rstrip(b"/") or b"/"


def climbs(path: bytes) -> bool:
    """With a marker that a climb would eat: whatever the number of empty segments."""
    marker = b"/MARKER/" + b"KEEP/"
    return not brute_plain(marker[:-1] + path).startswith(b"/MARKER/KEEP")


TOKEN = st.sampled_from(
    [b"/", b"/", b".", b"..", b"a", b"b", b"%2e", b"%2E", b"%2f", b"%5C", b"%25", b"%61", b"2f", b";", b"%3b"]
)
PATHS = st.lists(TOKEN, max_size=14).map(lambda tokens: b"/" + b"".join(tokens))


@given(PATHS)
@example(b"/a//../b")
@example(b"/a/%252e%252e/b")
def test_plain_is_what_the_rfc_says(path: bytes) -> None:
    try:
        found = plain(path)
    except ClientError:
        assert climbs(path)
    else:
        assert not climbs(path)
        assert found == brute_plain(path)


@given(PATHS)
def test_both_readings_are_what_their_servers_make_of_it(path: bytes) -> None:
    try:
        usual, doubtful = readings(path)
    except ClientError:
        return
    assert usual == brute_plain(path)
    assert doubtful == brute_doubtful(path)


@given(PATHS)
def test_a_path_that_is_not_looked_at_means_what_it_spells(path: bytes) -> None:
    if not may_mean_another(path):
        assert readings(path) == (merged(path), merged(path))
        assert merged(path) == (path.rstrip(b"/") or b"/")


@given(PATHS)
def test_whoever_reads_it_finds_the_route_that_was_chosen(path: bytes) -> None:
    try:
        found = ROUTES.find(b"h", path)
    except ClientError:
        return
    for reading in (brute_plain(path), brute_doubtful(path)):
        first = reading.split(b"/")[1]
        expected = {b"public": "public", b"admin": "admin", b"projects": "projects", b"a b": "space"}
        assert found == expected.get(first, "root")
