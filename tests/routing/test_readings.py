"""A path passes exactly when all its readings lead to one protection; ``readings.py`` are the referees."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blitz.errors import ClientError
from blitz.routing.match import Router, Rule

from .readings import CLIMBS, meanings, pipelines, plain_route, routes_of

# value: the letter is the protection.
TABLES: list[dict[tuple[bytes, ...], str]] = [
    {(): "x", (b"a",): "y"},
    {(): "x", (b"a",): "y", (b"a", b"d"): "x2"},
    {(): "x", (b"a", b"d"): "y", (b"d",): "x2", (b"a", b"d", b"a"): "z"},
    {(): "x", (b"d",): "y", (b"a", b"a"): "y2", (b"a", b"a", b"d"): "x2"},
    {(): "x", (b"a d",): "y", (b"a",): "x2"},
]


def router(table: dict[tuple[bytes, ...], str]) -> Router[str]:
    rules = [
        Rule(b"", b"/" + b"/".join(p).replace(b" ", b"%20"), value, value[0]) for p, value in table.items()
    ]
    return Router(rules)


ROUTERS = [(table, router(table)) for table in TABLES]


def found(routes: Router[str], path: bytes) -> str | None:
    try:
        return routes.find(b"h", path)
    except ClientError:
        return None


def check_exactly(path: bytes) -> None:
    stacks = meanings(path)
    for table, routes in ROUTERS:
        values = {
            value for stack in stacks if not isinstance(stack, str) for value in routes_of(stack, table)
        }
        one = CLIMBS not in stacks and len({value[0] for value in values}) == 1
        got = found(routes, path)
        assert (got in values) if one else got is None, (path, table, values, got)


def check_pipelines(path: bytes, most: int) -> None:
    made = pipelines(path, most)
    for table, routes in ROUTERS:
        got = found(routes, path)
        if got is not None:
            assert {plain_route(one, table)[0] for one in made} == {got[0]}, (path, table)


PIECES = [
    *(
        b"/",
        b"/",
        b"/",
        b".",
        b"..",
        b"a",
        b"a",
        b"A",
        b"d",
        b"%2f",
        b"%2F",
        b"%5c",
        b"%5C",
        b"\\",
        b";",
        b"%3b",
    ),
    *(b"%2e", b"%2E%2e", b"%61", b"%41", b"%25", b"2", b"5", b"f", b"c", b"%252f", b"%252e", b"%32", b"%20"),
    *(
        b"%3f",
        b"%23",
        b"%64",
        b"%255c",
        b"%3B",
        b"%c0%af",
        b"%c0%ae",
        b"%c1%a1",
        b"%e0%80%af",
        b"%f0%80%80%ae",
    ),
]
PATHS = st.lists(st.sampled_from(PIECES), max_size=6).map(lambda pieces: b"/" + b"".join(pieces))


@settings(max_examples=150, deadline=None)
@given(PATHS)
@example(b"/a%2f..%2fd")
@example(b"/d/..;%2fx/a")
@example(b"/%2%35%36%31")
@example(b"/%c1%a1")
@example(b"/a%25c0%25af%c0%ae.%c0%afd")
def test_what_passes_is_what_has_one_protection_in_every_reading(path: bytes) -> None:
    check_exactly(path)


@pytest.mark.parametrize(
    "pieces", [(b"/", b"."), (b"/", b"a", b"%2f", b"."), (b"/a", b"/", b"..", b";", b"%5c")]
)
def test_every_path_of_a_few_pieces(pieces: tuple[bytes, ...]) -> None:
    length = {2: 8, 4: 4, 5: 4}[len(pieces)]
    paths = [b"/"]
    for _ in range(length):
        paths += [path + piece for path in paths for piece in pieces]
        paths = list(dict.fromkeys(paths))
    for path in paths:
        check_exactly(path)


CHARACTERS = b"/.;%2fF5cCe\\aAd"


def random_path(chance: random.Random) -> bytes:
    """Every other one of single characters, where few are encodings; the others of pieces."""
    if chance.random() < 0.5:
        return b"/" + bytes(chance.choices(CHARACTERS, k=chance.randint(0, 14)))
    return b"/" + b"".join(chance.choices(PIECES, k=chance.randint(0, 8)))


def test_no_order_of_what_servers_do_leads_past_the_route() -> None:
    chance = random.Random(2)
    for _ in range(700):
        check_pipelines(random_path(chance), 300)


@pytest.mark.slow
def test_no_order_of_what_servers_do_leads_past_the_route_at_length() -> None:
    chance = random.Random(3)
    for _ in range(10_000):
        check_pipelines(random_path(chance), 3000)


@pytest.mark.slow
@settings(max_examples=1_500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map(lambda pieces: b"/" + b"".join(pieces)))
def test_what_passes_is_what_has_one_protection_at_length(path: bytes) -> None:
    check_exactly(path)


@given(st.lists(st.sampled_from([b"a", b"d", b"ad", b"x-1", b"%20", b"%C3%A9", b"a%20d"]), max_size=5))
def test_a_path_without_doubt_is_never_refused(segments: list[bytes]) -> None:
    path = b"/" + b"/".join(segment.replace(b"%20", b"x%20x") for segment in segments)
    for _, routes in ROUTERS:
        assert found(routes, path) is not None
