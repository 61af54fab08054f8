"""A reverse proxy as one writes it with h11 and trio when nobody has thought about attackers.

For calibration: what h11 alone catches, and what it leaves to the proxy around it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import h11
import trio

HOP = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te", b"trailer"}
FRAMING = {b"content-length", b"transfer-encoding"}


async def receive(connection: h11.Connection, stream: trio.SocketStream) -> object:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        if connection.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await stream.send_all(connection.send(go_on) or b"")
        connection.receive_data(await stream.receive_some(65536))


def forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    headers = list(headers)
    kept = [(name, value) for name, value in headers if name not in HOP]
    if any(name == b"transfer-encoding" for name, _ in headers):
        kept = [pair for pair in kept if pair[0] not in FRAMING] + [(b"transfer-encoding", b"chunked")]
    return kept


async def body(
    source: h11.Connection, read: trio.SocketStream, sink: h11.Connection, write: trio.SocketStream
) -> None:
    while True:
        event = await receive(source, read)
        if isinstance(event, h11.Data):
            await write.send_all(sink.send(h11.Data(data=bytes(event.data))) or b"")
        elif isinstance(event, h11.EndOfMessage):
            await write.send_all(sink.send(h11.EndOfMessage()) or b"")
            return
        else:
            raise ConnectionError(f"cut off: {event!r}")


async def exchange(client: h11.Connection, down: trio.SocketStream, port: int) -> bool:
    request = await receive(client, down)
    if not isinstance(request, h11.Request):
        return False
    upstream = h11.Connection(h11.CLIENT)
    async with await trio.open_tcp_stream("127.0.0.1", port) as up:
        out = h11.Request(method=request.method, target=request.target, headers=forwarded(request.headers))
        await up.send_all(upstream.send(out) or b"")
        await body(client, down, upstream, up)
        response = await receive(upstream, up)
        while isinstance(response, h11.InformationalResponse):
            response = await receive(upstream, up)
        if not isinstance(response, h11.Response):
            raise ConnectionError("no response")
        headers = forwarded(response.headers)
        answer = h11.Response(status_code=response.status_code, headers=headers, reason=response.reason)
        await down.send_all(client.send(answer) or b"")
        await body(upstream, up, client, down)
    if client.our_state is not h11.DONE or client.their_state is not h11.DONE:
        return False
    client.start_next_cycle()
    return True


async def refuse(client: h11.Connection, down: trio.SocketStream, status: int) -> None:
    if client.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        headers = [("connection", "close"), ("content-length", "0")]
        await down.send_all(client.send(h11.Response(status_code=status, headers=headers)) or b"")


async def serve(down: trio.SocketStream, port: int) -> None:
    client = h11.Connection(h11.SERVER)
    try:
        while await exchange(client, down, port):
            pass
    except h11.RemoteProtocolError as error:
        own = client.their_state is h11.ERROR
        await refuse(client, down, error.error_status_hint if own else 502)
    except (ConnectionError, h11.LocalProtocolError):
        await refuse(client, down, 502)


async def guarded(down: trio.SocketStream, port: int) -> None:
    try:
        async with down:
            await serve(down, port)
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass


if __name__ == "__main__":
    upstream_port = int(sys.argv[2])
    trio.run(trio.serve_tcp, lambda stream: guarded(stream, upstream_port), int(sys.argv[1]))
