"""nginx and aiohttp as upstreams that are killed, stalled and moved while requests come: with retries, and
one endpoint that works, no well-behaved client hears of it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from blitz.config import Route, Timeouts, Upstream

from .harness import Rig, rig, until
from .test_upstreams import Resolver

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")

NGINX = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    server {{ listen {address}:{port} reuseport; location / {{ return 200 "{name}"; }} }}
}}
"""
AIOHTTP = """
import sys
from aiohttp import web

async def answer(request):
    await request.read()
    return web.Response(text=sys.argv[3])

app = web.Application()
app.router.add_route("*", "/{tail:.*}", answer)
web.run_app(app, host=sys.argv[1], port=int(sys.argv[2]), print=None)
"""


class Server:
    """A process that can be killed, stalled and started again at the same place."""

    def __init__(self, name: str, home: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        self.name, self.home, self.address = name, home, address
        home.mkdir()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            self.port = port or probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        where = {"address": self.address, "port": self.port, "home": self.home, "name": self.name}
        if self.name.startswith("nginx"):
            file = self.home / "nginx.conf"
            file.write_text(NGINX.format(**where))
            return ["nginx", "-e", f"{self.home}/error.log", "-p", str(self.home), "-c", str(file)]
        return [sys.executable, "-c", textwrap.dedent(AIOHTTP), self.address, str(self.port), self.name]

    def spawn(self) -> None:
        self.process = subprocess.Popen(self.command(), stderr=subprocess.DEVNULL)

    async def start(self) -> None:
        self.spawn()
        with trio.fail_after(20):
            while True:
                with contextlib.suppress(OSError):
                    await (await trio.open_tcp_stream(self.address, self.port)).aclose()
                    return
                await trio.sleep(0.02)

    def stall(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.asynccontextmanager
async def servers(*made: Server) -> AsyncIterator[None]:
    try:
        async with trio.open_nursery() as nursery:
            for server in made:
                nursery.start_soon(server.start)
        yield
    finally:
        for server in made:
            server.kill()


class Load:
    """Clients that ask one request after the other, on connections that they keep."""

    def __init__(self, test: Rig) -> None:
        self.test = test
        self.answers: Counter[tuple[int, str]] = Counter()
        self.over = False

    async def run(self, clients: int = 4) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(self._ask, number)

    async def _ask(self, number: int) -> None:
        client = await self.test.connect()
        while not self.over:
            safe = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
            put = b"PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"
            await client.send(put if number % 2 else safe)
            with trio.fail_after(60):
                status, _, body = await client.answer()
            self.answers[status, body.decode()] += 1
        await client.stream.aclose()

    async def served(self, by: Callable[[str], bool], more: int = 20) -> None:
        """Wait until so many more requests were answered by one of those."""

        def count() -> int:
            return sum(n for (_, name), n in self.answers.items() if by(name))

        enough = count() + more
        await until(lambda: count() >= enough, 60)

    @property
    def failed(self) -> dict[tuple[int, str], int]:
        return {what: count for what, count in self.answers.items() if what[0] != 200}


RETRY = {
    "attempts": 6,
    "on": ["connect", "reset", "timeout", "502", "503"],
    "per_try": 1.0,
    "budget": "100%",
}


def settings(parser: str, *urls: str, **main: object) -> dict[str, object]:
    outlier = {"fail_duration": 0.3, "status": ["502", "503"]}
    upstream = Upstream(endpoints=list(urls), outlier=outlier, lb="least_conn", **main)  # type: ignore[arg-type]
    return {
        "parser": parser,
        "upstreams": {"main": upstream},
        "routes": [Route(upstream="main", retry=RETRY)],  # type: ignore[arg-type]
        "timeouts": Timeouts(connect=1.5),
    }


@pytest.mark.parametrize("parser", ["auto", pytest.param("h11", marks=pytest.mark.slow)])
async def test_one_that_is_killed_or_stalled_is_nobodys_trouble(tmp_path: Path, parser: str) -> None:
    one, other = Server("nginx", tmp_path / "one"), Server("aiohttp", tmp_path / "other")
    urls = [f"http://127.0.0.1:{server.port}" for server in (one, other)]
    async with servers(one, other), rig(**settings(parser, *urls)) as test:  # type: ignore[arg-type]
        load = Load(test)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await load.served(lambda name: name == "nginx")
            await load.served(lambda name: name == "aiohttp")
            other.kill()
            await load.served(lambda name: name == "nginx")
            await other.start()
            await load.served(lambda name: name == "aiohttp")
            one.stall()
            await load.served(lambda name: name == "aiohttp")
            one.go_on()
            await load.served(lambda name: name == "nginx")
            load.over = True
        assert not load.failed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_to_them_in_which_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = [Server(f"{'nginx' if i % 2 else 'aiohttp'}{i}", tmp_path / str(i)) for i in range(4)]
    urls = [f"http://127.0.0.1:{server.port}" for server in made]
    health = {"interval": 0.2, "rise": 1, "fall": 2}
    async with servers(*made), rig(**settings("auto", *urls, health=health)) as test:  # type: ignore[arg-type]
        load = Load(test)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 12)
            for _ in range(12):
                victims = chance.sample(made, 2)
                for victim in victims:
                    if chance.random() < 0.5:
                        victim.kill()
                    else:
                        victim.stall()
                well = [server.name for server in made if server not in victims]
                await load.served(lambda name: name in well, chance.randrange(20, 200))  # noqa: B023
                for victim in victims:
                    if victim.process is None:
                        await victim.start()
                    else:
                        victim.go_on()
            load.over = True
        assert not load.failed


@pytest.mark.slow
async def test_a_name_that_moves_under_load(tmp_path: Path) -> None:
    resolver = Resolver("127.0.0.1")
    trio.socket.set_custom_hostname_resolver(resolver)
    first = Server("nginx", tmp_path / "first")
    second = Server("aiohttp", tmp_path / "second", "127.0.0.2", first.port)
    url = f"http://app.example:{first.port}"
    async with servers(first, second), rig(**settings("auto", url, resolve_interval=0.1)) as test:  # type: ignore[arg-type]
        load = Load(test)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 8)
            for _ in range(6):
                for address, name in (("127.0.0.1", "nginx"), ("127.0.0.2", "aiohttp")):
                    resolver.addresses = (address,)
                    await load.served(lambda who: who == name, 100)  # noqa: B023
            load.over = True
        assert not load.failed
