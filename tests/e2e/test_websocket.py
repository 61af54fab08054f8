"""A WebSocket client and server, both trio-websocket, with the gateway between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from ..ports import free_port
from .conftest import Process

trio_websocket = pytest.importorskip("trio_websocket")

PIECE = 300_000


async def echo(request: Any) -> None:
    connection = await request.accept(subprotocol="echo" if "echo" in request.proposed_subprotocols else None)
    try:
        while True:
            message = await connection.get_message()
            if message == "bye":
                await connection.aclose(4000, "as you like")
                return
            await connection.send_message(message)
    except trio_websocket.ConnectionClosed:
        pass


@asynccontextmanager
async def open_client(url: str, **options: Any) -> AsyncIterator[Any]:
    """trio-websocket leaves its socket to the garbage collector when the server closes first."""
    async with trio_websocket.open_websocket_url(url, **options) as client:
        yield client
    await client._stream.aclose()


@asynccontextmanager
async def chain(*options: str) -> AsyncIterator[tuple[str, Process]]:
    """A WebSocket server behind a gateway; yields the URL to connect to."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, None)
        port = free_port()
        upstream = f"http://127.0.0.1:{server.port}"
        command = ("-m", "blitz", "proxy", f"127.0.0.1:{port}", upstream, *options)
        gateway = await trio.to_thread.run_sync(lambda: Process(*command, port=port))
        try:
            yield f"ws://127.0.0.1:{port}/chat?room=1", gateway
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(gateway.stop)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_messages_both_ways(parser: str) -> None:
    async with (
        chain("--set", f"http.parser={parser}") as (url, _),
        open_client(url, subprotocols=["echo"]) as client,
    ):
        assert client.subprotocol == "echo"
        for message in ("hello", "", "ünï", b"\x00\xff" * 10, b"x" * PIECE, "y" * PIECE):
            await client.send_message(message)
            assert await client.get_message() == message
        with trio.fail_after(20):
            await client.ping(b"are you there")
        await client.send_message("bye")
        with pytest.raises(trio_websocket.ConnectionClosed) as closed:
            await client.get_message()
        assert closed.value.reason.code == 4000


async def test_many_at_once() -> None:
    async with chain("--workers", "2") as (url, _):

        async def talk(number: int) -> None:
            async with open_client(url) as client:
                for turn in range(20):
                    message = f"{number} {turn}"
                    await client.send_message(message)
                    assert await client.get_message() == message

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(talk, number)


async def test_a_silent_tunnel_ends_and_a_lively_one_stays() -> None:
    async with (
        chain("--set", "timeouts.tunnel_idle=1s") as (url, _),
        open_client(url) as lively,
        open_client(url) as silent,
    ):
        for _ in range(8):
            await lively.send_message("still here")
            assert await lively.get_message() == "still here"
            await trio.sleep(0.25)
        with trio.fail_after(2), pytest.raises(trio_websocket.ConnectionClosed):
            await silent.get_message()
        await lively.send_message("and now")
        assert await lively.get_message() == "and now"
