"""Routes are chosen by what a path means, in the short lane and outside it; the upstream gets what came."""

from __future__ import annotations

import pytest

from blitz.config import Answer, Route

from .harness import rig

pytestmark = pytest.mark.parametrize("parser", ["auto", "h11"])

ROUTES = [
    Route(upstream="main"),
    Route(path_prefix="/admin", answer=Answer(status=403, body="closed")),
]


SPELLINGS = [
    *("/public/../admin", "/public/%2e%2e/admin/x", "//admin", "/%61dmin", "/./admin", "/Admin", "/admin."),
    *("/x%2f..%2fadmin", "/x/..;/admin", "/admin//../x", "/../admin", "/%2e%2e/x", "/admin%2fx", "/admin;x"),
]


@pytest.mark.parametrize("target", ["/admin", "/admin/", "/admin/x%20y", "/admin?x"])
async def test_a_path_is_found_under_its_route(parser: str, target: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        assert (await test.get(target))[0] == 403
        assert test.upstream.connections == []


@pytest.mark.parametrize("target", SPELLINGS)
async def test_two_meanings_are_refused_and_the_gateway_goes_on(parser: str, target: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        client = await test.connect()
        await client.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (400, "close")
        assert await client.closed()
        assert test.upstream.connections == []
        assert (await test.get("/"))[0] == 200


async def test_a_refused_head_request_gets_no_body(parser: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        client = await test.connect()
        await client.send(b"HEAD /../admin HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.answer("HEAD"))[0] == 400
        assert await client.closed()


@pytest.mark.parametrize("target", ["/a/../b", "/a%2fb/./c", "/%61//b", "/a;v=1/b?x=/../admin"])
async def test_the_upstream_gets_the_path_as_it_came(parser: str, target: str) -> None:
    async with rig(parser=parser, routes=ROUTES) as test:
        status, _, body = await test.get(target)
        assert status == 200
        assert body.startswith(f"GET {target}\n".encode())
