"""A proxy that copies bytes both ways. It keeps nothing that a gateway promises: the suite must say so."""

from __future__ import annotations

import sys

import trio


async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for part in source:
            await sink.send_all(part)
        await sink.send_eof()
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def serve(down: trio.SocketStream, port: int) -> None:
    try:
        async with down, await trio.open_tcp_stream("127.0.0.1", port) as up, trio.open_nursery() as nursery:
            nursery.start_soon(copy, down, up)
            await copy(up, down)
            nursery.cancel_scope.cancel()
    except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass


if __name__ == "__main__":
    upstream_port = int(sys.argv[2])
    trio.run(trio.serve_tcp, lambda stream: serve(stream, upstream_port), int(sys.argv[1]))
