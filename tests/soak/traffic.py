"""Steady load over real sockets: clients whose answers are looked at, hostile ones, and ones that give up."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.server.harness import Client

__all__ = ["Tally", "cancelled", "hostile", "keep_trying", "serve_upstream", "well_behaved"]

PATIENCE = 20.0  # seconds for an answer: far beyond what any limit of the gateway allows
GOOD_PAUSE, HOSTILE_PAUSE, CANCEL_PAUSE = 0.02, 0.02, 0.1
PER_CONNECTION = 50  # requests before a client begins another connection
BODY = b"b" * 3000
KEY = "x-api-key: key-of-the-soak\r\n"
HOSTILE_STATUS = (200, 500, 503)


@dataclass
class Tally:
    """What came of the requests. wrong: one sentence for each that failed, of those that may not."""

    good: int = 0
    slowest: float = 0.0
    hostile: Counter[int] = field(default_factory=Counter)
    cancelled: int = 0
    wrong: list[str] = field(default_factory=list)


async def serve_upstream(stream: trio.SocketStream) -> None:
    """Answer every request with its target; bodies of requests are read to their end."""
    client = Client(stream)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s"
    try:
        while True:
            while b"\r\n\r\n" not in client.buffer:
                data = await stream.receive_some()
                if not data:
                    return
                client.buffer += data
            head, _, rest = bytes(client.buffer).partition(b"\r\n\r\n")
            client.buffer[:] = rest
            size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if size:
                await client.exactly(int(size))
            target = head.split()[1]
            await stream.send_all(answer % (len(target), target))
    except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


async def keep_trying(session: Callable[..., Awaitable[object]], *args: Any) -> None:
    """Connection after connection, for ever."""
    while True:
        await session(*args)


async def _connect(port: int) -> Client:
    return Client(await trio.open_tcp_stream("127.0.0.1", port))


async def _ask(client: Client, path: str, number: int) -> tuple[int, dict[str, str], bytes]:
    if number % 4:
        await client.send(f"GET {path}{number} HTTP/1.1\r\nHost: soak.example\r\n{KEY}\r\n".encode())
    else:
        head = (
            f"POST {path}{number} HTTP/1.1\r\nHost: soak.example\r\n{KEY}Content-Length: {len(BODY)}\r\n\r\n"
        )
        await client.send(head.encode() + BODY)
    return await client.answer()


async def well_behaved(port: int, tally: Tally, wanted: dict[str, str]) -> None:
    """One connection's requests to each path of *wanted* in turn; its answer must have that field."""
    client = await _connect(port)
    try:
        paths = itertools.cycle(wanted.items())
        for number in range(PER_CONNECTION):
            path, name = next(paths)
            began = trio.current_time()
            try:
                with trio.fail_after(PATIENCE):
                    status, fields, body = await _ask(client, path, number)
            except (OSError, EOFError, trio.BrokenResourceError, trio.TooSlowError) as error:
                tally.wrong.append(f"{path}: {type(error).__name__}: {error}")
                return
            tally.good += 1
            tally.slowest = max(tally.slowest, trio.current_time() - began)
            if status != 200 or body != f"{path}{number}".encode() or (name and name not in fields):
                tally.wrong.append(f"{path}: status {status}, {fields}, {body[:80]!r}")
            if fields.get("connection") == "close":
                return
            await trio.sleep(GOOD_PAUSE)
    finally:
        await trio.aclose_forcefully(client.stream)


async def hostile(port: int, tally: Tally, paths: Sequence[str], chance: random.Random) -> None:
    """One connection's requests to hostile plugins. Each gets an answer, whatever it is."""
    client = await _connect(port)
    try:
        for number in range(PER_CONNECTION):
            path = chance.choice(paths)
            try:
                with trio.fail_after(PATIENCE):
                    status, fields, _ = await _ask(client, path, number)
            except (OSError, EOFError, trio.BrokenResourceError, trio.TooSlowError) as error:
                tally.wrong.append(f"{path}: {type(error).__name__}: {error}")
                return
            tally.hostile[status] += 1
            if status not in HOSTILE_STATUS:
                tally.wrong.append(f"{path}: status {status}, {fields}")
            if fields.get("connection") == "close":
                return
            await trio.sleep(HOSTILE_PAUSE)
    finally:
        await trio.aclose_forcefully(client.stream)


async def cancelled(port: int, tally: Tally, paths: Sequence[str], chance: random.Random) -> None:
    """Ask for something, and be gone before the answer: politely, or with a reset."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        await stream.send_all(f"GET {chance.choice(paths)} HTTP/1.1\r\nHost: soak.example\r\n\r\n".encode())
        await trio.sleep(chance.random() * 0.03)
        if chance.random() < 0.5:
            stream.setsockopt(_SOL_SOCKET, _SO_LINGER, _RESET)
        tally.cancelled += 1
    finally:
        await trio.aclose_forcefully(stream)
    await trio.sleep(CANCEL_PAUSE)


_SOL_SOCKET, _SO_LINGER = trio.socket.SOL_SOCKET, trio.socket.SO_LINGER
_RESET = b"\1\0\0\0\0\0\0\0"  # struct linger {1, 0}: close() resets
