"""SocketStream keeps trio's stream contract, and its short cuts do what they say."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from blitz.server.stream import AnyStream, SocketStream


async def make_pair() -> tuple[SocketStream, SocketStream]:
    left, right = socket.socketpair()
    return SocketStream(left), SocketStream(right)


async def make_clogged_pair() -> tuple[SocketStream, SocketStream]:
    left, right = await make_pair()
    for stream in (left, right):
        while stream.send_nowait(b"x" * 4096):
            pass
    return left, right


async def test_trio_contract() -> None:
    await trio.testing.check_half_closeable_stream(make_pair, make_clogged_pair)


async def test_receive_into_waits_and_reports_the_end() -> None:
    left, right = await make_pair()
    view = memoryview(bytearray(10))
    assert right.receive_nowait(view) == -1
    async with trio.open_nursery() as nursery:

        async def late() -> None:
            await trio.testing.wait_all_tasks_blocked()
            assert left.send_nowait(b"abc") == 3

        nursery.start_soon(late)
        assert await right.receive_into(view) == 3
    assert bytes(view[:3]) == b"abc"
    left.close()
    assert await right.receive_into(view) == 0
    right.close()


async def test_send_nowait_takes_what_fits_and_send_rest_the_rest() -> None:
    left, right = await make_pair()
    data = bytes(range(256)) * 8192
    sent = left.send_nowait(data)
    assert 0 < sent < len(data)
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.send_rest, memoryview(data)[sent:])
        while len(received) < len(data):
            received += await right.receive_some()
    assert received == data
    left.close()
    right.close()


async def test_close_wakes_who_waits() -> None:
    left, right = await make_pair()
    async with trio.open_nursery() as nursery:

        async def close_later() -> None:
            await trio.testing.wait_all_tasks_blocked()
            left.close()

        nursery.start_soon(close_later)
        with pytest.raises(trio.ClosedResourceError):
            await left.receive_into(memoryview(bytearray(1)))
    with pytest.raises(trio.ClosedResourceError):
        left.send_nowait(b"x")
    right.close()


async def test_a_broken_peer_is_said_so() -> None:
    left, right = await make_pair()
    right.close()
    with pytest.raises(trio.BrokenResourceError), trio.fail_after(20):
        while True:
            left.send_nowait(b"x")
            await trio.lowlevel.checkpoint()
    left.close()


async def test_waits_can_be_cancelled() -> None:
    left, right = await make_clogged_pair()
    fresh, other = await make_pair()
    for wait in (
        fresh.receive_into(memoryview(bytearray(1))),
        left.send_rest(memoryview(b"x" * 1_000_000)),
        fresh.wait_readable(),
    ):
        with trio.move_on_after(0.01) as scope:
            await wait
        assert scope.cancelled_caught
    for stream in (left, right, fresh, other):
        stream.close()


async def test_any_stream_has_the_same_face() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = AnyStream(ours)
    assert stream.send_nowait(b"x") == 0
    assert stream.receive_nowait(memoryview(bytearray(1))) == -1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_rest, memoryview(b"hello"))
        assert await theirs.receive_some(5) == b"hello"
    await theirs.send_all(b"back")
    view = memoryview(bytearray(10))
    assert await stream.receive_into(view) == 4
    await theirs.send_eof()
    assert await stream.receive_into(view) == 0
    await stream.aclose()
