"""A small HTTP/1.1 server that tells what reached it, to look at a gateway from behind.

    /status/NNN          that status
    /big?size=10MiB      so many bytes, always the same ones
    /stream?n=5&every=1s server-sent events
    anything else        what the request was, as JSON

It trusts its clients: no limits, no timeouts. Not for production.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio

from blitz.config import parse_duration, parse_size

__all__ = ["serve_upstream"]

READ_SIZE = 64 * 1024
PATTERN = bytes(range(256)) * 256  # 64 KiB that a reader can check
SERVER = (b"server", b"blitz-demo-upstream")


async def serve_upstream(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; ``nursery.start`` gets (host, port) as bound."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    address = listeners[0].socket.getsockname()
    task_status.started((address[0], address[1]))
    await trio.serve_listeners(_serve_connection, listeners)


async def _serve_connection(stream: trio.SocketStream) -> None:
    machine = h11.Connection(h11.SERVER)
    wire = _Wire(stream, machine)
    async with stream:
        try:
            while await _serve_exchange(wire):
                machine.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if machine.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await _send(wire, 400, "text/plain; charset=utf-8", f"{error}\n".encode())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the peer broke off: nobody is there to tell


class _Wire:
    """One connection: h11's machine and the stream under it.

    Attributes:
        bodiless: the request was HEAD: an answer's length is told, its body is not sent.
    """

    def __init__(self, stream: trio.SocketStream, machine: h11.Connection) -> None:
        self.stream = stream
        self.machine = machine
        self.bodiless = False

    async def receive(self) -> Any:
        """Next h11 event from the peer."""
        while True:
            event = self.machine.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.machine.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.machine.receive_data(await self.stream.receive_some(READ_SIZE))

    async def send(self, event: Any) -> None:
        if self.bodiless and isinstance(event, h11.Data):
            return
        data = self.machine.send(event)
        if data:
            await self.stream.send_all(data)

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the request body."""
        while True:
            event = await self.receive()
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)


async def _serve_exchange(wire: _Wire) -> bool:
    """Answer one request. -> another may follow."""
    request = await wire.receive()
    if not isinstance(request, h11.Request):
        return False
    wire.bodiless = request.method == b"HEAD"
    size, digest = 0, hashlib.sha256()
    async for part in wire.body():
        size += len(part)
        digest.update(part)
    url = urlsplit(request.target.decode("ascii"))
    options = {name: values[-1] for name, values in parse_qs(url.query).items()}
    try:
        await _answer(wire, request, url.path, options, {"size": size, "sha256": digest.hexdigest()})
    except ValueError as error:
        await _send(wire, 400, "text/plain; charset=utf-8", f"{error}\n".encode())
    return wire.machine.our_state is h11.DONE and wire.machine.their_state is h11.DONE


async def _answer(
    wire: _Wire, request: h11.Request, path: str, options: dict[str, str], body: dict[str, object]
) -> None:
    first, _, rest = path.lstrip("/").partition("/")
    if first == "status" and rest.isascii() and rest.isdigit() and 200 <= int(rest) <= 599:
        await _send(wire, int(rest), "text/plain; charset=utf-8", _reason(int(rest)) + b"\n")
    elif first == "big":
        await _send_big(wire, parse_size(options.get("size", "1MiB")))
    elif first == "stream":
        await _send_events(wire, int(options.get("n", "5")), parse_duration(options.get("every", "500ms")))
    else:
        told = {
            "method": request.method.decode("ascii"),
            "target": request.target.decode("ascii"),
            "headers": [[name.decode("ascii"), value.decode("latin-1")] for name, value in request.headers],
            "body": body,
        }
        await _send(wire, 200, "application/json", _readable(told).encode())


def _readable(told: dict[str, Any]) -> str:
    """JSON with one header per line."""
    lines = ",\n".join("    " + json.dumps(pair) for pair in told["headers"])
    parts = {name: json.dumps(value) for name, value in told.items()} | {"headers": f"[\n{lines}\n  ]"}
    return "{\n" + ",\n".join(f'  "{name}": {value}' for name, value in parts.items()) + "\n}\n"


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Status %d" % status


async def _send(wire: _Wire, status: int, kind: str, body: bytes) -> None:
    bodiless = status in (204, 304)
    headers = [SERVER] if bodiless else [SERVER, (b"content-type", kind.encode()), _length(len(body))]
    await wire.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
    if not bodiless:
        await wire.send(h11.Data(data=body))
    await wire.send(h11.EndOfMessage())


async def _send_big(wire: _Wire, size: int) -> None:
    headers = [SERVER, (b"content-type", b"application/octet-stream"), _length(size)]
    await wire.send(h11.Response(status_code=200, headers=headers, reason=b"OK"))
    while size and not wire.bodiless:
        part = PATTERN[:size]
        await wire.send(h11.Data(data=part))
        size -= len(part)
    await wire.send(h11.EndOfMessage())


async def _send_events(wire: _Wire, count: int, every: float) -> None:
    headers = [SERVER, (b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await wire.send(h11.Response(status_code=200, headers=headers, reason=b"OK"))
    for number in range(count):
        if number:
            await trio.sleep(every)
        await wire.send(h11.Data(data=b"id: %d\ndata: tick %d\n\n" % (number, number)))
    await wire.send(h11.EndOfMessage())


def _length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size)
