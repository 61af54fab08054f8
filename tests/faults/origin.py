"""An origin that misbehaves by path: ``/good`` answers, ``/<fault>`` does what the fault says.

python -m tests.faults.origin PORT
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Awaitable, Callable

import trio

__all__ = ["GOOD", "WAYS"]

GOOD = b"good\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
START = b"HTTP/1.1 200 OK\r\n"
FOREVER = 3600.0

Way = Callable[[trio.SocketStream], Awaitable[None]]


def sends(*parts: bytes | float) -> Way:
    """Send bytes, wait seconds (or until the other side has gone), then close."""

    async def way(stream: trio.SocketStream) -> None:
        for part in parts:
            if isinstance(part, bytes):
                await stream.send_all(part)
            else:
                await _wait(stream, part)
        raise trio.BrokenResourceError

    return way


async def _wait(stream: trio.SocketStream, seconds: float) -> None:
    with trio.move_on_after(seconds):
        while await stream.receive_some():
            pass


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise trio.BrokenResourceError


async def reset_in_body(stream: trio.SocketStream) -> None:
    await stream.send_all(START + b"Content-Length: 99\r\n\r\nsome")
    await trio.sleep(0.02)
    await reset(stream)


async def trickle(stream: trio.SocketStream) -> None:
    await stream.send_all(START + b"Content-Length: 30\r\n\r\n")
    for _ in range(30):
        await stream.send_all(b"x")
        await trio.sleep(0.01)


async def interim_flood(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)


async def endless_head(stream: trio.SocketStream) -> None:
    await stream.send_all(START)
    while True:
        await stream.send_all(b"X-A: b\r\n" * 1000)


async def endless_body(stream: trio.SocketStream) -> None:
    await stream.send_all(START + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def good(stream: trio.SocketStream) -> None:
    await stream.send_all(ANSWER % (len(GOOD), GOOD))


WAYS: dict[bytes, Way] = {
    b"good": good,
    b"close": sends(),
    b"reset": reset,
    b"stall": sends(FOREVER),
    b"garbage": sends(b"\x16\x03\x01 this is no HTTP\r\n\r\n"),
    b"cut": sends(START + b"Content-Length: 99\r\n\r\nsome"),
    b"cut-chunked": sends(START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    b"reset-in-body": reset_in_body,
    b"stall-in-body": sends(START + b"Content-Length: 99\r\n\r\nsome", FOREVER),
    b"stall-in-head": sends(START + b"Content-Le", FOREVER),
    b"trickle": trickle,
    b"twice": sends(ANSWER % (2, b"ok") + ANSWER % (4, b"evil"), FOREVER),
    b"two-lengths": sends(START + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\nevil", FOREVER),
    b"unasked-101": sends(
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nevil", FOREVER
    ),
    b"interim-flood": interim_flood,
    b"endless-head": endless_head,
    b"endless-body": endless_body,
}


async def serve(stream: trio.SocketStream) -> None:
    data = bytearray()
    try:
        async with stream:
            while True:
                while b"\r\n\r\n" not in data:
                    part = await stream.receive_some()
                    if not part:
                        return
                    data += part
                head, _, rest = bytes(data).partition(b"\r\n\r\n")
                name = head.split(b" ")[1].strip(b"/")
                if name.startswith(b"early"):
                    await stream.send_all(
                        b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    )
                    return
                data = await _skip_body(stream, head, bytearray(rest))
                await WAYS[name](stream)
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, KeyError, IndexError):
        pass


async def _skip_body(stream: trio.SocketStream, head: bytes, rest: bytearray) -> bytearray:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"transfer-encoding" in fields:
        while not rest.endswith(b"0\r\n\r\n"):
            rest += await _more(stream)
        return bytearray()
    size = int(fields.get(b"content-length", 0))
    while len(rest) < size:
        rest += await _more(stream)
    return rest[size:]


async def _more(stream: trio.SocketStream) -> bytes:
    part = await stream.receive_some()
    if not part:
        raise trio.BrokenResourceError
    return bytes(part)


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=4096)
        await trio.serve_listeners(serve, listeners, handler_nursery=nursery)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
