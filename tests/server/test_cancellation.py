"""Whatever a connection waits for, it can be cancelled there, and nothing is left behind.

Each stage brings one connection to one await of the main path and says which functions must be waiting
there. Then the connection, or the whole gateway, is cancelled. Afterwards no socket or pipe is open, no
instance is held, no exchange, buffer or upstream connection is missing from where it belongs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing

import blitz
from blitz.config import Answer, Config, Http, Route, Timeouts, Upstream
from blitz.server.context import ServerContext
from blitz.server.encoder_room import MAX_MEMORY
from blitz.server.guests import wait_for_instance

from .harness import Client, FakeUpstream, Script, Served, answering, until
from .test_plugins import MARK, REQUEST, RESPONSE, guest
from .test_timeouts import GET, OK, POST, SWITCH, UPGRADE, unreachable

__all__ = ["guest", "unreachable"]

PACKAGE = os.path.dirname(blitz.__file__) + os.sep  # the checkout may be called blitz too
NO_TIMEOUTS = Timeouts(**dict.fromkeys((n for n in Timeouts.__struct_fields__ if n != "drain"), 0.0))
LOOP = "(loop $l (br $l)) (i32.const 0))"
READ = '(import "blitz" "get_body" (func $get_body (param i32 i32) (result i32)))'
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n"
MIB = 1024 * 1024


# ---------------------------------------------------------------- what may not be missing


def descriptors() -> Counter[str]:
    """Kinds of what this process has open, such as socket, pipe, anon_inode."""
    kinds: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            kinds[os.readlink(f"/proc/self/fd/{name}").partition(":")[0]] += 1
    return kinds


class Ledger:
    """Counts what a gateway lends and gets back, by putting itself between the context and its users."""

    def __init__(self, context: ServerContext) -> None:
        self.lent: Counter[str] = Counter()
        self.fast_path = context.fast_path
        for owner, take, give in (
            (context, "take_exchange", "give_exchange"),
            (context, "buffers", ""),
            (context, "parts", ""),
            (context, "pipes", ""),
        ):
            if give:
                self._between(owner, take, give, take)
            else:
                setattr(owner, take, self._counting(getattr(owner, take), take))

    def _between(self, owner: Any, take: str, give: str, what: str) -> None:
        lend, receive = getattr(owner, take), getattr(owner, give)

        def taking(*words: Any) -> Any:
            self.lent[what] += 1
            return lend(*words)

        def giving(*words: Any, **more: Any) -> Any:
            self.lent[what] -= 1
            return receive(*words, **more)

        setattr(owner, take, taking)
        setattr(owner, give, giving)

    def _counting(self, pool: Any, what: str) -> Any:
        """The same pool, with attributes that can be replaced."""
        kind = type(f"Counted{what}", (type(pool),), {})
        counted = kind.__new__(kind)
        for name in type(pool).__slots__:
            setattr(counted, name, getattr(pool, name))
        self._between(counted, "take", "give", what)
        return counted

    @property
    def missing(self) -> dict[str, int]:
        held, in_use = self.fast_path.slots
        lent = self.lent.copy()
        lent.subtract({"buffers": held, "take_exchange": held})
        return {what: count for what, count in {**lent, "slots of the fast path": in_use}.items() if count}


def waiting_in() -> list[list[str]]:
    """For each task: the names of the functions of the gateway that it waits in, outermost first."""
    found = []
    tasks = [trio.lowlevel.current_root_task()]
    while tasks:
        task = tasks.pop()
        assert task is not None
        for nursery in task.child_nurseries:
            tasks.extend(nursery.child_tasks)
        frames = [frame for frame, _ in task.iter_await_frames()]
        names = [f.f_code.co_name for f in frames if f.f_code.co_filename.startswith(PACKAGE)]
        found.append(names)
    return found


def is_waiting(*functions: str) -> bool:
    """Some task waits in all of these, in this order, the last being the innermost."""
    for names in waiting_in():
        rest = iter(names)
        if names and names[-1] == functions[-1] and all(name in rest for name in functions):
            return True
    return False


# ---------------------------------------------------------------- a gateway to cancel


@dataclass
class Stand:
    gateway: blitz.Gateway
    upstream: FakeUpstream
    ledger: Ledger
    scope: trio.CancelScope
    ended: trio.Event
    nursery: trio.Nursery
    clients: list[Client] = field(default_factory=list)

    @property
    def context(self) -> ServerContext:
        return self.gateway._context

    async def connect(self) -> Client:
        self.clients.append(Client(await trio.open_tcp_stream(*self.gateway.addresses[0])))
        return self.clients[-1]

    def feed(self, client: Client, first: bytes, *, again: bytes = bytes(65536)) -> None:
        """Send *first*, then *again* until the client is closed."""

        async def feed() -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await client.send(first)
                while True:
                    await client.send(again)

        self.nursery.start_soon(feed)

    async def close_others(self) -> None:
        """Close every socket of this test that is not the gateway's."""
        for client in self.clients:
            await trio.aclose_forcefully(client.stream)
        for served in self.upstream.connections:
            await trio.aclose_forcefully(served.stream)


@contextlib.asynccontextmanager
async def stand(script: Script, upstream_options: dict[str, Any], **config: Any) -> AsyncIterator[Stand]:
    upstream = FakeUpstream(script)
    scope, ended = trio.CancelScope(), trio.Event()

    async def serve(task_status: trio.TaskStatus[blitz.Gateway]) -> None:
        with scope:
            await blitz.serve(whole, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        config.setdefault("routes", [Route(upstream="main")])
        options = {"endpoints": [f"http://127.0.0.1:{upstream.port}"], **upstream_options}
        config["upstreams"] = {"main": Upstream(**options)}
        whole = Config(listen=["127.0.0.1:0"], timeouts=NO_TIMEOUTS, **config)
        gateway = await nursery.start(serve)
        test = Stand(gateway, upstream, Ledger(gateway._context), scope, ended, nursery)
        try:
            yield test
        finally:
            await test.close_others()
            nursery.cancel_scope.cancel()


# ---------------------------------------------------------------- the stages


async def silent(served: Served) -> None:
    await served.head()
    await trio.sleep_forever()


def saying(*parts: bytes) -> Script:
    """Read a head, say this, and then no more; the last part again and again if it is large."""

    async def script(served: Served) -> None:
        await served.head()
        for part in parts:
            await served.send(part)
        while len(parts[-1]) >= MIB:
            await served.send(parts[-1])
        await trio.sleep_forever()

    return script


async def stalling(served: Served) -> None:
    """Answer, but never a request for /stall."""
    while True:
        if b" /stall " in await served.head():
            await trio.sleep_forever()
        await served.send(OK)


async def answered(client: Client, times: int = 3) -> None:
    for _ in range(times):
        await client.send(GET)
        assert (await client.answer())[0] == 200


@dataclass
class Stage:
    """
    Attributes:
        wait: functions that a task must be waiting in, the last innermost; none: the connection has no task.
        reach: bring the gateway there.
        plugin: body of a guest and its settings.
        in_flight: exchanges that wait for their upstream on the fast path.
    """

    wait: tuple[str, ...]
    reach: Callable[[Stand], Awaitable[None]]
    script: Script = silent
    config: dict[str, Any] = field(default_factory=dict)
    upstream: dict[str, Any] = field(default_factory=dict)
    plugin: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    imports: str = ""
    in_flight: int = 0


def sending(data: bytes, *, after: int = 0) -> Callable[[Stand], Awaitable[None]]:
    async def reach(test: Stand) -> None:
        client = await test.connect()
        await answered(client, after)
        await client.send(data)

    return reach


def behind_another(data: bytes) -> Callable[[Stand], Awaitable[None]]:
    """On a connection that the fast path serves from the first byte on: another one has left an upstream."""

    async def reach(test: Stand) -> None:
        await answered(await test.connect(), 1)
        client = await test.connect()
        await client.send(data)

    return reach


def flooding(head: bytes, again: bytes = bytes(65536)) -> Callable[[Stand], Awaitable[None]]:
    async def reach(test: Stand) -> None:
        test.feed(await test.connect(), head, again=again)

    return reach


def twice(data: bytes) -> Callable[[Stand], Awaitable[None]]:
    """Two clients, one after the other."""

    async def reach(test: Stand) -> None:
        await (await test.connect()).send(data)
        await until(lambda: test.upstream.connections)
        await (await test.connect()).send(data)

    return reach


async def tunnelled(test: Stand) -> None:
    client = await test.connect()
    await client.send(UPGRADE)
    assert (await client.head())[0] == 101


def at_anothers_turn(data: bytes) -> Callable[[Stand], Awaitable[None]]:
    """Another body is being compressed, and is not through with its slice."""

    async def reach(test: Stand) -> None:
        test.context.encoders.turns.acquire_nowait()
        await (await test.connect()).send(data)

    return reach


UNREACHABLE = "filled in by the fixture"
H11 = {"http": Http(parser="h11")}
STALL = b"GET /stall HTTP/1.1\r\nHost: test\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\nx"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ACCEPTING = b"GET / HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n"
TEXT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
NOISE = random.Random(1).randbytes(MIB)
COMPRESSED = {"routes": [Route(upstream="main", compress=["gzip"])]}
CHUNK = b"100000\r\n" + bytes(MIB) + b"\r\n"

STAGES = {
    "first request, the fast path": Stage((), sending(b"")),
    "first request": Stage(("_first_bytes", "wait_readable"), sending(b""), config=H11),
    "next request, the fast path": Stage(("serve_short",), sending(b"", after=3), script=answering(OK)),
    "next request": Stage(("_first_bytes", "wait_readable"), sending(b"", after=3), answering(OK), H11),
    "head": Stage(("_next_head", "receive_into"), sending(b"GET / HTTP/1.1\r\n")),
    "head behind a head": Stage(
        ("_next_head", "receive_into"), sending(GET + b"GET / HT"), script=answering(OK)
    ),
    "request body, for a plugin": Stage(
        ("_collect_request", "collect", "next_part", "receive_into"),
        sending(POST),
        plugin=f"{REQUEST} (i32.const 0))",
        imports=READ,
        config=H11,
    ),
    "request body, for the upstream": Stage(("_pump", "next_part", "receive_into"), sending(POST)),
    "request body, spliced": Stage(("_pump", "splice", "splice_body", "_fill"), sending(LARGE)),
    "place in the pool": Stage(
        ("_begin_try", "connect"),
        twice(GET),
        upstream={"max_connections": 1},
    ),
    "connect": Stage(("_begin_try", "_connect"), sending(GET), upstream={"endpoints": UNREACHABLE}),
    "send to upstream": Stage(
        ("_pump", "send_rest"), flooding(CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n")
    ),
    "send to upstream, spliced": Stage(("_pump", "splice", "_drain"), flooding(LARGE)),
    "send to upstream, collected": Stage(
        ("_send_request", "send_head", "send_rest"),
        sending(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 30000000\r\n\r\n" + bytes(30_000_000)),
        plugin=f"{REQUEST} (i32.const 0))",
        imports=READ,
        settings={"max_body": 30_000_000},
    ),
    "first byte, the fast path": Stage(
        ("serve_short",), sending(STALL, after=3), script=stalling, in_flight=1
    ),
    "first byte, the fast path, no task": Stage((), behind_another(STALL), script=stalling, in_flight=1),
    "first byte": Stage(("read_response_head", "receive_into"), sending(STALL, after=3), stalling, H11),
    "answer head": Stage(
        ("read_response_head", "receive_into"), sending(GET), script=saying(b"HTTP/1.1 200 OK\r\nA: ")
    ),
    "answer body": Stage(
        ("_send_parts", "next_part", "receive_into"),
        sending(GET),
        script=saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    ),
    "answer body, spliced": Stage(("_send_parts", "splice", "_fill"), sending(GET), script=saying(LENGTH)),
    "answer body, for a plugin": Stage(
        ("ask_about_response", "_collect_response", "next_part", "receive_into"),
        sending(GET),
        script=saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        plugin=f"{RESPONSE} (i32.const 0))",
        settings={"response_body": "full"},
    ),
    "send to client": Stage(("_send_parts", "send_rest"), sending(GET), script=saying(CHUNKS, CHUNK)),
    "send to client, spliced": Stage(
        ("_send_parts", "splice", "_drain"), sending(GET), script=saying(LENGTH, bytes(MIB))
    ),
    "send to client, own answer": Stage(
        ("send_whole", "flush", "send_rest"),
        sending(GET),
        config={"routes": [Route(answer=Answer(200, "x" * 30_000_000))]},
    ),
    "compressed, answer body": Stage(
        ("send_compressed", "wait", "next_part", "receive_into"),
        sending(ACCEPTING),
        script=saying(TEXT, b"b\r\nsome of it\n\r\n"),
        config=COMPRESSED,
    ),
    "compressed, send to client": Stage(
        ("send_compressed", "send_part", "send_rest"),
        sending(ACCEPTING),
        script=saying(TEXT, b"100000\r\n" + NOISE + b"\r\n"),
        config=COMPRESSED,
    ),
    "compressed, its turn": Stage(
        ("send_whole", "send_held", "send_compressed", "turn"),
        at_anothers_turn(ACCEPTING),
        config={"routes": [Route(answer=Answer(200, NOISE.hex()), compress=["gzip"])]},
    ),
    "guest, request hook": Stage(("drive", "_stand_in"), sending(GET), plugin=f"{REQUEST} {MARK} {LOOP}"),
    "guest, response hook": Stage(
        ("relay", "drive", "_stand_in"),
        sending(GET),
        script=answering(OK),
        plugin=f"{RESPONSE} {MARK} {LOOP}",
    ),
    "instance": Stage(
        ("wait_for_instance",),
        twice(GET),
        plugin=f"{REQUEST} (i32.const 0)) {RESPONSE} (i32.const 0))",
        settings={"instances": "single"},
    ),
    "tunnel": Stage(("_carry", "receive_into"), tunnelled, script=saying(SWITCH)),
    "goodbye": Stage(("linger", "receive_into"), sending(POST), plugin=f"{REQUEST} (i32.const 1))"),
}


@pytest.fixture
def configured(guest: Any, unreachable: str) -> Callable[[str], tuple[Stage, dict[str, Any]]]:
    def make(name: str) -> tuple[Stage, dict[str, Any]]:
        stage = STAGES[name]
        config = dict(stage.config)
        if stage.plugin:
            settings = {"timeout": 60.0, **stage.settings}
            config["plugins"] = [guest(stage.plugin, imports=stage.imports, **settings)]
        if stage.upstream.get("endpoints") == UNREACHABLE:
            stage = dataclasses.replace(stage, upstream={"endpoints": [unreachable]})
        return stage, config

    return make


async def arrive(test: Stand, stage: Stage) -> None:
    await stage.reach(test)
    await until(lambda: is_waiting(*stage.wait) if stage.wait else has_no_task(test))
    if "drive" not in stage.wait:
        # It is there to stay.
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert is_waiting(*stage.wait) if stage.wait else has_no_task(test)
    if stage.in_flight:
        assert test.context.fast_path.in_flight == stage.in_flight


def has_no_task(test: Stand) -> bool:
    """One connection is served without a task of its own."""
    return any(connection.nursery is None for connection in test.context.connections)


def left_behind(test: Stand) -> dict[str, object]:
    """What a gateway without connections should not have."""
    statistics = test.gateway.statistics()
    endpoints = [e for c in test.context.runtime.clusters.values() for e in c.endpoints]
    return {
        what: count
        for what, count in {
            "connections": statistics.connections,
            "in flight": statistics.in_flight,
            "instances": sum(plugin.live - plugin.idle for plugin in statistics.plugins.values()),
            "memory of encoders": MAX_MEMORY - test.context.encoders.left,
            "waiters": sum(len(pool.waiters) for pool in test.context.runtime.pools),
            "exchanges": test.context.runtime.users,
            "upstream connections": sum(endpoint.live - endpoint.idle for endpoint in endpoints),
            "exchanges that endpoints count": sum(int(endpoint.native.active) for endpoint in endpoints),
            **test.ledger.missing,
        }.items()
        if count
    }


def kept(test: Stand) -> Counter[str]:
    """Descriptors that the gateway keeps for later: idle upstream connections and pipes."""
    idle = sum(e.idle for c in test.context.runtime.clusters.values() for e in c.endpoints)
    return +Counter(socket=idle, pipe=2 * len(test.context.pipes._idle))


@pytest.mark.parametrize("name", STAGES)
async def test_a_cancelled_connection_leaves_nothing(name: str, configured: Any) -> None:
    stage, config = configured(name)
    async with stand(stage.script, stage.upstream, **config) as test:
        before = descriptors()
        await arrive(test, stage)
        for connection in list(test.context.connections):
            connection.cancel()
        if name == "goodbye":
            await test.clients[0].stream.aclose()
        await until(lambda: not test.context.connections)
        assert left_behind(test) == {}
        await test.close_others()
        await until(lambda: descriptors() - before == kept(test))


@pytest.mark.parametrize("name", STAGES)
async def test_a_cancelled_gateway_leaves_nothing(name: str, configured: Any) -> None:
    stage, config = configured(name)
    before = descriptors()
    async with stand(stage.script, stage.upstream, **config) as test:
        await arrive(test, stage)
        test.scope.cancel()
        with trio.fail_after(20):
            await test.ended.wait()
        assert left_behind(test) == {}
        for pool in test.context.runtime.pools:
            assert (pool.live, pool.plugin._ptr) == (0, None)
        assert test.gateway._engine._ptr is None
    assert descriptors() == before


# ---------------------------------------------------------------- waits that are nobody's connection


SINGLE = f"{REQUEST} (i32.const 0)) {RESPONSE} (i32.const 0))"


async def test_a_cancelled_wait_for_an_instance_leaves_the_turn_to_others(guest: Any) -> None:
    release = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await release.wait()
        await served.send(OK)

    async with stand(script, {}, plugins=[guest(SINGLE, instances="single")]) as test:
        first, second, third = [await test.connect() for _ in range(3)]
        await first.send(GET)
        await until(lambda: test.upstream.connections)
        (pool,) = test.context.runtime.pools
        for waiting, client in enumerate((second, third), start=1):
            await client.send(GET)
            await until(lambda waiting=waiting: len(pool.waiters) == waiting)
        (holder,) = (c for c in test.context.connections if c.exchange.upstream is not None)
        waiters = [c for c in test.context.connections if c is not holder]
        port = second.stream.socket.getsockname()[1]
        (cancelled,) = (c for c in waiters if c.stream.socket.getpeername()[1] == port)
        cancelled.cancel()
        await until(lambda: len(pool.waiters) == 1)
        release.set()
        with trio.fail_after(20):
            assert (await first.answer())[0] == (await third.answer())[0] == 200


async def test_a_wait_that_is_cancelled_with_its_turn_passes_it_on(guest: Any) -> None:
    async with stand(answering(OK), {}, plugins=[guest(SINGLE, instances="single")]) as test:
        (pool,) = test.context.runtime.pools
        order: list[str] = []

        class Needing:
            needed = pool
            left = 60.0

        async def wait(name: str, scope: trio.CancelScope) -> None:
            with scope:
                await wait_for_instance(Needing())  # type: ignore[arg-type]
                order.append(name)

        scopes = [trio.CancelScope(), trio.CancelScope()]
        async with trio.open_nursery() as nursery:
            for name, scope in zip(("first", "second"), scopes, strict=True):
                nursery.start_soon(wait, name, scope)
                await trio.testing.wait_all_tasks_blocked()
            scopes[0].cancel()
            pool.wake()
        assert order == ["second"]


LOOPING_INIT = f'(func (export "init") (result i32) {LOOP} {REQUEST} (i32.const 0))'
LOOPING_CLEANUP = f'(func (export "cleanup") (result i32) {LOOP} {REQUEST} (i32.const 0))'


async def test_a_gateway_that_is_cancelled_while_a_plugin_starts_leaves_nothing(guest: Any) -> None:
    before = descriptors()
    config = Config(
        listen=["127.0.0.1:0"],
        routes=[Route(answer=Answer(200))],
        plugins=[guest(LOOPING_INIT, timeout=60.0)],
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(blitz.serve, config)
        await until(lambda: is_waiting("_finish", "slice"))
        nursery.cancel_scope.cancel()
    assert descriptors() == before


async def test_a_cancelled_reload_changes_nothing(guest: Any) -> None:
    async with stand(answering(OK), {}) as test:
        config = Config(routes=[Route(answer=Answer(200))], plugins=[guest(LOOPING_INIT, timeout=60.0)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.reload, config)
            await until(lambda: is_waiting("_finish", "_stand_in"))
            nursery.cancel_scope.cancel()
        assert test.gateway.generation == 1
        assert test.gateway._engine.statistics().instances_live == 0
        await answered(await test.connect())


async def test_a_gateway_that_is_cancelled_while_an_instance_ends_leaves_nothing(guest: Any) -> None:
    plugin = guest(LOOPING_CLEANUP, timeout=60.0)
    async with stand(answering(OK), {}, plugins=[plugin]) as test:
        await answered(await test.connect())
        await test.gateway.reload(Config(routes=[Route(answer=Answer(200))]))
        await until(lambda: is_waiting("_finish_cleanup", "_finish", "_stand_in"))
        test.scope.cancel()
        with trio.fail_after(20):
            await test.ended.wait()
        assert test.gateway._engine._ptr is None


async def test_a_cancelled_drain_lets_the_gateway_go_on_draining() -> None:
    async with stand(silent, {}) as test:
        client = await test.connect()
        await client.send(GET)
        await until(lambda: test.upstream.connections)
        with trio.move_on_after(0.05):
            await test.gateway.drain(grace=60)
        with trio.fail_after(20):
            assert await test.gateway.drain(grace=0.05) is False
            assert (await client.answer())[0] == 503
            assert await client.closed()
            await test.ended.wait()
