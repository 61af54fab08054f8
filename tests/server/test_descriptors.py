"""Clients that hold all descriptors keep new clients waiting, and nobody who is being served."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from functools import partial
from pathlib import Path

import trio

from blitz.server.room import last_of_clients
from tests.process.test_workers import serving

from .harness import Client, FakeUpstream, answering

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 1
[upstreams.main]
endpoints = ["http://127.0.0.1:{port}"]
reuse = false
[[routes]]
upstream = "main"
"""
GET = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"


async def ask(client: Client, times: int) -> None:
    for _ in range(times):
        await client.send(GET)
        assert (await client.answer())[::2] == (200, b"ok")


async def test_clients_leave_descriptors_to_what_serves_them(tmp_path: Path) -> None:
    upstream = FakeUpstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        file = tmp_path / "blitz.toml"
        file.write_text(CONFIG.format(port=upstream.port))
        with contextlib.ExitStack() as stack:
            server = await trio.to_thread.run_sync(stack.enter_context, serving(file))
            (worker,) = server.children()
            connect = partial(trio.open_tcp_stream, "127.0.0.1", server.port)
            clients = [Client(await connect()) for _ in range(8)]
            for client in clients:
                stack.callback(client.stream.socket.close)
                await ask(client, 1)
            before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
            most = max(map(int, os.listdir(f"/proc/{worker}/fd"))) + 60
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (most, before[1]))
            held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2 * most)]
            for one in held:
                stack.callback(one.close)
            await trio.to_thread.run_sync(server.wait_for, "new connections wait")
            with trio.fail_after(20):
                async with trio.open_nursery() as asking:
                    for client in clients:
                        asking.start_soon(ask, client, 5)
            for one in held:
                one.close()
            with trio.fail_after(20):
                async with await connect() as stream:
                    await ask(Client(stream), 1)
        nursery.cancel_scope.cancel()


def test_a_part_of_few_and_a_number_of_many_is_left() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for most, left in ((80, 10), (512, 64), (1024, 64)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            assert last_of_clients() == most - left
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
