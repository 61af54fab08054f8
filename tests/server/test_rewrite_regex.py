"""`rewrite` by a pattern: what the upstream gets is a path, whatever the client asked for; with both
parsers."""

from __future__ import annotations

import random
import re

import pytest
import trio

from blitz.config import Route
from blitz.config.route_keys import HeaderEdits, Rewrite
from tests.routing.readings import CLIMBS, meanings

from .harness import Rig, rig
from .test_route_actions import mirror

pytestmark = pytest.mark.parametrize("parser", ["auto", "h11"])


def route(regex: str, to: str, prefix: str = "/") -> Route:
    return Route(upstream="main", path_prefix=prefix, rewrite=Rewrite(regex=regex, to=to))


async def got(test: Rig, target: str) -> tuple[int, str]:
    """Status, and the target that the upstream got."""
    client = await test.connect()
    await client.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    with trio.fail_after(20):
        status, _, body = await client.answer()
    await client.stream.aclose()
    return status, body.decode("latin-1").split(" ")[1] if status == 200 else ""


@pytest.mark.parametrize(
    ("regex", "to", "target", "wanted"),
    [
        ("^/old/(.*)$", "/new/$1", "/old/a/b", "/new/a/b"),
        ("^/old/(.*)$", "/new/$1", "/old/a?b=/old/c&d=$1", "/new/a?b=/old/c&d=$1"),
        ("^/old/(.*)$", "/new/$1", "/other/x?y", "/other/x?y"),
        (r"^/u/(\d+)/(\w+)$", r"/\2/\1", "/u/7/posts", "/posts/7"),
        (r"^/u/(\d+)$", r"/\11", "/u/7", "/71"),
        ("v1", "v2", "/v1/v1", "/v2/v1"),
        ("(?i)/ABC", "/x", "/abc/d", "/x/d"),
        ("^/(a)?(b)", "/$1-$2", "/b/c", "/-b/c"),
        ("b$", "$0$0", "/ab", "/abb"),
        ("a", "$$", "/a", "/$"),
        ("^/", "", "//a", "/a"),
        ("^.*$", "x", "/a", "/x"),
        ("^(.*)$", "/p$1", "/a%2Fb%20c", "/p/a%2Fb%20c"),
        ("%2e", "x", "/a%2eb", "/axb"),
    ],
)
async def test_what_the_upstream_gets(parser: str, regex: str, to: str, target: str, wanted: str) -> None:
    if not to:
        to = "/"  # an empty text is not there
    async with rig(mirror, parser=parser, routes=[route(regex, to)]) as test:
        for _ in range(2):
            assert await got(test, target) == (200, wanted)


async def test_a_path_that_is_none_or_climbs_is_refused(parser: str) -> None:
    routes = [route("^/(.*)%$", "/$1"), route("^/p/x(.*)x(.*)$", "/.$1$2", "/p"), route("a", "a" * 90, "/q")]
    async with rig(mirror, parser=parser, routes=routes) as test:
        assert (await got(test, "/p/xx./secret"))[0] == 400  # /../secret
        assert (await got(test, "/p/xx%2e/secret"))[0] == 400
        assert (await got(test, "/p/xa/x"))[0] == 200


async def test_no_path_of_a_client_leaves_where_the_pattern_leads(parser: str) -> None:
    """Of many odd paths: what goes on is a path, with the query as it came, and does not climb."""
    chosen = random.Random(9)
    pieces = [
        "a",
        "..",
        ".",
        "%2e",
        "%2e%2e",
        "//",
        "/",
        "/",
        "\\",
        "%5c",
        "%2f",
        ";x",
        "b1",
        "%",
        "@h",
        "$1",
        "1",
    ]
    routes = [
        route("^/f/(.*?)/?([a-z]*)$", "/in/$2/$1", "/f"),
        route("[./%]+(.)", "/$1", "/g"),
        route("^(.*)$", "$1$1", "/h"),
    ]
    async with rig(mirror, parser=parser, routes=routes) as test:
        passed = 0
        for _ in range(120):
            path = chosen.choice(["/f/", "/g/", "/h/"]) + "".join(
                chosen.choices(pieces, k=chosen.randint(0, 6))
            )
            status, target = await got(test, path + "?q=%2e./")
            assert status in (200, 400, 404)
            if status == 200:
                passed += 1
                made, _, query = target.partition("?")
                assert query == "q=%2e./"
                assert made.startswith("/")
                assert not made.startswith(("//", "/\\"))
                assert CLIMBS not in meanings(made.encode("latin-1"))
        assert passed > 20


async def test_fields_see_the_path_as_it_came_and_all_else_holds(parser: str) -> None:
    edits = HeaderEdits(set={"x-was": "${request.target}"})
    asked = Route(upstream="main", rewrite=Rewrite(regex="^/a", to="/b"), request_headers=edits)
    async with rig(mirror, parser=parser, routes=[asked]) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(b"POST /a?x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
            with trio.fail_after(20):
                status, _, body = await client.answer("POST")
            assert status == 200
            assert body.startswith(b"POST /b?x HTTP/1.1\r\n")
            assert re.search(rb"(?im)^x-was: /a\?x\r$", body)
