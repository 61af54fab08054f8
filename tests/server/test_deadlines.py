"""A process that was held up (stopped, moved to another machine, without a processor) does not take that time
off the waits of its peers. The clock jumps; everything else is real."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from blitz.config import Timeouts

from .harness import Client, Rig, rig

MANY = 12  # tasks of one pass run in any order: some before the wheel's, some behind it
TIME, HELD_UP = 30.0, 45.0  # seconds
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture(params=["auto", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    return request.param


async def served_once(test: Rig) -> list[Client]:
    """So many connections that wait for another request."""
    clients = [await test.connect() for _ in range(MANY)]
    for client in clients:
        await client.send(GET)
        assert (await client.answer())[0] == 200
    await trio.testing.wait_all_tasks_blocked()
    return clients


def write(client: Client, data: bytes) -> None:
    """Now, without a pass of the loop in between."""
    assert os.write(client.stream.socket.fileno(), data) == len(data)


async def test_a_wait_that_begins_behind_it_lasts_as_long_as_any(
    parser: str, mock_clock: trio.testing.MockClock
) -> None:
    async with rig(parser=parser, timeouts=Timeouts(total=TIME)) as test:
        clients = await served_once(test)
        for client in clients:
            write(client, GET)
        mock_clock.jump(HELD_UP)
        for client in clients:
            assert (await client.answer())[0] == 200


@pytest.mark.parametrize("wait", ["head", "keepalive"])
async def test_what_came_meanwhile_came_in_time(
    parser: str, wait: str, mock_clock: trio.testing.MockClock
) -> None:
    """Each was waited for in the middle of a head, or between two requests, and its time was over."""
    timeouts = Timeouts(**{"head": 1000, "keepalive": 1000, wait: TIME})
    sent = GET[:20] if wait == "head" else b""
    async with rig(parser=parser, timeouts=timeouts) as test:
        clients = await served_once(test)
        for client in clients:
            await client.send(sent)
        await trio.testing.wait_all_tasks_blocked()
        for client in clients:
            write(client, GET[len(sent) :])
        mock_clock.jump(HELD_UP)
        for client in clients:
            assert (await client.answer())[0] == 200
