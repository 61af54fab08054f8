"""A name that moved is followed: no connection is used again once it is older than ``max_age``, however busy
it is, on the fast path or out of it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio

from blitz.config import Upstream

from .harness import Client, FakeUpstream, Rig, Served, answering, rig, until
from .test_upstreams import Resolver

SHORT = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
WITH_BODY = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"  # not for the fast path


class Moving:
    """app.example, which leads to one of two upstreams on the same port of two addresses."""

    def __init__(self) -> None:
        self.resolver = Resolver("127.0.0.1")
        self.places: dict[str, FakeUpstream] = {}
        self.port = 0

    async def open(self, nursery: trio.Nursery) -> None:
        trio.socket.set_custom_hostname_resolver(self.resolver)
        for address in ("127.0.0.1", "127.0.0.2"):
            listener = trio.socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await listener.bind((address, self.port))
            listener.listen()
            self.port = listener.getsockname()[1]
            upstream = FakeUpstream(saying(address))
            self.places[address] = upstream
            nursery.start_soon(trio.serve_listeners, upstream._serve, [trio.SocketListener(listener)])

    def move(self) -> None:
        self.resolver.addresses = ("127.0.0.2",)


def saying(address: str) -> Any:
    """Take a request with or without a body of three bytes; answer with *address*."""
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{address}".encode()

    async def script(served: Served) -> None:
        while True:
            if b"ontent-" in await served.head():
                await served.exactly(3)
            await served.send(answer)

    return script


async def ask(client: Client, request: bytes) -> bytes:
    await client.send(request)
    status, _, body = await client.answer()
    assert status == 200
    return body


@pytest.mark.parametrize("reuse", [True, "client"])
@pytest.mark.parametrize("request_", [pytest.param(SHORT, id="short"), pytest.param(WITH_BODY, id="long")])
async def test_a_busy_connection_is_not_used_for_ever(request_: bytes, reuse: Any) -> None:
    name = Moving()
    async with trio.open_nursery() as nursery:
        await name.open(nursery)
        main = Upstream(endpoints=[f"http://app.example:{name.port}"], max_age=0.5, reuse=reuse)
        async with rig(upstreams={"main": main}) as test:
            client = await test.connect()
            assert await ask(client, request_) == b"127.0.0.1"
            name.move()
            with trio.fail_after(20):
                while await ask(client, request_) != b"127.0.0.2":  # no pause in which it could be idle
                    pass
            assert len(name.places["127.0.0.1"].connections) < 4
        nursery.cancel_scope.cancel()


async def test_an_idle_connection_ends_at_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blitz.housekeeping.HOUSEKEEPING_INTERVAL", 0.05)
    async with rig(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), main={"max_age": 0.5}) as test:
        await test.get()
        endpoint = endpoint_of(test)
        assert endpoint.idle == 1
        await until(lambda: (endpoint.live, endpoint.idle) == (0, 0))


async def test_the_age_has_no_limit_at_0() -> None:
    name = Moving()
    async with trio.open_nursery() as nursery:
        await name.open(nursery)
        main = Upstream(endpoints=[f"http://app.example:{name.port}"], max_age=0)
        async with rig(upstreams={"main": main}) as test:
            client = await test.connect()
            for _ in range(20):
                assert await ask(client, SHORT) == b"127.0.0.1"
                name.move()
                await trio.sleep(0.02)
            assert len(name.places["127.0.0.1"].connections) == 1
        nursery.cancel_scope.cancel()


async def test_an_exchange_ends_on_the_connection_that_it_has() -> None:
    release = trio.Event()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

    async def script(served: Served) -> None:
        while True:
            await served.head()
            await served.send(answer + b"o")
            await release.wait()
            await served.send(b"k")

    async with rig(script, main={"max_age": 0.1}) as test:
        client = await test.connect()
        await client.send(SHORT)
        await trio.sleep(0.3)
        release.set()
        assert (await client.answer())[2] == b"ok"
        await until(lambda: endpoint_of(test).live == 0)


async def test_a_name_that_moved_is_followed_after_failures() -> None:
    """Each attempt asks anew where the name leads."""
    name = Moving()
    async with trio.open_nursery() as nursery:
        await name.open(nursery)
        name.resolver.addresses = ("127.0.0.3",)  # nobody there
        main = Upstream(endpoints=[f"http://app.example:{name.port}"])
        async with rig(upstreams={"main": main}) as test:
            assert [(await test.get())[0] for _ in range(2)] == [502, 502]
            name.move()
            assert (await test.get())[2] == b"127.0.0.2"
        nursery.cancel_scope.cancel()


def endpoint_of(test: Rig) -> Any:
    (endpoint,) = test.gateway._context.runtime.clusters["main"].endpoints
    return endpoint
