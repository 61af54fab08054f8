"""Routes are matched on what a path means to anybody; one that means several routes is refused."""

from __future__ import annotations

import contextlib
import random
import re
import time
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blitz.errors import ClientError
from blitz.routing.match import Router, Rule
from blitz.routing.path import canonical

from .readings import STEPS

ROUTES = Router(
    [
        Rule(b"", b"/", "root"),
        Rule(b"", b"/public", "public"),
        Rule(b"", b"/admin", "admin"),
        Rule(b"", b"/projects", "projects"),
        Rule(b"", b"/a%20b", "space"),
        Rule(b"", b"/100%25", "percent"),
    ]
)

FOUND = [
    (b"/admin", "admin"),
    (b"/admin/", "admin"),
    (b"/admin?/../public", "admin"),
    (b"/public/./x", "public"),
    (b"/public//x", "public"),
    (b"/public/a%2Fb", "public"),
    (b"/public/x/../y", "public"),
    (b"/a%20b/c", "space"),
    (b"/a%20c", "root"),
    (b"/100%25/x", "percent"),
    (b"/projects/a%2Fb", "projects"),
    (b"/projects/a%5cb", "projects"),
    (b"/projects/a;v=1/b", "projects"),
    (b"/projects/A%61/b", "projects"),
    (b"/projects/..hidden/...", "projects"),
    (b"/projects/caf%C3%A9/x%20y", "projects"),
    (b"/.well-known/x", "root"),
    (b"/x%2fy", "root"),
    (b"/X/Y", "root"),
    (b"/a/../b", "root"),
    (b"/?a=/../admin", "root"),
    (b"*", "root"),
]

REFUSED = [
    pytest.param(b"/public/../admin", id="dots-kept-or-resolved"),
    pytest.param(b"/public/%2e%2e/admin/x", id="encoded-dots"),
    pytest.param(b"/x/../admin", id="dots-from-nowhere"),
    pytest.param(b"/./admin", id="one-dot"),
    pytest.param(b"//admin", id="empty-segment"),
    pytest.param(b"/%61dmin", id="needless-encoding"),
    pytest.param(b"/%2561dmin", id="decoded-twice"),
    pytest.param(b"/%25%36%31dmin", id="decoded-twice-in-another-way"),
    pytest.param(b"/%c1%a1dmin", id="overlong"),
    pytest.param(b"/x%e0%80%af..%c0%afadmin", id="overlong-slashes"),
    pytest.param(b"/Admin", id="case"),
    pytest.param(b"/admin.", id="dot-at-the-end"),
    pytest.param(b"/admin%20", id="space-at-the-end"),
    pytest.param(b"/%20admin", id="space-before"),
    pytest.param(b"/admin%09/x", id="tab"),
    pytest.param(b"/public%2f..%2fadmin", id="encoded-slashes"),
    pytest.param(b"/public%5C..%5Cadmin", id="encoded-backslashes"),
    pytest.param(b"/public\\..\\admin", id="backslashes"),
    pytest.param(b"/public/x%2f..%2f..%2fadmin", id="encoded-slashes-inside"),
    pytest.param(b"/admin%2fx", id="nginx-finds-admin"),
    pytest.param(b"/admin%252fx", id="slash-decoded-twice"),
    pytest.param(b"/admin%3fx", id="encoded-question-mark"),
    pytest.param(b"/admin%23x", id="encoded-fragment"),
    pytest.param(b"/admin%2500x", id="nul-decoded-twice"),
    pytest.param(b"/admin//../public", id="empty-segment-before-dots"),
    pytest.param(b"/admin/x/..;/..;/public", id="dots-with-parameters"),
    pytest.param(b"/public/..;/admin", id="out-of-public-by-parameters"),
    pytest.param(b"/public/%2e%2e%3b/admin", id="encoded-parameters"),
    pytest.param(b"/x;%2f..%2fpublic/../admin", id="slash-in-parameters"),
    pytest.param(b"/admin;x", id="parameters-on-a-prefix"),
    pytest.param(b"/..", id="above-the-root"),
    pytest.param(b"/public/../../admin", id="climbs"),
    pytest.param(b"/%2e%2e/admin", id="climbs-encoded"),
    pytest.param(b"/a//../../public", id="climbs-when-merged"),
    pytest.param(b"/a%2f" * 200 + b"/a" * 100, id="too-many-segments"),
]


@pytest.mark.parametrize(("target", "route"), FOUND)
def test_a_path_with_one_meaning_is_found(target: bytes, route: str) -> None:
    assert ROUTES.find(b"h", target) == route


@pytest.mark.parametrize("target", REFUSED)
def test_a_path_with_two_meanings_is_refused(target: bytes) -> None:
    with pytest.raises(ClientError, match=r"^the path (could mean|climbs|is more)"):
        ROUTES.find(b"h", target)


def test_routes_that_are_protected_alike_may_be_mixed_up() -> None:
    router = Router([Rule(b"", b"/", 1, "a"), Rule(b"", b"/x", 2, "a"), Rule(b"", b"/y", 3, "b")])
    assert router.find(b"h", b"//x") == 2
    assert router.find(b"h", b"/x/../z") == 2
    with pytest.raises(ClientError):
        router.find(b"h", b"//y")


def test_no_route_in_one_reading_is_a_difference() -> None:
    router = Router([Rule(b"", b"/x", 1)])
    assert router.find(b"h", b"/y/../z") is None
    with pytest.raises(ClientError):
        router.find(b"h", b"/y/../x")


def test_routes_that_differ_in_case_are_told_apart() -> None:
    router = Router([Rule(b"", b"/", 0), Rule(b"", b"/Api", 1), Rule(b"", b"/api", 2)])
    assert [router.find(b"h", path) for path in (b"/Api", b"/api/x", b"/apix")] == [1, 2, 0]
    with pytest.raises(ClientError):
        router.find(b"h", b"/API")


def test_hosts_are_told_apart_as_for_any_path() -> None:
    router = Router([Rule(b"h", b"/admin", 1), Rule(b"", b"/", 2)])
    assert router.find(b"h", b"/admin/./x") == 1
    assert router.find(b"other", b"/x/../admin") == 2
    assert router.find(b"other", b"/x%2f..%2fadmin") == 2  # it is the same route in all readings
    with pytest.raises(ClientError):
        router.find(b"h", b"/x%2f..%2fadmin")


HOSTILE = [
    b"/" + b"%25/" * 4095,
    b"/" + b"%252f" * 3276,
    b"/" + b"%2525" * 3276,
    b"/" + b"%2" * 8191,
    b"/" + b"%25%33%32" * 1820,
    b"/" + b"../" * 5400,
    b"/" + b"a/../" * 50,
    b"/" + b"r1/../r2/../r3/../" * 14,
    b"/" + b"".join(b"r%d/../" % n for n in range(120)),
    b"/" + b"a%2f%2e%2e;" * 127,
    b"/" + b";" * 16000,
    b"/" + b"%5c" * 5460,
    b"/" + (b"." * 60 + b"/") * 255,
    b"/" + b"a/" * 8000,
]


def test_the_work_for_a_path_is_linear_in_its_length() -> None:
    """16 KiB of the worst that is known, against as much of what every reader must do: decode it once."""
    routes = [Rule(b"", b"/", 0), *(Rule(b"", b"/r%d" % n, n) for n in range(1, 1000))]
    router = Router(routes)

    def best(work: object, path: bytes) -> float:
        times = []
        for _ in range(5):
            begin = time.process_time()
            with contextlib.suppress(ClientError):
                router.find(b"h", path) if work is router else unquote_to_bytes(path)
            times.append(time.process_time() - begin)
        return min(times)

    decoding = best(None, HOSTILE[0])
    for path in HOSTILE:
        assert best(router, path) < 10 * decoding, path[:40]


# ---------------------------------------------------------------- the path for guards


def by_steps(path: bytes) -> bytes:
    """The definition, one step after the other on the whole path."""
    text = unquote_to_bytes(path).replace(b"\\", b"/")
    text = re.sub(rb"/+", b"/", re.sub(rb";[^/]*", b"", text))
    segments = text.split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b".", b""):
            kept.append(segment)
    slash = b"/" if segments[-1] in (b"", b".", b"..") and kept else b""
    return b"/" + b"/".join(kept) + slash


TOKENS = [
    b"/",
    b".",
    b"..",
    b"a",
    b"B",
    b"%2e",
    b"%2F",
    b"%5C",
    b"\\",
    b";",
    b"%3b",
    b"%25",
    b"2f",
    b"%zz",
    b"%C3",
]


@given(st.lists(st.sampled_from(TOKENS), max_size=14).map(lambda tokens: b"/" + b"".join(tokens)))
@example(b"/a/%2e%2e")
@example(b"/..;x/..\\b//")
def test_the_canonical_path_is_what_its_steps_say(path: bytes) -> None:
    assert canonical(path) == by_steps(path)


PRIVATE = [
    b"/%70rivate/x",
    b"//private/x",
    b"/./private/x",
    b"/a/../private/x",
    b"/private%2fx",
    b"/private;x",
    b"/x/..%2fprivate/x",
    b"/x\\..\\private",
    b"/%5cprivate/",
    b"/../private",
]


@pytest.mark.parametrize("path", PRIVATE)
def test_a_guard_on_the_canonical_path_sees_through_spellings(path: bytes) -> None:
    assert canonical(path) == b"/private" or canonical(path).startswith(b"/private/")


def test_what_no_server_changes_the_canonical_path_does_not_change() -> None:
    chance = random.Random(4)
    for _ in range(2000):
        path = b"/" + b"".join(chance.choices([b"/", b".", b"a", b"B", b"-", b"~", b"x.y"], k=8))
        if all(step(path) == path for step in STEPS if step is not bytes.lower):
            assert canonical(path) == path
