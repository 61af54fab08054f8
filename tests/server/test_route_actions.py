"""What a route does besides its plugins: who may come, redirects, rewrites, fields; with both parsers."""

from __future__ import annotations

import random
import re

import msgspec
import pytest
import trio

from blitz.config import Answer, Limits, Route, Timeouts
from blitz.config.route_keys import HeaderEdits, Redirect, Rewrite, RouteTimeouts
from tests.routing.readings import CLIMBS, meanings

from .harness import Rig, Served, rig

pytestmark = pytest.mark.parametrize("parser", ["auto", "h11"])


async def mirror(served: Served) -> None:
    """Each response's body is the head of its request."""
    while True:
        head = await served.head()
        length = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
        await served.exactly(length)
        answer = b"HTTP/1.1 200 OK\r\nServer: up\r\nX-Up: 1\r\nContent-Length: %d\r\n\r\n" % len(head)
        await served.send(answer + head)


async def ask(test: Rig, head: str, body: bytes = b"") -> tuple[int, dict[str, str], str]:
    client = await test.connect()
    await client.send((head + "\r\n\r\n").encode() + body)
    status, fields, got = await client.answer(head.partition(" ")[0])
    return status, fields, got.decode()


def seen(head: str, name: str) -> list[str]:
    return re.findall(rf"(?im)^{re.escape(name)}: (.*?)\r$", head)


async def test_fields_of_requests_and_responses_are_edited(parser: str) -> None:
    route = Route(
        upstream="main",
        name="edited",
        request_headers=HeaderEdits(
            set={
                "X-Client": "${client.address} ${request.method}",
                "x-id": "${request.id}",
                "x-who": "${identity}",
            },
            add={"x-tag": "two", "x-route": "${route.name}:${path}${query}"},
            remove=["cookie"],
        ),
        response_headers=HeaderEdits(
            set={"strict-transport-security": "max-age=1", "x-status": "${response.status}"},
            remove=["server"],
        ),
    )
    async with rig(mirror, parser=parser, routes=[route]) as test:
        head = (
            "GET /a?b=1 HTTP/1.1\r\nHost: h\r\nX-Client: me\r\nX.Client: me\r\nX-Who: root\r\nX-Tag: one\r\n"
            "Cookie: a=b"
        )
        for _ in range(2):
            status, fields, got = await ask(test, head)
            assert status == 200
            assert seen(got, "x-client") == ["127.0.0.1 GET"]
            assert seen(got, "x.client") == seen(got, "cookie") == seen(got, "x-who") == []
            assert seen(got, "x-tag") == ["one", "two"]
            assert re.fullmatch("[0-9a-f]{32}", seen(got, "x-id")[0])
            assert seen(got, "x-route") == ["edited:/a?b=1"]
            assert fields["strict-transport-security"] == "max-age=1"
            assert (fields["x-status"], fields["x-up"]) == ("200", "1")
            assert "server" not in fields


async def test_responses_of_our_own_are_edited_too(parser: str) -> None:
    edits = HeaderEdits(set={"x-frame-options": "DENY"})
    routes = [
        Route(answer=Answer(status=201, body="{}", headers={"Content-Type": "application/json", "X-A": "1"})),
        Route(path="/gone", upstream="http://127.0.0.1:1"),
        Route(path="/denied", ip_deny=["127.0.0.0/8"], answer=Answer(body="secret")),
    ]
    routes = [msgspec.structs.replace(route, response_headers=edits) for route in routes]
    async with rig(parser=parser, routes=routes) as test:
        for target, expected in (("/", 201), ("/gone", 502), ("/denied", 403)):
            status, fields, body = await ask(test, f"GET {target} HTTP/1.1\r\nHost: h")
            assert (status, fields["x-frame-options"]) == (expected, "DENY")
            assert "secret" not in body
            if target == "/":
                assert (fields["content-type"], fields["x-a"], body) == ("application/json", "1", "{}")


async def test_an_answer_out_of_a_file(parser: str, tmp_path: object) -> None:
    file = tmp_path / "robots.txt"  # type: ignore[operator]
    file.write_bytes(b"\xff\x00 whatever")
    async with rig(parser=parser, routes=[Route(answer=Answer(file=str(file)))]) as test:
        client = await test.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.answer())[2] == b"\xff\x00 whatever"


LISTS = [
    (["127.0.0.1"], [], 200),
    (["10.0.0.0/8"], [], 403),
    (["127.0.0.0/8"], ["127.0.0.1"], 403),
    ([], ["127.0.0.2/31"], 200),
    ([], ["127.0.0.0/31"], 403),
    (["::/0"], [], 403),  # all of IPv6, and nothing of IPv4
    ([], ["::/0"], 200),
    (["::1"], [], 403),
]


@pytest.mark.parametrize(("allow", "deny", "expected"), LISTS)
async def test_who_may_come(parser: str, allow: list[str], deny: list[str], expected: int) -> None:
    route = Route(upstream="main", ip_allow=allow, ip_deny=deny)
    async with rig(mirror, parser=parser, routes=[route]) as test:
        assert (await test.get("/"))[0] == expected
        assert bool(test.upstream.connections) == (expected == 200)


async def test_who_may_come_is_the_client_behind_a_trusted_proxy(parser: str) -> None:
    route = Route(upstream="main", ip_allow=["192.0.2.0/24", "2001:db8::/32"])
    async with rig(mirror, parser=parser, routes=[route], trusted_proxies=["127.0.0.1"]) as test:
        for address, expected in (
            ("192.0.2.7", 200),
            ("192.0.3.7", 403),
            ("2001:db8::1", 200),
            ("nobody", 403),
        ):
            head = f"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {address}"
            assert (await ask(test, head))[0] == expected, address


REDIRECTS = [
    (Redirect(scheme="https"), "/a?b", "h:8080", 308, "https://h/a?b"),
    (Redirect(scheme="https", port=8443), "/a", "[::1]:80", 308, "https://[::1]:8443/a"),
    (Redirect(host="b.org", status=301), "/a", "h:8080", 301, "http://b.org/a"),
    (Redirect(path="/new"), "/a?b=1", "h", 308, "/new?b=1"),
    (Redirect(path="/new?c"), "/a?b=1", "h", 308, "/new?c"),
    (Redirect(path="/new${path}"), "/a", "h", 308, "/new/a"),
    (Redirect(path="${path.rest}"), "/p//evil.org", "h", 308, "/evil.org"),
    (Redirect(path="${path.rest}"), "/p/%2f/evil.org", "h", 308, "/%2f/evil.org"),
    (Redirect(scheme="https"), "//evil.org/..", "h", 308, "https://h/evil.org/.."),
    (Redirect(path="/new"), "/new?x", "h", 508, None),
    (Redirect(scheme="http"), "/new", "h:8080", 508, None),
    (Redirect(host="H"), "/new", "h", 508, None),
]


@pytest.mark.parametrize(("redirect", "target", "host", "expected", "location"), REDIRECTS)
async def test_redirects(
    parser: str, redirect: Redirect, target: str, host: str, expected: int, location: str | None
) -> None:
    prefix = "/p" if redirect.path == "${path.rest}" else "/"
    async with rig(parser=parser, routes=[Route(redirect=redirect, path_prefix=prefix)]) as test:
        status, fields, _ = await ask(test, f"GET {target} HTTP/1.1\r\nHost: {host}")
        assert (status, fields.get("location")) == (expected, location)
        assert test.upstream.connections == []


async def test_a_redirect_that_leads_nowhere_else_lets_the_request_pass(parser: str) -> None:
    route = Route(redirect=Redirect(scheme="https"), upstream="main")
    async with rig(mirror, parser=parser, routes=[route], trusted_proxies=["127.0.0.1"]) as test:
        head = "GET / HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: "
        assert (await ask(test, head + "http"))[0] == 308
        assert (await ask(test, head + "https"))[0] == 200
        # A path that stays is the same, however it is spelt: no hop more to the same place.
        for line in ("GET //a/b?c", "GET ///", "OPTIONS *"):
            assert (await ask(test, head.replace("GET /", line, 1) + "https"))[0] == 200
            assert (await ask(test, head.replace("GET /", line, 1) + "http"))[0] == 308


REWRITES = [
    (Rewrite(strip_prefix=True), "/api/x?y", "/x?y"),
    (Rewrite(strip_prefix=True), "/api", "/"),
    (Rewrite(strip_prefix=True), "/api?y", "/?y"),
    (Rewrite(strip_prefix=True), "/api/a%2Fb%20c", "/a%2Fb%20c"),
    (Rewrite(strip_prefix=True), "/api//evil.org/x", "/evil.org/x"),
    (Rewrite(strip_prefix=True), "/api/a/../b", "/a/../b"),
    (Rewrite(strip_prefix=True), "/api/a/../../x", None),
    (Rewrite(strip_prefix=True), "/api/../x", None),
    (Rewrite(strip_prefix=True), "/api/%2e%2e/x", None),
    (Rewrite(strip_prefix=True), "/api/..;/x", None),
    (Rewrite(strip_prefix=True), "/%61pi/x", None),
    (Rewrite(strip_prefix=True), "/x/../api/x", None),
    (Rewrite(replace_prefix="/v2/"), "/api/x?y", "/v2/x?y"),
    (Rewrite(replace_prefix="/v2"), "/api/../x", None),
    (Rewrite(path="/all${path}"), "/api/x?y", "/all/api/x?y"),
    (Rewrite(path="/one"), "/api/x?y", "/one?y"),
]


@pytest.mark.parametrize(("rewrite", "target", "expected"), REWRITES)
async def test_rewrites(parser: str, rewrite: Rewrite, target: str, expected: str | None) -> None:
    # All other paths lead to the same: no reading is refused for its route.
    routes = [Route(upstream="main", path_prefix="/api", rewrite=rewrite)]
    async with rig(mirror, parser=parser, routes=routes) as test:
        status, _, got = await ask(test, f"GET {target} HTTP/1.1\r\nHost: h")
        if expected is None:
            assert status in (400, 404)
            assert test.upstream.connections == []
        else:
            assert (status, got.split(" ")[1]) == (200, expected)


async def test_no_spelling_gets_out_of_a_rewritten_prefix(parser: str) -> None:
    chance = random.Random(4)
    pieces = ["/", "..", ".", "%2e", "%2f", "\\", "%5c", "a", "api", ";", "//", "%252e", "%00", "?", "b"]
    routes = [Route(upstream="main", path_prefix="/api", rewrite=Rewrite(replace_prefix="/in/side"))]
    async with rig(mirror, parser=parser, routes=routes) as test:
        passed = 0
        for _ in range(80):
            target = "/api" + "".join(chance.choices(pieces, k=chance.randint(1, 5)))
            status, _, got = await ask(test, f"GET {target} HTTP/1.1\r\nHost: h")
            if status == 200:
                passed += 1
                path = got.split(" ")[1].partition("?")[0]
                inside = (tuple(b"in"), tuple(b"side"))
                assert not path.startswith("//")
                stacks = meanings(path.encode())
                assert CLIMBS not in stacks
                assert all(stack[:2] == inside for stack in stacks), (target, path)
        assert passed > 5


async def test_a_route_bounds_bodies_and_times(parser: str) -> None:
    routes = [
        Route(upstream="main"),
        Route(upstream="main", path="/small", max_body_size=3),
        Route(upstream="main", path="/large", max_body_size=0),
    ]
    chunked = "Host: h\r\nTransfer-Encoding: chunked"
    async with rig(mirror, parser=parser, routes=routes, limits=Limits(max_body_size=5)) as test:
        for target, size, expected in (
            ("/", 5, 200), ("/", 6, 413), ("/small", 3, 200), ("/small", 4, 413), ("/large", 50, 200)
        ):  # fmt: skip
            head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}"
            assert (await ask(test, head, b"x" * size))[0] == expected, (target, size)
        status, _, _ = await ask(test, f"POST /small HTTP/1.1\r\n{chunked}", b"4\r\nabcd\r\n0\r\n\r\n")
        assert status == 413


async def silent(served: Served) -> None:
    await served.head()
    await trio.sleep_forever()


@pytest.mark.parametrize("timeouts", [RouteTimeouts(first_byte=0.1), RouteTimeouts(total=0.1)])
async def test_a_route_waits_less(parser: str, timeouts: RouteTimeouts) -> None:
    async with rig(
        silent,
        parser=parser,
        routes=[Route(upstream="main", timeouts=timeouts)],
        timeouts=Timeouts(first_byte=60),
    ) as test:
        assert (await test.get("/"))[0] == 504


async def test_a_field_that_a_client_chose_injects_nothing(parser: str) -> None:
    edits = HeaderEdits(set={"x-path": "${request.target}", "x-host": "${request.host}"})
    async with rig(mirror, parser=parser, routes=[Route(upstream="main", request_headers=edits)]) as test:
        status, _, got = await ask(test, "GET /a%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: h")
        assert (status, seen(got, "x-evil"), seen(got, "x-path")) == (200, [], ["/a%0d%0aX-Evil:%201"])
