"""TLS as a byte stream: nothing lost, nothing added, and every end what it was."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio

from blitz.server.stream import SocketStream
from blitz.server.tls_stream import RAW_SIZE, TlsError, TlsStream

from .harness import Served, authority, rig

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def contexts(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = authority().server_context("test"), authority().client_context()
    for context in (server, client):
        context.maximum_version = version
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return server, client


async def pair(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, buffer: int = 0
) -> tuple[TlsStream, TlsStream]:
    """(server, client) after a handshake; *buffer*: bytes the sockets hold, so that sending has to wait."""
    ours, theirs = socket.socketpair()
    if buffer:
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    raw = memoryview(bytearray(RAW_SIZE))
    server_context, client_context = contexts(version)
    server = TlsStream(SocketStream(ours), server_context, raw, server_side=True)
    client = TlsStream(SocketStream(theirs), client_context, raw, server_side=False, server_hostname="test")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(client.do_handshake)
    return server, client


async def send(stream: TlsStream, data: bytes) -> None:
    sent = stream.send_nowait(data)
    if sent < len(data):
        await stream.send_rest(memoryview(data)[sent:])


async def receive_all(stream: TlsStream, size: int = 64 * 1024) -> bytes:
    view = memoryview(bytearray(size))
    received = bytearray()
    while got := await stream.receive_into(view):
        received += view[:got]
    return bytes(received)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("buffer", [0, 4096])
@pytest.mark.parametrize("seed", range(4))
async def test_what_is_sent_arrives_in_both_directions_at_once(
    version: ssl.TLSVersion, buffer: int, seed: int
) -> None:
    chance = random.Random(seed)
    server, client = await pair(version, buffer)
    sent: dict[TlsStream, bytes] = {}
    got: dict[TlsStream, bytes] = {}

    async def sender(stream: TlsStream) -> None:
        pieces = [os.urandom(chance.choice((1, 7, 100, 16384, 16385, 70000, 200000))) for _ in range(20)]
        for piece in pieces:
            await send(stream, piece)
        await stream.send_eof()
        sent[stream] = b"".join(pieces)

    async def receiver(stream: TlsStream) -> None:
        got[stream] = await receive_all(stream, chance.choice((3000, 16384, 100000)))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for stream in (server, client):
                nursery.start_soon(sender, stream)
                nursery.start_soon(receiver, stream)
    assert got[server] == sent[client]
    assert got[client] == sent[server]
    server.close()
    client.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("first", ["server", "client"])
async def test_after_our_end_the_peers_stream_goes_on(version: ssl.TLSVersion, first: str) -> None:
    """Half-close in the middle of what the other side sends: not a byte of that is lost."""
    server, client = await pair(version, buffer=16384)
    ender, talker = (server, client) if first == "server" else (client, server)
    data = os.urandom(3_000_000)
    got = b""

    async def talk() -> None:
        await send(talker, data)
        await talker.send_eof()

    async def listen() -> None:
        nonlocal got
        view = memoryview(bytearray(10_000))
        while len(got) < 500_000:
            got += view[: await ender.receive_into(view)]
        await ender.send_eof()
        got += await receive_all(ender, 10_000)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            nursery.start_soon(listen)
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert await receive_all(talker) == b""
    server.close()
    client.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_cut_is_not_an_end(version: ssl.TLSVersion) -> None:
    server, client = await pair(version)
    view = memoryview(bytearray(100))
    await send(client, b"data")
    client.close()
    assert await server.receive_into(view) == 4
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_into(view)
    with pytest.raises(trio.BrokenResourceError):
        server.send_nowait(b"x")
    server.close()


async def test_what_is_quiet() -> None:
    async def nothing(peer: TlsStream) -> None:
        pass

    async def data(peer: TlsStream) -> None:
        await send(peer, b"x")

    async def end(peer: TlsStream) -> None:
        await peer.send_eof()

    async def cut(peer: TlsStream) -> None:
        peer.close()

    async def rubbish(peer: TlsStream) -> None:
        await peer.stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))

    async def part_of_a_record(peer: TlsStream) -> None:
        await peer.stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(5))

    actions: list[tuple[Callable[[TlsStream], Awaitable[None]], bool]] = [
        (nothing, True),  # TLS 1.3: the server's tickets are there, unread
        (data, False),
        (end, False),
        (cut, False),
        (rubbish, False),
    ]
    for action, quiet in actions:
        server, client = await pair()
        await action(server)
        assert client.is_quiet() == quiet, action
        server.close()
        client.close()
        assert not client.is_quiet()
    server, client = await pair()
    await part_of_a_record(server)
    client.is_quiet()  # may be either: nothing was said yet; what follows breaks it
    server.close()
    assert not client.is_quiet()
    client.close()


async def test_an_idle_stream_waits_without_being_asked_to_read() -> None:
    server, client = await pair()
    client.is_quiet()  # takes the tickets
    await send(server, b"a" * 20000)
    with trio.fail_after(20):
        await client.wait_readable()
        assert client.receive_nowait(memoryview(bytearray(10))) == 10
        await client.wait_readable()  # there is more, though not in the socket
    while client.receive_nowait(memoryview(bytearray(20000))) > 0:
        pass
    with trio.move_on_after(0.05) as scope:
        await client.wait_readable()
    assert scope.cancelled_caught
    server.close()
    client.close()


async def test_a_cancelled_send_leaves_a_broken_stream() -> None:
    server, client = await pair(buffer=4096)
    with trio.move_on_after(0.05) as scope:
        await send(server, bytes(1_000_000))
    assert scope.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        server.send_nowait(b"another message in the middle of the first")
    server.finish()  # says nothing: it would not be true
    server.close()
    with pytest.raises(trio.BrokenResourceError):
        await receive_all(client)
    client.close()


async def test_closing_wakes_who_waits() -> None:
    server, client = await pair()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.receive_into(memoryview(bytearray(10)))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        client.close()
    with pytest.raises(trio.ClosedResourceError):
        await send(client, b"x")
    await server.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        server.send_nowait(b"x")
    await server.aclose()


async def test_a_handshake_that_fails_says_why() -> None:
    ours, theirs = socket.socketpair()
    raw = memoryview(bytearray(RAW_SIZE))
    server_context, client_context = contexts()
    server = TlsStream(SocketStream(ours), server_context, raw, server_side=True)
    client = TlsStream(SocketStream(theirs), client_context, raw, server_side=False, server_hostname="other")
    async with trio.open_nursery() as nursery:

        async def ours_fails() -> None:
            with pytest.raises((TlsError, trio.BrokenResourceError)):
                await server.do_handshake()
                await server.receive_into(memoryview(bytearray(10)))

        nursery.start_soon(ours_fails)
        with pytest.raises(TlsError, match=r"certificate refused: Hostname mismatch.*'other'"):
            await client.do_handshake()
        client.close()
    server.close()


@pytest.mark.parametrize("ends_first", ["client", "upstream"])
async def test_a_tunnel_over_tls_passes_on_half_a_close(ends_first: str) -> None:
    """One side says its end while the other one is in the middle of three megabytes."""
    data = os.urandom(3_000_000)
    finished = trio.Event()
    arrived: list[bytes] = []

    async def talk(stream: TlsStream | trio.SSLStream[trio.SocketStream]) -> None:
        if isinstance(stream, TlsStream):
            await send(stream, data)
            await stream.send_eof()
        else:
            await stream.send_all(data)
            await stream.unwrap()

    async def script(served: Served) -> None:
        await served.head()
        await served.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        )
        stream = served.stream
        assert isinstance(stream, trio.SSLStream)
        if ends_first == "client":
            # trio's stream cannot read on after its own end: it is the one that talks longer.
            assert await stream.receive_some() == b"bye"
            await talk(stream)
        else:
            await stream.send_all(b"bye")
            received = bytearray()
            while len(received) < len(data):
                received += await stream.receive_some()
            arrived.append(bytes(received))
        finished.set()

    async with rig(script, parser="auto+tls") as test:
        raw = memoryview(bytearray(RAW_SIZE))
        sock = (await test.open()).socket.dup()
        client = TlsStream(
            SocketStream(_plain(sock)), contexts()[1], raw, server_side=False, server_hostname="localhost"
        )
        await client.do_handshake()
        await send(client, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        view = memoryview(bytearray(4096))
        head = b""
        while b"\r\n\r\n" not in head:
            head += view[: await client.receive_into(view)]
        rest = head.partition(b"\r\n\r\n")[2]
        with trio.fail_after(30):
            if ends_first == "client":
                await send(client, b"bye")
                await client.send_eof()
                arrived.append(rest + await receive_all(client))
            else:
                while rest != b"bye":
                    rest += view[: await client.receive_into(view)]
                await talk(client)
                assert await receive_all(client) == b""
            await finished.wait()
        client.close()
    assert hashlib.sha256(arrived[0]).digest() == hashlib.sha256(data).digest()


def _plain(sock: trio.socket.SocketType) -> socket.socket:
    """trio's socket as one of the standard library's, with a descriptor of its own."""
    return socket.socket(fileno=sock.detach())
