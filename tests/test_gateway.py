"""The gateway as a part of somebody's program: started, reloaded, drained, and gone without a trace."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import blitz
from blitz.config import Answer, Config, Plugin, Route, Upstream

from .cli.commands import PLUGINS
from .server.harness import Client, FakeUpstream, Served, answering, authority, echo, rig, until

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def fixed(status: int) -> Config:
    return Config(listen=["127.0.0.1:0"], routes=[Route(answer=Answer(status))])


def limited(requests: int) -> Config:
    """The built-in rate limiter before a fixed answer: *requests* at once, then none for long."""
    limiter = Plugin(
        name="rate_limiter",
        file=str(PLUGINS / "rate_limiter.wasm"),
        config={"requests_per_minute": 1, "burst": requests},
    )
    return Config(listen=["127.0.0.1:0"], routes=[Route(answer=Answer(200))], plugins=[limiter])


async def connect(gateway: blitz.Gateway) -> Client:
    return Client(await trio.open_tcp_stream(*gateway.addresses[0]))


async def status(gateway: blitz.Gateway) -> int:
    client = await connect(gateway)
    try:
        await client.send(GET)
        return (await client.answer())[0]
    finally:
        await client.stream.aclose()


async def start(nursery: trio.Nursery, config: Config) -> blitz.Gateway:
    gateway: blitz.Gateway = await nursery.start(blitz.serve, config)
    return gateway


# ---------------------------------------------------------------- its life


async def test_it_starts_reloads_and_drains() -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            gateway = await start(nursery, fixed(201))
            ((host, port),) = gateway.addresses
            assert (host, port > 0) == ("127.0.0.1", True)
            assert await status(gateway) == 201
            await gateway.reload(fixed(202))
            assert (gateway.generation, await status(gateway)) == (2, 202)
            assert await gateway.drain(grace=5) is True
        # The nursery has ended: so has serve, and nobody listens any more.
        with pytest.raises(OSError):
            await trio.open_tcp_stream(host, port)


async def test_it_may_end_before_it_has_accepted_anything() -> None:
    for _ in range(20):  # tasks begin in any order
        async with blitz.open_gateway(fixed(200)):
            pass


async def test_a_drain_finishes_what_is_in_flight_and_refuses_the_rest() -> None:
    release = trio.Event()

    async def script(served: Served) -> None:
        await served.head()
        await release.wait()
        await served.send(OK)

    upstream = FakeUpstream(script)
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        config = Config(
            listen=["127.0.0.1:0"],
            routes=[Route(upstream="main")],
            upstreams={"main": Upstream(endpoints=[f"http://127.0.0.1:{upstream.port}"])},
        )
        gateway = await start(nursery, config)
        client = await connect(gateway)
        await client.send(GET)
        await until(lambda: upstream.connections)
        drained: list[bool] = []

        async def drain() -> None:
            drained.append(await gateway.drain(grace=10))

        nursery.start_soon(drain)
        await until(lambda: gateway.statistics().in_flight == 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(OSError):
            await connect(gateway)
        assert drained == []
        release.set()
        code, fields, body = await client.answer()
        assert (code, fields["connection"], body) == (200, "close", b"hello")
        await until(lambda: drained == [True])
        await client.stream.aclose()
        nursery.cancel_scope.cancel()


async def test_a_reload_that_fails_changes_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(b"hello")
    async with blitz.open_gateway(fixed(201)) as gateway:
        broken = Config(routes=[Route(answer=Answer(202))], plugins=[Plugin(name="bad", file=str(bad))])
        with pytest.raises(blitz.PluginLoadError, match="is not WebAssembly"):
            await gateway.reload(broken)
        with pytest.raises(blitz.ConfigError):
            await gateway.reload(Config(routes=[Route(upstream="nowhere")]))
        assert (gateway.generation, await status(gateway)) == (1, 201)


async def test_what_keeps_it_from_starting_is_raised_as_it_is() -> None:
    async with blitz.open_gateway(fixed(200)) as gateway:
        host, port = gateway.addresses[0]
        taken = Config(listen=[f"{host}:{port}"], routes=[Route(answer=Answer(200))])
        with pytest.raises(blitz.ConfigError, match="is in use by another process"):
            async with blitz.open_gateway(taken):
                pass


async def test_a_stream_of_any_kind_can_be_served() -> None:
    async with blitz.open_gateway(fixed(203)) as gateway, trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(gateway.serve_stream, theirs)
        await ours.send_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = b""
        async for part in ours:
            answer += part
        assert answer.startswith(b"HTTP/1.1 203 ")


@pytest.mark.parametrize(("sent", "whole"), [(b"hello", True), (b"he", False)])
async def test_an_embedders_tls_stream_ends_with_close_notify_only_if_the_answer_is_whole(
    sent: bytes, whole: bool
) -> None:
    async def script(served: Served) -> None:
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + sent)

    async with rig(script) as test, trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        server = trio.SSLStream(theirs, authority().server_context("localhost"), server_side=True)
        client = trio.SSLStream(ours, authority().client_context(), server_hostname="localhost")
        nursery.start_soon(test.gateway.serve_stream, server)
        answer = b""
        with trio.fail_after(20):
            await client.send_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            try:
                async for part in client:
                    answer += part
                ended = True
                await client.aclose()
            except trio.BrokenResourceError:
                ended = False
        assert answer.endswith(b"\r\n\r\n" + sent) and ended == whole


# ---------------------------------------------------------------- nothing global


def native_threads() -> int:
    """Threads that Python does not know: those of the C side."""
    return len(os.listdir("/proc/self/task")) - threading.active_count()


def settled_threads() -> int:
    """The same once threads of Python that are just ending, in the kernel's list only, are gone."""
    for _ in range(200):
        if not native_threads():
            break
        time.sleep(0.01)
    return native_threads()


def test_no_thread_is_left() -> None:
    before = settled_threads()
    during: list[int] = []

    async def main() -> None:
        async with blitz.open_gateway(limited(5)) as gateway:
            assert await status(gateway) == 200
            during.append(native_threads())

    trio.run(main)
    assert during == [before + 1]  # the tick
    assert settled_threads() == before
    ours = [thread.name for thread in threading.enumerate() if "blitz" in thread.name.lower()]
    assert ours == []


def state() -> dict[str, Any]:
    """What a library should leave to the program."""
    names = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD]
    names += [signal.SIGPIPE]
    return {
        "handlers": [signal.getsignal(name) for name in names],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "logging": (list(logging.root.handlers), logging.root.level, logging.getLogger("blitz").handlers[:]),
        "level": logging.getLogger("blitz").level,
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "umask": os.umask(os.umask(0o22)),
        "children": Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(),
    }


def test_nothing_of_the_process_is_changed() -> None:
    before = state()
    during: list[dict[str, Any]] = []

    async def main() -> None:
        async with blitz.open_gateway(limited(5)) as gateway:
            await status(gateway)
            await gateway.reload(limited(6))
            during.append(state())

    outside = signal.getsignal(signal.SIGINT)
    trio.run(main, restrict_keyboard_interrupt_to_checkpoints=False)
    (inside,) = during
    inside["handlers"][0] = outside  # SIGINT is trio's while it runs
    before["handlers"][0] = outside
    assert inside == before
    assert state() == before


async def test_two_gateways_in_one_process_share_nothing() -> None:
    async with blitz.open_gateway(limited(2)) as one, blitz.open_gateway(limited(4)) as other:
        assert [await status(one) for _ in range(4)] == [200, 200, 429, 429]
        assert [await status(other) for _ in range(5)] == [200, 200, 200, 200, 429]
        assert one.statistics().counters.exchanges == 4
        assert other.statistics().counters.exchanges == 5
        await one.reload(fixed(201))
        assert (await status(one), await status(other)) == (201, 429)
        assert (one.generation, other.generation) == (2, 1)


async def test_one_gateway_ends_and_the_other_goes_on() -> None:
    async with blitz.open_gateway(limited(9)) as stays:
        async with blitz.open_gateway(limited(9)) as goes:
            assert await status(goes) == 200
        assert [await status(stays) for _ in range(3)] == [200, 200, 200]


def test_two_gateways_in_two_threads() -> None:
    both = threading.Barrier(2, timeout=60)
    answers: dict[int, list[int]] = {}
    errors: list[BaseException] = []

    async def main(requests: int) -> None:
        async with blitz.open_gateway(limited(requests)) as gateway:
            await trio.to_thread.run_sync(both.wait)
            answers[requests] = [await status(gateway) for _ in range(requests + 1)]
            await trio.to_thread.run_sync(both.wait)

    def run(requests: int) -> None:
        try:
            trio.run(main, requests)
        except BaseException as error:  # a thread of a test must not lose it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(requests,)) for requests in (20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert answers == {20: [200] * 20 + [429], 30: [200] * 30 + [429]}


@pytest.mark.slow
def test_one_gateway_after_the_other() -> None:
    async def main(expected: int) -> None:
        async with blitz.open_gateway(limited(expected)) as gateway:
            assert [await status(gateway) for _ in range(expected + 1)] == [200] * expected + [429]

    before = settled_threads()
    for expected in range(1, 6):
        trio.run(main, expected)
    assert settled_threads() == before


async def test_an_echo_of_what_reaches_the_upstream() -> None:
    """The three built-in plugins, configured in Python, in front of an upstream."""
    upstream = FakeUpstream(echo)
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        config = Config(
            listen=["127.0.0.1:0"],
            plugin_dir=str(PLUGINS),
            plugins=[
                Plugin(name="auth_custom", config={"keys": ["alice:key-of-alice"]}),
                Plugin(name="request_logger"),
            ],
            routes=[Route(upstream=f"http://127.0.0.1:{upstream.port}")],
        )
        async with blitz.open_gateway(config) as gateway:
            assert set(gateway.statistics().plugins) == {"auth_custom", "rate_limiter", "request_logger"}
            client = await connect(gateway)
            await client.send(GET)
            assert (await client.answer())[0] == 401
            await client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-Api-Key: key-of-alice\r\n\r\n")
            code, _, body = await client.answer()
            assert code == 200
            assert b"x-authenticated-identity: alice" in body.lower()
            await client.stream.aclose()
        nursery.cancel_scope.cancel()


async def test_answers_do_not_wait_for_a_client_that_is_slow_elsewhere() -> None:
    upstream = FakeUpstream(answering(OK))
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        config = Config(listen=["127.0.0.1:0"], routes=[Route(upstream=f"http://127.0.0.1:{upstream.port}")])
        async with blitz.open_gateway(config) as gateway:
            slow = await connect(gateway)
            await slow.send(b"GET / HT")
            assert [await status(gateway) for _ in range(3)] == [200, 200, 200]
            await slow.stream.aclose()
        nursery.cancel_scope.cancel()
