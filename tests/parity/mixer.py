"""Many clients at once on one gateway, each with its own numbers: nobody may get what is another's.

``python -m tests.parity.mixer --driver fast-tls --seconds 600 --seed 7`` goes on for as long as that; the
default suite has a short form. Each request has a number that its body, the response's body and a field of
both follow from, and asks for the way in which it is answered. Clients and upstreams cut what they send into
pieces and go away in the middle. Nobody says more than was asked: what comes behind a response, after
the next request has left, cannot be told from its response.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import trio

import blitz
from tests.http_suite.link import TlsLink, certificate, connect
from tests.http_suite.wire import WireError, parse_request, parse_responses

from .drivers import DRIVERS, Driver, as_driver, forcible
from .filters import credentials, serve_copies
from .rig import serve_streams
from .settings import Setting

__all__ = ["Mix", "mix"]

CLIENTS = 12
SIZES = (0, 1, 10, 500, 5000, 20_000, 90_000)
WAYS = ("length", "chunked", "close", "cut", "reset", "early")
METHODS = (b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT")
PATIENCE = 20.0
GONE = (OSError, trio.ClosedResourceError, trio.BrokenResourceError)
HEAD = (
    b"%b /%d/%d/%b HTTP/1.1\r\nHost: gw.test\r\nX-Number: %d\r\n%bTransfer-Encoding: chunked\r\n\r\n",
    b"%b /%d/%d/%b HTTP/1.1\r\nHost: gw.test\r\nX-Number: %d\r\n%bContent-Length: %d\r\n\r\n",
)


def body_of(number: int, size: int) -> bytes:
    """That of a message with *number*: text that would be another message if it were ever read as one."""
    text = b"\r\n\r\nGET /%d HTTP/1.1\r\nHost: other\r\nX-Number: 0\r\n\r\n%d " % (number, number)
    return (text * (size // len(text) + 1))[:size]


def chunked(body: bytes) -> bytes:
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:900], body[900:]) if part)
        + b"0\r\n\r\n"
    )


@dataclass
class Mix:
    """What came of it: *wrong* has a sentence for everything that must not be."""

    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    seen: set[int] = field(default_factory=set)  # by the upstream

    # -- the upstream

    async def serve(self, stream: trio.SocketStream) -> None:
        chance = random.Random(next(self.numbers) * 31 + self.seed)
        data = bytearray()
        with contextlib.suppress(*GONE):
            async with stream:
                while await self._answer(stream, data, chance):
                    pass

    async def _answer(self, stream: trio.SocketStream, data: bytearray, chance: random.Random) -> bool:
        while True:
            try:
                request = parse_request(bytes(data))
            except WireError as error:
                self.wrong.append(f"the upstream got {error}")
                return False
            if request is not None and (request.complete or request.target.endswith(b"early")):
                break
            part = await stream.receive_some()
            if not part:
                return False
            data += part
        number, size, way = request.target[1:].split(b"/")
        if request.get(b"x-number") != [number]:
            self.wrong.append(f"{request.target!r} has the number {request.get(b'x-number')!r}")
        if body_of(int(number), len(request.body)) != request.body:
            self.wrong.append(f"{request.target!r} has another's body")
        if int(number) in self.seen and request.method in (b"POST", b"PATCH"):
            self.wrong.append(f"{request.target!r} came twice")
        self.seen.add(int(number))
        await self._send(stream, self._response(request.method, int(number), int(size), way.decode()), chance)
        del data[: request.size]
        if way == b"reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return way in (b"length", b"chunked")

    def _response(self, method: bytes, number: int, size: int, way: str) -> bytes:
        head = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\n" % number
        body = b"" if method == b"HEAD" else body_of(number, size)
        if way == "close":
            return head + b"\r\n" + body
        if way == "chunked":
            return (
                head + b"Transfer-Encoding: chunked\r\n\r\n" + (chunked(body) if method != b"HEAD" else b"")
            )
        whole = head + b"Content-Length: %d\r\n\r\n" % size + body
        return whole[: len(whole) // 2] if way in ("cut", "reset") else whole

    async def _send(
        self, to: trio.SocketStream | trio.socket.SocketType | TlsLink, data: bytes, chance: random.Random
    ) -> None:
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
        for start, end in itertools.pairwise([0, *cuts, len(data)]):
            view = memoryview(data)[start:end]
            if isinstance(to, trio.SocketStream):
                await to.send_all(view)
            else:
                while view:
                    view = view[await to.send(view) :]
            if chance.random() < 0.3:
                await trio.sleep(0.001)

    # -- the clients

    async def ask(self, address: tuple[str, int], driver: Driver, chance: random.Random) -> None:
        """One connection, some requests, perhaps at once; then what came of it."""
        asked: list[tuple[bytes, int, int, str]] = []
        octets = b""
        for _ in range(chance.choice((1, 1, 2, 4))):
            number, size, way = next(self.numbers), chance.choice(SIZES), chance.choice(WAYS)
            method = chance.choice(METHODS)
            body = body_of(number, chance.choice(SIZES)) if method in (b"POST", b"PUT") else b""
            start = (method, number, size, way.encode(), number, credentials("jwt"))
            if body and chance.random() < 0.5:
                octets += HEAD[0] % start + chunked(body)
            else:
                octets += HEAD[1] % (*start, len(body)) + body
            asked.append((method, number, size, way))
        leaves = chance.random() < 0.1
        link = await connect(address, tls=driver.tls)
        received = bytearray()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._say, link, octets[: len(octets) // 2] if leaves else octets, chance)
                ended = await self._read(link, received, [method for method, *_ in asked], leaves=leaves)
                nursery.cancel_scope.cancel()
        finally:
            link.close()
        self._check(asked, bytes(received), ended=ended)

    async def _say(
        self, link: trio.socket.SocketType | TlsLink, octets: bytes, chance: random.Random
    ) -> None:
        with contextlib.suppress(*GONE):
            await self._send(link, octets, chance)

    async def _read(
        self,
        link: trio.socket.SocketType | TlsLink,
        received: bytearray,
        methods: list[bytes],
        *,
        leaves: bool,
    ) -> bool:
        """Until all is there, or the connection ends (True), or it is time to leave."""
        with trio.move_on_after(0.02 if leaves else PATIENCE) as scope:
            while True:
                try:
                    part = await link.recv(65536)
                except GONE:
                    part = b""
                if not part:
                    return True
                received += part
                with contextlib.suppress(WireError):
                    found, _ = parse_responses(bytes(received), methods, eof=False)
                    finals = [each for each in found if each.status >= 200 and each.complete]
                    if len(finals) == len(methods) and not any(each.framing == "close" for each in finals):
                        return False
        if scope.cancelled_caught and not leaves:
            self.wrong.append(f"no end after {PATIENCE} s: {bytes(received[:200])!r}")
        return False

    def _check(self, asked: list[tuple[bytes, int, int, str]], received: bytes, *, ended: bool) -> None:
        try:
            found, rest = parse_responses(received, [method for method, *_ in asked], eof=False)
        except WireError as error:
            self.wrong.append(f"a client got {error}")
            return
        del rest  # a head that is not whole: the client, or the gateway, has gone
        finals = [each for each in found if each.status >= 200]
        for (method, number, size, way), response in zip(asked, finals, strict=False):
            self.outcomes[f"{response.status}{'' if response.complete else ' cut'}"] += 1
            if response.status != 200:
                continue
            if response.get(b"x-number") != [b"%d" % number]:
                self.wrong.append(f"{number} got {response.get(b'x-number')!r}")
            whole = b"" if method == b"HEAD" else body_of(number, size)
            if not whole.startswith(response.body):
                self.wrong.append(f"{number} got another's body")
            elif response.complete and response.framing != "close" and response.body != whole:
                self.wrong.append(
                    f"{number} ({way}) looks whole with {len(response.body)} of {len(whole)} bytes"
                )
        self.outcomes["ended"] += ended


async def mix(driver: Driver, seconds: float, seed: int, setting: Setting | None = None) -> Mix:
    """Clients of all kinds for *seconds*; *driver* must be forcible."""
    result = Mix(seed)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, result.serve, 0, host="127.0.0.1"))
        (copies,) = await nursery.start(partial(trio.serve_tcp, serve_copies, 0, host="127.0.0.1"))
        config = (setting or Setting(access="off")).config(
            [listener.socket.getsockname()[1]],
            certificate() if driver.tls else "",
            copies.socket.getsockname()[1],
        )
        with as_driver(driver):
            async with blitz.open_gateway(config) as gateway:
                address = await serve_streams(nursery, gateway) if driver.stream else gateway.addresses[0]
                ends = trio.current_time() + seconds

                async def work(client: int) -> None:
                    chance = random.Random(seed * 1000 + client)
                    while trio.current_time() < ends and not result.wrong:
                        await result.ask((str(address[0]), address[1]), driver, chance)

                async with trio.open_nursery() as clients:
                    for client in range(CLIENTS):
                        clients.start_soon(work, client)
                if gateway.statistics().counters.internal_errors:
                    result.wrong.append("an internal error")
        nursery.cancel_scope.cancel()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", choices=DRIVERS, default="fast")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    with forcible():
        result = trio.run(mix, DRIVERS[asked.driver], asked.seconds, asked.seed)
    print(f"seed {result.seed}: {dict(result.outcomes)}")
    raise SystemExit("\n".join(result.wrong))


if __name__ == "__main__":
    main()
