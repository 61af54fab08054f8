"""A connection that the fast path serves has no task, and ends as completely as one that has."""

from __future__ import annotations

import random
import socket
import struct
from typing import Any

import pytest
import trio
import trio.lowlevel

from blitz.config import Answer, Limits, Route
from blitz.server.accepted import AcceptedConnection

from .harness import Client, Rig, Served, answering, rig, until
from .test_fast_path import OK, get, on_the_fast_path, one_after_the_other

ANSWERS = [Route(answer=Answer(200))]
PATIENCE = 20.0


def connections(test: Rig) -> list[Any]:
    return list(test.gateway._context.connections)


def left(test: Rig) -> dict[str, Any]:
    context = test.gateway._context
    found = {
        "accepted": context.accepted,
        "per address": dict(context.per_address),
        "connections": len(context.connections),
        "parked": len(context.fast_path._tables.parked),
        "slots": context.fast_path.slots[1],
        "errors": context.counters.internal_errors,
    }
    return {what: count for what, count in found.items() if count}


async def test_a_task_begins_where_the_fast_path_stops_and_stays() -> None:
    async with rig(answering(OK)) as test:
        await on_the_fast_path(test)  # leaves an upstream connection
        client = await test.connect()
        await client.send(get("/"))
        assert (await client.answer())[0] == 200
        (own,) = (one for one in connections(test) if one.nursery is None)
        await client.send(b"GET / HTTP/1.1\r\nHost : test\r\n\r\n")  # h11 reads it
        assert (await client.answer())[0] == 400
        assert own.nursery is not None


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


BEGINNINGS = (
    b"",
    b"G",
    get("/"),
    get("/")[:-2],
    get("/") + get("/"),
    get("/") + b"GET",
    b"\r\n\r\n",
    b"\x16\x03\x01",
    b"GET / HTTP/1.1\r\nHost : test\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc",
)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_becomes_of_connections_nothing_is_left(seed: int) -> None:
    chance = random.Random(seed)
    upstream = chance.random() < 0.5
    limits = Limits(max_connections_per_address=1000)
    config: dict[str, Any] = {"limits": limits} if upstream else {"routes": ANSWERS, "limits": limits}
    async with rig(answering(OK), **config) as test:

        async def one(beginning: bytes, ending: str, pause: bool) -> None:
            stream = await test.open()
            async with stream:
                try:
                    if beginning:
                        await stream.send_all(beginning)
                    if pause:
                        await trio.lowlevel.checkpoint()
                    if ending == "reset":
                        reset(stream.socket._sock)
                    elif ending == "half":
                        await stream.send_eof()
                        while await stream.receive_some():
                            pass
                    elif ending == "read" and beginning == get("/"):
                        await stream.receive_some()
                except trio.BrokenResourceError:
                    pass

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(60):
                    beginning, ending = (
                        chance.choice(BEGINNINGS),
                        chance.choice(("close", "reset", "half", "read")),
                    )
                    nursery.start_soon(one, beginning, ending, chance.random() < 0.5)
        await until(lambda: not left(test), PATIENCE)
        assert (await test.get())[0] == 200


async def test_a_fault_of_ours_where_it_stops_ends_one_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    async with rig(routes=ANSWERS) as test:
        other, client = Client(await test.open()), Client(await test.open())
        for one in (other, client):
            await one.send(get("/"))
            assert (await one.answer())[0] == 200
        monkeypatch.setattr(AcceptedConnection, "_start", broken)
        await client.send(b"GET / HTTP/1.1\r\nHost : test\r\n\r\n")
        with trio.fail_after(PATIENCE):
            assert await client.closed()
        monkeypatch.undo()
        await other.send(get("/"))
        assert (await other.answer())[0] == 200
        assert test.gateway.statistics().counters.internal_errors == 1
        for one in (other, client):
            await one.stream.aclose()
        await until(lambda: left(test) == {"errors": 1}, PATIENCE)
    assert "internal error on a connection" in caplog.text


async def test_a_drain_waits_for_an_exchange_of_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment that idle clients have is not its."""
    monkeypatch.setattr("blitz.server.connection.DRAIN_IDLE", 0.01)
    release = trio.Event()

    async def script(served: Served) -> None:
        while True:
            if b" /slow " in await served.head():
                await release.wait()
            await served.send(OK)

    async with rig(script) as test:
        client = await on_the_fast_path(test)
        await client.send(get("/slow"))
        await until(lambda: test.gateway._context.fast_path.in_flight == 1)
        test.nursery.start_soon(test.gateway.drain, PATIENCE)
        await until(lambda: test.gateway._context.draining)
        await trio.sleep(0.2)
        release.set()
        status, fields, _ = await client.answer()
        assert (status, fields["connection"]) == (200, "close")


async def test_one_that_is_abandoned_ends_at_once() -> None:
    async with rig(one_after_the_other) as test:
        await on_the_fast_path(test)
        client = await test.connect()
        await client.send(get("/stall"))
        context = test.gateway._context
        await until(lambda: context.fast_path.in_flight == 1)
        (own,) = (one for one in connections(test) if one.nursery is None)
        own.abandon()
        with trio.fail_after(PATIENCE):
            assert await client.closed()
        assert own not in connections(test)
        assert context.fast_path.in_flight == 0
        own.abandon()  # it has ended: nothing more to give back
        assert context.accepted == len(connections(test))
