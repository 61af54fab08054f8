"""Errors of the system while connections are taken and made: all pass, unless a listener is dead."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trio

import blitz
from blitz.config import Answer, Config, Route, Timeouts, Upstream
from blitz.errors import ListenerDied
from blitz.server import listen, shortages
from blitz.server.listen import Listener, bind

from .harness import answering, rig, until

ROUTES = [Route(answer=Answer(body="ok"))]
CONFIG = Config(listen=["127.0.0.1:0"], routes=ROUTES)
DEAD = sorted(listen.DEAD)
PASSING = sorted(set(errno.errorcode) - listen.DEAD - {errno.EAGAIN, errno.EINTR})


class Failing(Listener):
    """A listening socket whose accept fails with each of *errors* before it does what it should.

    A socket of its own class, and not a mock: everything else of it is real.
    """

    errors: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            number = self.errors.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()


def failing(*errors: int) -> Failing:
    (bound,) = bind(CONFIG_ADDRESS)
    listener = Failing(fileno=bound.detach())
    listener.setblocking(False)
    listener.errors = list(errors)
    return listener


CONFIG_ADDRESS = blitz.config.Address("127.0.0.1", 0)


async def ask(address: tuple[str, int]) -> bytes:
    with trio.fail_after(20):
        stream = await trio.open_tcp_stream(*address)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            data = b""
            while part := await stream.receive_some():
                data += part
            return data


async def test_every_other_error_passes() -> None:
    listener = failing()
    async with blitz.open_gateway(CONFIG, sockets=[listener]) as gateway:
        for number in PASSING:
            listener.errors = [number]
            assert (await ask(gateway.addresses[0])).endswith(b"ok"), errno.errorcode[number]
            assert not listener.errors


@pytest.mark.parametrize("seed", range(10))
async def test_errors_in_any_order_end_nothing(seed: int) -> None:
    chance = random.Random(seed)
    errors = [chance.choice(PASSING) for _ in range(chance.choice((3, 30, 200)))]
    errors = [each for each in errors if chance.random() < 0.9 or each not in shortages.SHORT]
    listener = failing(*errors[:100])
    async with blitz.open_gateway(CONFIG, sockets=[listener]) as gateway:
        for _ in range(3):
            assert (await ask(gateway.addresses[0])).endswith(b"ok")
        assert not gateway._context.shortages.dead


async def test_one_connection_that_failed_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """A firewall that forbids some, or a client that resets, must not slow others down."""
    listener = failing(errno.EPERM, errno.ECONNABORTED, errno.EHOSTUNREACH)
    async with blitz.open_gateway(CONFIG, sockets=[listener]) as gateway:
        await ask(gateway.addresses[0])
        assert gateway.why_not_ready() == ""
        assert "connections wait" not in caplog.text


async def test_what_goes_on_is_said_once_and_its_end_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortages, "SETTLED", 0.5)
    listener = failing(*[errno.ENOBUFS] * 5)
    async with blitz.open_gateway(CONFIG, sockets=[listener]) as gateway:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, gateway.addresses[0])
                await until(gateway.why_not_ready)
                assert "ENOBUFS" in gateway.why_not_ready()
        await until(lambda: not gateway.why_not_ready(), 10)
    assert caplog.text.count("new connections wait") == 1
    assert caplog.text.count("over after") == 1


@pytest.mark.parametrize("number", DEAD, ids=errno.errorcode.get)
async def test_a_listener_that_seems_dead_listens_again(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    listener = failing(number)
    async with blitz.open_gateway(CONFIG, sockets=[listener]) as gateway:
        assert (await ask(gateway.addresses[0])).endswith(b"ok")
    assert caplog.text.count("it listens again") == 1


async def test_a_listener_that_was_shut_down_listens_again() -> None:
    async with blitz.open_gateway(CONFIG) as first:
        port = first.addresses[0][1]
    (listener,) = bind(blitz.config.Address("127.0.0.1", port))  # by number: it stays when it shuts down
    async with blitz.open_gateway(CONFIG, sockets=[listener]) as gateway:
        assert (await ask(gateway.addresses[0])).endswith(b"ok")
        listener.shutdown(socket.SHUT_RDWR)
        await until(lambda: listen.listens(listener))
        assert (await ask(gateway.addresses[0])).endswith(b"ok")


def repeated(listener: Failing) -> None:
    listener.errors = [errno.EINVAL] * 2


def closed(listener: Failing) -> None:
    """Somebody closed the descriptor beneath us: the system says nothing about that."""
    os.close(listener.fileno())


def another(listener: Failing) -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(fd, listener.fileno())
    os.close(fd)


@contextlib.asynccontextmanager
async def dying(timeouts: Timeouts) -> AsyncIterator[tuple[Failing, blitz.Gateway]]:
    listener = failing()
    config = Config(listen=["127.0.0.1:0"], routes=ROUTES, timeouts=timeouts)
    try:
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[blitz.Gateway]) -> None:
                await blitz.serve(config, sockets=[listener], task_status=task_status)

            yield listener, await nursery.start(serve)
    finally:
        listener.close()


@pytest.mark.parametrize("how", [repeated, closed, another], ids=lambda how: how.__name__)
async def test_a_dead_listener_is_said_and_ends_the_gateway(
    how: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(how)
    with contextlib.ExitStack() as clients, pytest.raises(BaseExceptionGroup) as caught:
        async with dying(Timeouts(drain=1.0)) as (listener, gateway):
            client = clients.enter_context(socket.create_connection(gateway.addresses[0]))
            client.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n")  # not all of it yet
            await until(lambda: gateway.statistics().connections)
            how(listener)
            if how is repeated:
                clients.enter_context(socket.create_connection(gateway.addresses[0]))
            await until(gateway.why_not_ready, 20)
            said = gateway.why_not_ready()  # while what is in flight may end
            await trio.sleep(30)
    assert caught.group_contains(ListenerDied, match="is dead")
    assert "is dead" in said
    assert caplog.text.count("draining, and ending with a failure") == 1


@contextlib.contextmanager
def no_descriptor() -> Iterator[Callable[[], None]]:
    """Every number below the limit is in use; what is called does so again for what was closed since.

    What earlier tests left behind must not be collected meanwhile: it may hold descriptors.
    """
    gc.collect()
    gc.disable()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, before[1]))
    taken = [free]

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))

    take()
    try:
        yield take
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)
        gc.enable()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_no_descriptor_for_an_upstream_is_not_its_fault(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortages, "SETTLED", 0.5)
    answer = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    async with rig(answer) as test:
        port = test.upstream.endpoint.rpartition(":")[2]
        upstreams = {"main": Upstream(endpoints=[f"http://{name}:{port}"])}
        await test.gateway.reload(
            Config(listen=["127.0.0.1:0"], routes=[Route(upstream="main")], upstreams=upstreams)
        )
        client = await test.connect()
        request = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
        await client.send(request)
        assert (await client.answer())[0] == 200
        served = test.upstream.connections[0].stream
        await until(lambda: served.socket.fileno() == -1)  # its number is free, and so is the gateway's
        with no_descriptor() as take:
            for _ in range(3):
                take()
                await client.send(request)
                assert (await client.answer())[0] == 503
            assert "no descriptor is left of the" in test.gateway.why_not_ready()
            (endpoint,) = test.gateway.status().upstreams
            assert (endpoint.failures, endpoint.failing) == (0, 0)
            assert test.gateway.statistics().counters.upstream_errors == 0
        await client.send(request)
        assert (await client.answer())[0] == 200
        await until(lambda: not test.gateway.why_not_ready(), 10)
    assert caplog.text.count("no descriptor is left of the") == 2  # begun and over


async def test_no_descriptor_to_accept_with_recovers_by_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortages, "SETTLED", 0.5)
    async with blitz.open_gateway(CONFIG) as gateway:
        sock = socket.socket()
        sock.setblocking(False)
        with no_descriptor():
            with contextlib.suppress(BlockingIOError):
                sock.connect(gateway.addresses[0])
            await until(gateway.why_not_ready)
            await trio.sleep(0.5)
        await until(lambda: not gateway.why_not_ready(), 10)
        sock.close()
        assert (await ask(gateway.addresses[0])).endswith(b"ok")
    assert caplog.text.count("no descriptor is left of the") == 2
