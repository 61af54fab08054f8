"""Upstreams that answer more than they were asked.

Every client has a mark of its own and sends it with each request; the upstream puts it into whatever it says
on account of that request, the right answer or not. Invariant, where connections are not shared (``reuse`` is
false or "client"): no client ever reads another's mark, and no upstream connection carries the marks of two.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio

from blitz.config import Answer, Config, Route
from tests.server.harness import Client, Rig, Served, rig, until

SEED = 20261128
DELAYS = (0.0, 0.0001, 0.001, 0.005)
MARK = b"x-mark: "


def answer(mark: bytes, body: bytes = b"right") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b%b\r\n\r\n%b" % (len(body), MARK, mark, body)


def chunked(mark: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b%b\r\n\r\n2\r\nab\r\n0\r\n\r\n" % (MARK, mark)


EXTRAS: list[Callable[[bytes], bytes]] = [
    lambda mark: answer(mark, b"EVIL"),
    lambda mark: answer(mark, b"EVIL") * 3,
    lambda mark: answer(mark, b"E" * 300_000),
    lambda mark: answer(mark, b"EVIL")[:-2],
    lambda mark: b"HTTP/1.1 200 OK\r\n" + MARK + mark,
    lambda mark: b"HTTP/1.1 103 Early Hints\r\n%b%b\r\n\r\n" % (MARK, mark) + answer(mark, b"EVIL"),
    lambda mark: b"H",
    lambda mark: b"\r\n" * 3 + answer(mark, b"EVIL"),
    chunked,
]


@dataclass
class Liar:
    """An upstream that says something more after half of its answers, in one piece with it or a bit later."""

    chance: random.Random
    marks: dict[int, set[bytes]] = field(default_factory=dict)  # by connection
    says_close: list[bool] = field(default_factory=list)

    async def script(self, served: Served) -> None:
        marks = self.marks.setdefault(id(served), set())
        while True:
            head = await served.head()
            mark = head.partition(MARK)[2].split(b"\r\n")[0]
            marks.add(mark)
            self.says_close.append(b"\r\nconnection: close\r\n" in head.lower())
            if head.startswith(b"POST"):
                await served.exactly(2)
            right = self.chance.choice([answer, chunked])(mark)
            extra = self.chance.choice(EXTRAS)(mark) if self.chance.random() < 0.5 else b""
            if extra and self.chance.random() < 0.3:
                await served.send(right + extra)
                continue
            await served.send(right)
            if extra:
                await trio.sleep(self.chance.choice(DELAYS))
                await served.send(extra)


async def ask(client: Client, mark: bytes, *, body: bool = False) -> str:
    """The mark that the answer has; "" for an answer of the gateway's own, "gone" when it ended."""
    start, end = (b"POST", b"Content-Length: 2\r\n\r\nab") if body else (b"GET", b"\r\n")
    await client.send(start + b" / HTTP/1.1\r\nHost: test\r\n" + MARK + mark + b"\r\n" + end)
    try:
        status, fields, _ = await client.answer()
        while status < 200 and fields.get("x-mark") == mark.decode():
            status, fields, _ = await client.answer()
    except (EOFError, trio.BrokenResourceError):
        return "gone"
    return fields.get("x-mark", "")


@pytest.mark.parametrize("parser", ["auto", "h11", "auto+tls"])
@pytest.mark.parametrize("reuse", [False, "client"])
async def test_nobody_gets_what_another_was_told(reuse: bool | str, parser: str) -> None:
    liar = Liar(random.Random(SEED))
    seen: list[tuple[str, str]] = []

    async def client_of(test: Rig, mark: str, chance: random.Random) -> None:
        client = await test.connect()
        for _ in range(12):
            told = await ask(client, mark.encode(), body=chance.random() < 0.3)
            seen.append((mark, told))
            if told == "gone":
                client = await test.connect()
            if chance.random() < 0.3:
                await trio.sleep(chance.choice(DELAYS))

    async with rig(liar.script, parser=parser, main={"reuse": reuse}) as test:
        with trio.fail_after(60):
            for number in range(4):
                async with trio.open_nursery() as nursery:
                    for one in range(4):
                        name = f"{number}-{one}"
                        nursery.start_soon(client_of, test, name, random.Random(f"{SEED} {name}"))
        assert test.gateway.statistics().counters.internal_errors == 0
    assert {(mark, told) for mark, told in seen if told not in (mark, "", "gone")} == set()
    assert sum(mark == told for mark, told in seen) > len(seen) / 2
    assert all(len(marks) <= 1 for marks in liar.marks.values())
    if not reuse:
        assert len(liar.marks) >= len(seen)
        assert all(liar.says_close)


# -- what is used again


async def honest(served: Served) -> None:
    while True:
        head = await served.head()
        await served.send(answer(head.partition(MARK)[2].split(b"\r\n")[0]))


async def test_a_client_keeps_its_connection_and_takes_it_along() -> None:
    async with rig(honest, main={"reuse": "client"}) as test:
        first, second = await test.connect(), await test.connect()
        for _ in range(5):
            assert await ask(first, b"first") == "first"
            assert await ask(second, b"second") == "second"
        assert len(test.upstream.connections) == 2
        (endpoint,) = test.gateway.status().upstreams
        assert (endpoint.live, endpoint.idle) == (2, 2)
        await first.stream.aclose()
        await until(lambda: test.gateway.status().upstreams[0].live == 1)
        assert await ask(second, b"second") == "second"
        assert len(test.upstream.connections) == 2
        assert await test.gateway.drain(grace=5)
        assert test.gateway.status().upstreams[0].live == 0


async def test_idle_connections_of_other_clients_make_room() -> None:
    async with rig(honest, main={"reuse": "client", "max_connections": 1}) as test:
        clients = [await test.connect() for _ in range(3)]
        with trio.fail_after(20):
            for _ in range(3):
                for number, client in enumerate(clients):
                    assert await ask(client, b"%d" % number) == str(number)
        (endpoint,) = test.gateway.status().upstreams
        assert endpoint.live == 1


async def test_a_reload_ends_the_connections_of_clients() -> None:
    async with rig(honest, main={"reuse": "client"}) as test:
        client = await test.connect()
        assert await ask(client, b"me") == "me"
        await test.gateway.reload(Config(listen=["127.0.0.1:0"], routes=[Route(answer=Answer(204))]))
        with trio.fail_after(20), pytest.raises(EOFError):
            await test.upstream.connections[0].head()
        await client.stream.aclose()


async def test_a_client_that_goes_while_it_waits_leaves_no_connection() -> None:
    asked = trio.Event()

    async def silent(served: Served) -> None:
        await honest_once(served)
        await served.head()
        asked.set()
        await trio.sleep_forever()

    async with rig(silent, main={"reuse": "client"}) as test:
        client = await test.connect()
        assert await ask(client, b"me") == "me"
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await asked.wait()
        test.nursery.start_soon(test.gateway.drain, 0.05)
        await until(lambda: test.gateway.status().upstreams[0].live == 0)


async def honest_once(served: Served) -> None:
    head = await served.head()
    await served.send(answer(head.partition(MARK)[2].split(b"\r\n")[0]))


@pytest.mark.parametrize("reuse", [True, False, "client"])
async def test_nothing_is_left_of_clients_that_come_and_go(reuse: bool | str) -> None:
    liar = Liar(random.Random(SEED))

    async def come_and_go(test: Rig, mark: bytes, chance: random.Random) -> None:
        for _ in range(6):
            client = await test.connect()
            for _ in range(chance.randrange(4)):
                if await ask(client, mark) == "gone":
                    break
            if chance.random() < 0.5:  # in the middle of an exchange
                with contextlib.suppress(trio.BrokenResourceError):
                    await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n" + MARK + mark + b"\r\n\r\n")
                    await trio.sleep(chance.choice(DELAYS))
            await trio.aclose_forcefully(client.stream)

    async with rig(liar.script, main={"reuse": reuse, "max_connections": 3}) as test:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for one in range(8):
                    chance = random.Random(f"{SEED} {one}")
                    nursery.start_soon(come_and_go, test, b"%d" % one, chance)
        await until(lambda: not test.gateway.statistics().connections)
        (endpoint,) = test.gateway.status().upstreams
        assert endpoint.live == endpoint.idle
        assert endpoint.live == 0 or reuse is True
        assert test.gateway.statistics().counters.internal_errors == 0


# -- what is noticed on shared connections


class Warm:
    """An honest upstream that answers once *many* requests are there, each on a connection of its own."""

    def __init__(self, many: int) -> None:
        self.many = many
        self.used: list[Served] = []
        self._all = trio.Event()

    async def script(self, served: Served) -> None:
        while True:
            head = await served.head()
            self.used.append(served)
            if len(self.used) >= self.many:
                self._all.set()
            await self._all.wait()
            await served.send(answer(head.partition(MARK)[2].split(b"\r\n")[0]))

    async def clients(self, test: Rig) -> list[Client]:
        """As many clients, and as many upstream connections at rest."""
        clients = [await test.connect() for _ in range(self.many)]
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(ask, client, b"warm")
        await until(lambda: test.gateway.status().upstreams[0].idle == self.many)
        return clients


@pytest.mark.parametrize("parser", ["auto", "h11", "auto+tls"])
async def test_what_comes_on_a_resting_connection_ends_it_at_once(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "blitz.upstream")
    warm = Warm(3)
    async with rig(warm.script, parser=parser) as test:
        clients = await warm.clients(test)
        for client in clients:  # given back from the fast path as well
            assert await ask(client, b"me") == "me"
        for number, said in enumerate((b"HT", answer(b"evil")), start=1):
            await test.upstream.connections[number].send(said)
            await until(lambda number=number: test.gateway.status().upstreams[0].unasked == number)  # type: ignore[misc]
        assert test.gateway.status().upstreams[0].live == 1  # nobody has asked for anything meanwhile
        assert await ask(clients[0], b"me") == "me"
    lines = [record.getMessage() for record in caplog.records if record.name == "blitz.upstream"]
    assert len(lines) == 1  # for both
    assert f"127.0.0.1:{test.upstream.port}" in lines[0]


@pytest.mark.parametrize("parser", ["auto", "auto+tls"])
async def test_an_upstream_that_ends_a_resting_connection_has_said_nothing(parser: str) -> None:
    async with rig(honest_once, parser=parser) as test:
        assert await ask(await test.connect(), b"me") == "me"
        await until(lambda: test.gateway.status().upstreams[0].live == 0)
        assert test.gateway.status().upstreams[0].unasked == 0


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_a_connection_that_was_just_used_is_not_the_next_one(parser: str) -> None:
    """So a second answer has a moment to arrive where nobody waits for one."""
    warm = Warm(4)
    async with rig(warm.script, parser=parser) as test:
        attacker, victim, *_ = await warm.clients(test)
        same = 0
        for _ in range(10):
            await trio.sleep(0.06)
            await ask(attacker, b"attacker")
            await ask(victim, b"victim")
            same += warm.used[-2] is warm.used[-1]
        assert same <= 3  # the machine may have slept in between
