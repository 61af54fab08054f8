"""Probes are answered, whatever others hold open on the admin listener, on the public one, in the process."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import trio

import blitz
import blitz.admin.api as api
from blitz.config import Answer, Config, Limits, Route
from blitz.server.room import Reserve

from ..server.harness import rig, until
from .test_listener import ON, ask

PLACES = api.LIMITS.max_connections
Address = tuple[str, int]


async def probe(address: Address, times: int = 3) -> None:
    for _ in range(times):
        for path in ("/readyz", "/livez"):
            assert (await ask(address, path))[::2] == (200, b"ok\n")


async def probe_patiently(address: Address, times: int, tries: int = 30) -> None:
    """A probe that gives way before its request is there is sent again, as those who probe do."""
    for _ in range(times):
        for left in reversed(range(tries)):
            try:
                await probe(address, 1)
                break
            except (trio.BrokenResourceError, OSError):
                if not left:
                    raise


@contextlib.asynccontextmanager
async def held(address: Address, many: int, said: bytes = b"") -> AsyncIterator[list[trio.SocketStream]]:
    """So many connections on which *said* was sent, and nothing is read."""
    streams: list[trio.SocketStream] = []
    try:
        for _ in range(many):
            stream = await trio.open_tcp_stream(*address)
            streams.append(stream)
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(said)
        yield streams
    finally:
        with trio.CancelScope(shield=True):
            for stream in streams:
                await trio.aclose_forcefully(stream)


ONE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
SAID = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "a byte": b"G",
    "half a head": ONE[:-6],
    "one request": ONE,
    "several requests": ONE * 5,
    "a body that does not come": b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n",
}


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("many", [PLACES, 3 * PLACES])
async def test_a_probe_has_a_place_among_those_who_wait(said: str, many: int) -> None:
    async with rig(admin=ON) as test:
        (address,) = test.gateway.admin_addresses
        async with held(address, many, SAID[said]):
            await probe(address)


async def test_those_who_do_not_read_do_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LIMITS", msgspec.structs.replace(api.LIMITS, max_connections=6))
    request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with rig(admin=ON) as test:
        (address,) = test.gateway.admin_addresses
        streams = []
        for _ in range(8):
            sock = trio.socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            await sock.connect(address)
            streams.append(trio.SocketStream(sock))
            with trio.move_on_after(0.1), contextlib.suppress(trio.BrokenResourceError):
                while True:  # until it takes no more: its answers are not read
                    await streams[-1].send_all(request * 64)
            await probe(address, 1)
        await probe(address)
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def test_who_waits_for_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    tick = 0.2  # several of those that deadlines are counted in
    monkeypatch.setattr(api, "TIMEOUTS", msgspec.structs.replace(api.TIMEOUTS, head=60.0, keepalive=60.0))
    async with rig(admin=ON) as test:
        (address,) = test.gateway.admin_addresses
        async with held(address, 1) as (oldest,):
            await trio.sleep(tick)
            async with held(address, PLACES - 1):
                await trio.sleep(tick)
                async with held(address, 1) as (young,):
                    with trio.fail_after(20):  # before its time is over
                        assert not await oldest.receive_some()
                        await probe(address, 1)
                        await young.send_all(ONE)
                        assert (await young.receive_some()).startswith(b"HTTP/1.1 200")


async def test_of_those_whose_deadlines_are_alike_the_oldest_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deadlines are counted in ticks, and a probe that comes in the same as others is the youngest."""
    many = 8
    monkeypatch.setattr(api, "LIMITS", msgspec.structs.replace(api.LIMITS, max_connections=many))
    monkeypatch.setattr(api, "TIMEOUTS", msgspec.structs.replace(api.TIMEOUTS, head=60.0, keepalive=60.0))
    async with rig(admin=ON) as test:
        (address,) = test.gateway.admin_addresses
        streams: list[trio.SocketStream] = []
        try:
            for number in range(4 * many):
                streams.append(await trio.open_tcp_stream(*address))
                await streams[-1].send_all(ONE)
                with trio.fail_after(20):
                    assert (await streams[-1].receive_some()).startswith(b"HTTP/1.1 200")
                    if number >= many:
                        assert not await streams[number - many].receive_some()
        finally:
            for stream in streams:
                await trio.aclose_forcefully(stream)


async def test_a_probe_is_answered_while_others_keep_coming() -> None:
    async with rig(admin=ON) as test, trio.open_nursery() as nursery:
        (address,) = test.gateway.admin_addresses

        async def keep_coming() -> None:
            while True:
                async with held(address, 2 * PLACES, ONE[:-6]):
                    pass

        nursery.start_soon(keep_coming)
        await probe_patiently(address, 10)
        nursery.cancel_scope.cancel()


async def test_a_full_gateway_is_ready() -> None:
    async with (
        rig(admin=ON, limits=Limits(max_connections=4)) as test,
        held(test.gateway.addresses[0], 8, b"GET / HTTP/1.1\r\nHo"),
    ):
        await until(lambda: test.gateway.statistics().counters.refused >= 4)
        await probe(test.gateway.admin_addresses[0])


# -- no descriptors

SERVE = """
import os, resource, sys, trio, blitz
from blitz.config import Admin, Answer, Config, Route
config = Config(listen=["127.0.0.1:0"], routes=[Route(answer=Answer())], admin=Admin(listen="127.0.0.1:0"))
async def main():
    async with blitz.open_gateway(config) as gateway:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        print(gateway.addresses[0][1], gateway.admin_addresses[0][1], flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.fixture
def few_descriptors() -> Iterator[tuple[Address, Address]]:
    """The addresses of a gateway that can open 20 files more."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        public, admin = (int(port) for port in process.stdout.readline().split())
        try:
            yield ("127.0.0.1", public), ("127.0.0.1", admin)
        finally:
            process.kill()


async def test_a_process_without_descriptors_answers_probes(few_descriptors: tuple[Address, Address]) -> None:
    public, admin = few_descriptors

    async def probe_short(times: int = 3) -> None:
        for _ in range(times):
            assert (await ask(admin, "/livez"))[::2] == (200, b"ok\n")
            status, _, why = await ask(admin, "/readyz")
            assert (status, b"no descriptor is left" in why) == (503, True)

    async with held(public, 40):  # those that it cannot accept wait in the kernel
        await probe_short()
        async with held(admin, 2 * api.RESERVED):
            await probe_short(10)
        await probe_short()
    with trio.fail_after(20):
        assert (await ask(public))[0] == 200


def test_a_reserve_lends_what_it_has_and_takes_it_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    reserve = Reserve(3)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    assert [reserve.lend() for _ in range(4)] == [True, True, True, False]
    reserve.refill()
    assert len(os.listdir("/proc/self/fd")) == before + 3
    reserve.close()
    assert len(os.listdir("/proc/self/fd")) == before
    reserve.refill()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("more", "warned"), [(100, True), (10_000, False)])
async def test_too_few_descriptors_for_the_connections_are_said_at_start(
    caplog: pytest.LogCaptureFixture, more: int, warned: bool
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    config = Config(
        listen=["127.0.0.1:0"], routes=[Route(answer=Answer())], limits=Limits(max_connections=1000)
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000 + more, before[1]))
    try:
        async with blitz.open_gateway(config):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    said = "limits.max_connections is 1000, which with what goes to upstreams takes up to 1128 descriptors"
    assert (said in caplog.text) == warned
    assert (f"may have {1000 + more}" in caplog.text) == warned
