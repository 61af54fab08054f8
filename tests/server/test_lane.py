"""The short lane decides each exchange anew: what a connection asked before, or ran on, never counts."""

from __future__ import annotations

from blitz.config import Answer, Route

from .harness import answering, rig

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


async def test_a_request_behind_a_short_one_is_routed_by_itself() -> None:
    routes = [Route(path_prefix="/open", upstream="main"), Route(path_prefix="/shut", answer=Answer(403))]
    async with rig(answering(OK), routes=routes) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/open"))
            assert (await client.answer())[0] == 200
        for path, status in [("/shut", 403), ("/open", 200), ("/open", 200), ("/nowhere", 404)]:
            await client.send(get(path))
            assert (await client.answer())[0] == status, path


async def test_a_body_behind_a_short_request_is_routed_by_itself() -> None:
    routes = [Route(path_prefix="/open", upstream="main"), Route(path_prefix="/shut", answer=Answer(403))]
    async with rig(answering(OK), routes=routes) as test:
        client = await test.connect()
        for _ in range(3):
            await client.send(get("/open"))
            assert (await client.answer())[0] == 200
        await client.send(b"POST /shut HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.answer())[0] == 403
