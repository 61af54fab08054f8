"""A recording upstream: reads strictly, answers by script, keeps every byte.

One upstream serves one rig of the runner, so there is one case at a time. Requests of the case are
answered by its scripts in order, everything else with ``default_answer``. What arrives between two
cases, or carries another case's token, is a stray.
"""

from __future__ import annotations

import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import trio
import trio.lowlevel

from .case import Arrival, AwaitClientGone, Byte, Close, HalfClose, Pause, ReadBody, Reset, Script, Step
from .wire import Request, WireError, parse_request

__all__ = ["Upstream", "default_answer", "default_body"]

OTHER_TOKEN = re.compile(rb"z[0-9a-z]{4}")


def default_body(method: bytes, target: bytes, size: int) -> bytes:
    return b"%s %s %d\n" % (method, target, size)


def default_answer(request: Request) -> bytes:
    body = default_body(request.method, request.target, len(request.body))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Case: kept\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    return head if request.method == b"HEAD" else head + body


@dataclass
class Play:
    """What one case makes the upstream do, and what came of it."""

    token: bytes = b""
    scripts: tuple[Script, ...] = ()
    arrivals: list[Arrival] = field(default_factory=list)
    extras: list[Arrival] = field(default_factory=list)  # follow-ups and probes
    errors: list[str] = field(default_factory=list)
    strays: list[bytes] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    links: set[int] = field(default_factory=set)
    frozen: bool = False
    running: int = 0  # scripts at work
    client_gone: trio.Event = field(default_factory=trio.Event)  # by a step of its own


class Link:
    """One connection from the gateway."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = trio.socket.from_stdlib_socket(sock)
        self._now = sock
        self.data = bytearray()  # not yet consumed by a request
        self.eof = False
        self.served = 0
        self.continued = False  # 100 was sent for the present request
        self.tunnel = False  # switched protocols: what comes is not HTTP
        self._changed = trio.Event()

    async def read_forever(self, record: Play | None = None, upstream: Upstream | None = None) -> None:
        while not self.eof:
            try:
                part = await self.sock.recv(65536)
            except (OSError, trio.ClosedResourceError):
                part = b""
            self.data += part
            self.eof = not part
            if upstream is not None and not upstream.play.frozen:
                upstream.play.data += part
            self._changed.set()
            self._changed = trio.Event()

    async def wait_more(self) -> None:
        await self._changed.wait()

    async def send(self, data: bytes) -> None:
        """Nobody else runs meanwhile if all of it finds room: what comes next (an end) is seen with it."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._now.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Upstream:
    def __init__(self) -> None:
        self.play = Play()
        self.port = 0
        self._links: dict[int, Link] = {}
        self._count = 0
        self._changed = trio.Event()

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept until cancelled; reports its port."""
        listener = trio.socket.socket()
        await listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        self.port = listener.getsockname()[1]
        with listener:
            await self._accept(listener, task_status)

    async def _accept(self, listener: trio.socket.SocketType, task_status: trio.TaskStatus[int]) -> None:
        async with trio.open_nursery() as nursery:
            task_status.started(self.port)
            while True:
                sock, _ = await listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._count += 1
                plain = socket.socket(fileno=sock.detach())
                nursery.start_soon(self._connection, Link(self._count, plain))

    def begin(self, token: bytes, scripts: tuple[Script, ...]) -> Play:
        self.play = Play(token, scripts)
        return self.play

    async def retire_links(self) -> None:
        """End all connections, and wait until the gateway has ended them as well."""
        for link in list(self._links.values()):
            with suppress(OSError):
                link.sock.shutdown(socket.SHUT_WR)
        while self._links:
            await self.wait_change()

    def open_links(self) -> set[int]:
        """The connections that neither side has ended."""
        return {number for number, link in self._links.items() if not link.eof}

    def drop_links(self) -> None:
        """Close what a failed case may have poisoned."""
        for link in list(self._links.values()):
            link.sock.close()

    async def wait_scripts(self) -> None:
        while self.play.running:
            await self.wait_change()

    async def wait_change(self) -> None:
        """Until a request arrived, a script ended or a connection has gone."""
        await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _connection(self, link: Link) -> None:
        self._links[link.number] = link
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(link.read_forever, upstream=self))
                await self._exchanges(link)
                nursery.cancel_scope.cancel()
        except* (OSError, trio.ClosedResourceError, trio.BrokenResourceError):
            pass
        finally:
            link.sock.close()
            del self._links[link.number]
            self._notify()

    async def _exchanges(self, link: Link) -> None:
        while True:
            play = self.play
            try:
                request = parse_request(bytes(link.data))
            except WireError as error:
                self.play.errors.append(f"{error} (connection {link.number}, request {link.served + 1})")
                await link.send(b"HTTP/1.1 400 Unreadable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            if request is None:
                if link.eof:
                    return
                await link.wait_more()
                continue
            play = self.play
            script = self._arrived(link, request)
            link.served += 1
            link.continued = script is not None and script.on == "head"
            if not await self._answer(link, request, script, play):
                return

    def _arrived(self, link: Link, request: Request) -> Script | None:
        """Book the request; return its script, None for the default answer."""
        play = self.play
        arrival = Arrival(request, link.number, link.served)
        others = [word for word in OTHER_TOKEN.findall(request.target) if word != play.token]
        if others and play.token not in request.target:
            play.strays.append(request.target)
            return None
        if play.token + b"/follow" in request.target or play.token + b"/probe" in request.target:
            play.extras.append(arrival)
            return None
        play.arrivals.append(arrival)
        self._notify()
        play.links.add(link.number)
        number = len(play.arrivals) - 1
        return play.scripts[number] if number < len(play.scripts) else None

    async def _answer(self, link: Link, request: Request, script: Script | None, play: Play) -> bool:
        if (script is None or script.on == "request") and not await self._complete(link, request):
            return False
        if script is None:
            await link.send(default_answer(request))
            if b"close" in request.tokens(b"connection"):
                return False
        else:
            play.running += 1
            try:
                if not await self._run(link, request, script.steps):
                    return False
            finally:
                play.running -= 1
                self._notify()
            while link.tunnel and not link.eof:
                await link.wait_more()
            if link.tunnel or not await self._complete(link, request):
                return False
        del link.data[: request.size]
        return True

    async def _complete(self, link: Link, request: Request) -> bool:
        """Read the rest of *request* in place. False: the connection ended or went wrong first."""
        while True:
            try:
                again = parse_request(bytes(link.data))
            except WireError as error:
                self.play.errors.append(f"{error} (connection {link.number})")
                return False
            assert again is not None
            request.body, request.trailers = again.body, again.trailers
            request.complete, request.size = again.complete, again.size
            if request.complete or link.eof:
                return request.complete
            if not request.body and b"100-continue" in request.tokens(b"expect") and not link.continued:
                link.continued = True
                await link.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await link.wait_more()

    async def _run(self, link: Link, request: Request, steps: tuple[Step, ...]) -> bool:
        """Play the steps; False when they ended the connection."""
        for step in steps:
            match step:
                case bytes():
                    link.tunnel = link.tunnel or step.startswith(b"HTTP/1.1 101 ")
                    await link.send(step.replace(b"T0KEN", self.play.token))
                case Byte(data):
                    for byte in data:
                        await link.send(bytes([byte]))
                        await trio.lowlevel.checkpoint()
                case Pause(seconds):
                    await trio.sleep(seconds)
                case ReadBody():
                    await self._complete(link, request)
                case AwaitClientGone(within):
                    with trio.move_on_after(within):
                        await self.play.client_gone.wait()
                case HalfClose():
                    link.sock.shutdown(socket.SHUT_WR)
                case Close():
                    link.sock.shutdown(socket.SHUT_RDWR)
                    return False
                case Reset():
                    link.reset()
                    return False
                case _:
                    raise TypeError(f"not a step of an upstream: {step!r}")
        return True
