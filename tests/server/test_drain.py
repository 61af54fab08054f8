"""The end of a gateway's traffic: who has connected is served, what is cut off says so itself."""

from __future__ import annotations

import json
import logging
import random
import socket

import pytest
import trio

from blitz.config import Answer, Log, Route, Timeouts
from blitz.server.drain import MAX_NAMED

from .harness import Served, rig, until
from .test_access import JSON, Lines, get, lines, one_after_the_other  # noqa: F401

LONG = 1000.0
PATIENCE = 20.0
ANSWERS = [Route(answer=Answer(200, "one"))]
CAUSE = "cut off at the end of the drain"


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


@pytest.mark.parametrize("seed", range(4))
async def test_what_the_kernel_has_taken_is_served(seed: int) -> None:
    chance = random.Random(seed)
    async with rig(routes=ANSWERS) as test:
        address = test.gateway.addresses[0]
        clients = []
        for _ in range(chance.choice((1, 63, 64, 65, 300))):
            # Without a turn of the event loop: they wait in the queue.
            client = socket.create_connection(address, PATIENCE)
            if chance.random() < 0.8:
                client.sendall(get("/"))
                clients.append((client, True))
            else:
                clients.append((client, False))
        with trio.fail_after(PATIENCE):
            late = [client for client, asked in clients if not asked]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(test.gateway.drain)
                await until(lambda: test.gateway._context.draining)
                for client in late:
                    client.sendall(get("/"))
        for client, _ in clients:
            with client:
                data = read_all(client)
                assert data.startswith(b"HTTP/1.1 200 ")
                assert data.endswith(b"one")
                assert b"connection: close" in data.lower()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, PATIENCE)


async def test_new_clients_are_served_during_the_delay_and_it_can_be_cut_short() -> None:
    async with rig(routes=ANSWERS, timeouts=Timeouts(drain_delay=LONG)) as test:
        drained: list[bool] = []

        async def drain() -> None:
            drained.append(await test.gateway.drain())

        test.nursery.start_soon(drain)
        await until(lambda: test.gateway.why_not_ready() == "draining")
        assert test.gateway.status().ready is False
        for _ in range(3):
            assert (await test.get())[0] == 200
        assert drained == []
        with trio.fail_after(PATIENCE):
            assert await test.gateway.drain(grace=0, delay=0) is True
            await until(lambda: drained == [True])
        with pytest.raises(OSError):
            await test.open()


async def half(served: Served) -> None:
    """Answers the half of it, or nothing."""
    while True:
        head = await served.head()
        if b" /half " in head:
            await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        if b" /ok " not in head:
            await trio.sleep_forever()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("log", [JSON, Log(access="off")])
async def test_what_is_cut_off_is_named_and_has_its_own_cause(
    log: Log,
    lines: Lines,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "blitz.server")
    async with rig(half, log=log) as test:
        short, posted, begun = [await test.connect() for _ in range(3)]
        for _ in range(2):  # the fast path takes it from its second exchange on
            await short.send(get("/ok"))
            await short.answer()
        await short.send(get("/short?secret=1"))
        await posted.send(b"POST /posted HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhe")
        await begun.send(get("/half"))
        assert (await begun.head())[0] == 200
        await until(lambda: test.gateway.statistics().in_flight == 3)
        idle = await test.connect()
        await until(lambda: test.gateway.statistics().connections == 4)
        with trio.fail_after(PATIENCE):
            assert await test.gateway.drain(grace=0.1) is False
            assert test.gateway.drain_statistics() == (3, 3)
            for client in (short, posted):
                code, fields, _ = await client.answer()
                assert (code, fields["connection"]) == (503, "close")
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await begun.exactly(10)
            assert await idle.closed()
        said = "\n".join(record.getMessage() for record in caplog.records)
        assert "drain: begun with connections: 4, exchanges in flight: 3" in said
        assert "drain: exchanges cut off: 3" in said
        for path in ("GET /short", "POST /posted", "GET /half"):
            assert f"cut off: {path} (route route-0, client 127.0.0.1, " in said
        assert "secret" not in said
        if log.access == "json":
            found = [json.loads(line) for line in await lines.wait(5)]
            cut = {line["target"]: line for line in found if line["target"] != "/ok"}
            assert {target: line["status"] for target, line in cut.items()} == {
                "/short?secret=1": 503,
                "/posted": 503,
                "/half": 200,
            }
            assert all(line["error"].startswith(CAUSE) for line in cut.values())


async def test_only_some_are_named(caplog: pytest.LogCaptureFixture) -> None:
    async with rig(one_after_the_other) as test:
        for _ in range(MAX_NAMED + 5):
            client = await test.connect()
            await client.send(get("/stall"))
        await until(lambda: test.gateway.statistics().in_flight == MAX_NAMED + 5)
        with trio.fail_after(PATIENCE):
            assert await test.gateway.drain(grace=0) is False
        said = [record.getMessage() for record in caplog.records if record.name == "blitz.server"]
        assert sum("cut off: GET /stall" in line for line in said) == MAX_NAMED
        assert "drain: cut off: 5 more" in said


async def test_one_that_ends_in_time_is_not_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "blitz.server")
    release = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await release.wait()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with rig(script) as test:
        client = await test.connect()
        await client.send(get("/"))
        await until(lambda: test.gateway.statistics().in_flight == 1)
        test.nursery.start_soon(test.gateway.drain)
        await until(lambda: test.gateway._context.draining)
        release.set()
        with trio.fail_after(PATIENCE):
            assert (await client.answer())[0] == 200
            await test.gateway.wait_drained()
        assert test.gateway.drain_statistics() == (1, 0)
        assert "nothing was cut off" in caplog.text


async def test_a_tunnel_goes_on_until_the_drain_is_over(lines: Lines) -> None:  # noqa: F811
    async def script(served: Served) -> None:
        await served.head()
        await served.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        await served.send(await served.exactly(4))
        await trio.sleep_forever()

    async with rig(script, log=JSON) as test:
        client = await test.connect()
        await client.send(
            b"GET /chat HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        assert (await client.head())[0] == 101
        test.nursery.start_soon(test.gateway.drain)
        await until(lambda: test.gateway._context.draining)
        await client.send(b"ping")
        assert await client.exactly(4) == b"ping"
        with trio.fail_after(PATIENCE):
            assert await test.gateway.drain(grace=0) is False
            assert await client.closed()
        line = await lines.only()
        assert (line["status"], line["target"]) == (101, "/chat")
        assert line["error"].startswith(CAUSE)
