"""A client that resets while its exchange waits ends it: everything that works for it is let go at once.

What it waits for is a stage of ``test_cancellation.py``, or one of the phases here, which are played over
every kind of link. No stage has a timeout: what nobody notices, waits for ever.

An end of what the client sends is no reset (RFC 9112 section 9.6): it still gets its response. Nor do bytes
that wait unread hide one.
"""

from __future__ import annotations

import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from blitz.config import Auth, ForwardAuth, Log, Route
from tests.parity.rig import output, serve_streams

from .harness import Client, Rig, Served, rig, until
from .test_cancellation import (
    NO_TIMEOUTS,
    STAGES,
    Stage,
    arrive,
    configured,
    descriptors,
    has_no_task,
    is_waiting,
    kept,
    left_behind,
    sending,
    silent,
    stand,
)
from .test_plugins import guest
from .test_timeouts import GET, unreachable

__all__ = ["configured", "guest", "unreachable"]

# Those in which nothing is received from the client, nor sent to it: its request is whole.
BLIND = [
    name
    for name, stage in STAGES.items()
    if name.startswith(("place", "connect", "first byte", "answer", "guest", "instance"))
]


def socket_of(client: Client) -> trio.SocketStream:
    stream = client.stream
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


async def reset(client: Client) -> None:
    """Throw the connection away."""
    stream = socket_of(client)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


# ---------------------------------------------------------------- whatever is waited for


class Clients(Protocol):
    clients: list[Client]


@dataclass
class Alone:
    clients: list[Client]


Before = Callable[[Clients], Awaitable[None]]


async def nothing(_: Clients) -> None:
    return


async def half_close(test: Clients) -> None:
    for client in test.clients:
        await socket_of(client).send_eof()


async def send_another(test: Clients) -> None:
    for client in test.clients:
        await client.send(GET)


async def both(test: Clients) -> None:
    await send_another(test)
    await half_close(test)


async def is_noticed(stage: Stage, config: dict[str, Any], before: Before) -> None:
    """At *stage* clients do what comes *before*, which changes nothing, and then reset, which ends it."""
    async with stand(stage.script, stage.upstream, **config) as test:
        open_before = descriptors()
        await arrive(test, stage)
        await before(test)
        if before is not nothing and "drive" not in stage.wait:  # a guest that runs keeps the loop busy
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert is_waiting(*stage.wait) if stage.wait else has_no_task(test)
        for client in test.clients:
            await reset(client)
        await until(lambda: not test.context.connections)
        assert left_behind(test) == {}
        await test.close_others()
        await until(lambda: descriptors() - open_before == kept(test))


@pytest.mark.parametrize("name", STAGES)
async def test_a_reset_leaves_nothing(name: str, configured: Any) -> None:
    await is_noticed(*configured(name), nothing)


@pytest.mark.parametrize("before", [half_close, send_another, both], ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", BLIND)
async def test_a_reset_is_seen_behind_an_end_and_behind_bytes(
    name: str, before: Before, configured: Any
) -> None:
    await is_noticed(*configured(name), before)


@pytest.mark.parametrize("before", [nothing, half_close, send_another], ids=lambda each: each.__name__)
async def test_a_reset_ends_what_a_service_is_asked(before: Before) -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, _never, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        config = {
            "auth": {"sso": Auth(forward=ForwardAuth(url=url, timeout=60.0))},
            "routes": [Route(upstream="main", auth="sso")],
        }
        async with stand(silent, {}, **config) as test:
            await sending(GET)(test)
            await until(lambda: is_waiting("ask_filters", "receive_into"))
            await before(test)
            for client in test.clients:
                await reset(client)
            await until(lambda: not test.context.connections)
            assert left_behind(test) == {}
        nursery.cancel_scope.cancel()


async def _never(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


# ---------------------------------------------------------------- whatever the link


@dataclass
class Exchange:
    """One at the upstream: *seen*, what it was to say is said; *ended*, its connection is over there."""

    seen: trio.Event = field(default_factory=trio.Event)
    read_on: trio.Event = field(default_factory=trio.Event)
    answer: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass
class Origin:
    """Does what the first segment of a path says; the second one names the exchange."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Exchange:
        return self.exchanges.setdefault(name, Exchange())

    async def __call__(self, served: Served) -> None:
        while True:
            head = (await served.head()).decode()
            phase, name = head.split(" ")[1].split("/")[1:3]
            exchange = self[name]
            if phase != "served":
                break
            await served.send(OK)
        try:
            await served.send(SAYS.get(phase, b""))
            exchange.seen.set()
            if phase == "untaken":
                await exchange.read_on.wait()
            async with trio.open_nursery() as nursery:

                async def answer() -> None:
                    await exchange.answer.wait()
                    await served.send(OK)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(answer)
                with suppress(trio.BrokenResourceError):
                    while await served.stream.receive_some():
                        pass
                nursery.cancel_scope.cancel()
        finally:
            exchange.ended.set()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SAYS = {
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "part-of-a-head": b"HTTP/1.1 200 OK\r\nA: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nsome",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
    "until-close": b"HTTP/1.1 200 OK\r\n\r\nsome",
}
WAITING = ("silent", *SAYS)
TOLD = ("body", "chunks", "until-close")  # the client has got a head
SENDING = {
    "half-sent": (b"Content-Length: 1000\r\n", bytes(10)),
    "half-sent-chunks": (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n2"),
    "untaken": (b"Content-Length: 50000000\r\n", b""),
}
LINKS = ["auto", "h11", "auto+tls-in", "h11+tls-in", "auto+tls-in-python", "auto, a stream"]


@pytest.mark.parametrize("link", LINKS)
async def test_the_upstream_sees_it_and_the_log_says_it(link: str) -> None:
    """All phases in an order of its own, each with all that a client may have done before."""
    parser, _, is_stream = link.partition(", ")
    cases = [(phase, before) for phase in WAITING for before in (nothing, half_close, send_another, both)]
    cases += [(phase, nothing) for phase in SENDING]
    random.Random(link).shuffle(cases)
    origin = Origin()
    with output() as written:
        async with rig(origin, parser=parser, timeouts=NO_TIMEOUTS, log=Log(access="json")) as test:
            address = await serve_streams(test.nursery, test.gateway) if is_stream else None
            with trio.fail_after(60):
                for number, (phase, before) in enumerate(cases):
                    await _play(test, origin, str(number), phase, before, address)
            await until(lambda: not test.gateway.statistics().connections)
            assert (await test.get("/served/x"))[0] == 200
            await until(lambda: not test.gateway.statistics().in_flight)
        written.hand_out()
    lines = [json.loads(line) for line in written.access]
    ended = {line["target"]: line for line in lines if "/served/" not in line["target"]}
    assert len(ended) == len(cases)
    for phase, number in (target.split("/")[1:3] for target in ended):
        line = ended[f"/{phase}/{number}"]
        assert line["status"] == (200 if phase in TOLD else 499), line
        assert line["cause"] == "client_reset", line
        assert line["tries"] == 1, line


async def connect(test: Rig, address: tuple[str, int] | None) -> Client:
    if address is None:
        return await test.connect()
    test.opened.append(await trio.open_tcp_stream(*address))
    return Client(test.opened[-1])


async def _play(
    test: Rig,
    origin: Origin,
    name: str,
    phase: str,
    before: Before,
    address: tuple[str, int] | None,
) -> None:
    """One client comes to *phase*, on a new connection or one that was answered, and resets there."""
    client = await connect(test, address)
    if isinstance(client.stream, trio.SSLStream):
        await client.stream.do_handshake()
    if int(name) % 3:
        await client.send(b"GET /served/x HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.answer())[0] == 200
    fields, data = SENDING.get(phase, (b"", b""))
    start = f"{'POST' if fields else 'GET'} /{phase}/{name} HTTP/1.1\r\nHost: test\r\n".encode()
    await client.send(start + fields + b"\r\n" + data)
    exchange = origin[name]
    await exchange.seen.wait()
    if phase in TOLD:
        await client.head()
        await client.have(4)
    if phase == "untaken":
        with trio.move_on_after(0.1):
            while True:
                await client.send(bytes(65536))
    await before(Alone([client]))
    assert not exchange.ended.is_set()
    await reset(client)
    if phase == "untaken":
        await until(lambda: not test.gateway.statistics().connections)
        exchange.read_on.set()
    await exchange.ended.wait()


@pytest.mark.parametrize("link", LINKS)
async def test_an_end_is_no_reset(link: str) -> None:
    """Whoever has said all and waits gets the response, and does not keep the event loop busy meanwhile."""
    parser, _, is_stream = link.partition(", ")
    origin, passes = Origin(), Passes()
    async with rig(origin, parser=parser, timeouts=NO_TIMEOUTS) as test:
        address = await serve_streams(test.nursery, test.gateway) if is_stream else None
        for name, sent in (("first", b""), ("second", b"GET /served/x HTTP/1.1\r\nHost: test\r\n\r\n")):
            client = await connect(test, address)
            with trio.fail_after(20):
                await client.send(f"GET /silent/{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode() + sent)
                await origin[name].seen.wait()
                await socket_of(client).send_eof()
                trio.lowlevel.add_instrument(passes)
                await trio.sleep(0.2)
                trio.lowlevel.remove_instrument(passes)
                origin[name].answer.set()
                assert (await client.answer())[2] == b"ok"
    assert passes.seen < MANY


MANY = 400  # passes in a fifth of a second, twice: one that spins makes thousands of them


class Passes(trio.abc.Instrument):
    """How often the event loop goes round."""

    seen = 0

    def after_io_wait(self, timeout: float) -> None:
        self.seen += 1
