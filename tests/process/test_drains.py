"""Clients that connect all the time while workers drain, are replaced, die, or change in number.

The invariant: each connection is served, or refused at once. None is reset, none waits in a queue that
nobody takes from.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .test_workers import Server, serving, serving_workers, wait_until

ADMIN = '[admin]\nlisten = "127.0.0.1:0"\n'
REQUEST = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
HANGS = 15.0  # seconds: far more than a busy machine needs, and less than what the drain waits for
LISTEN = 'listen = ["127.0.0.1:0"]\n'


class Knocking:
    """Clients of one connection each, again and again; ``wrong`` has what the invariant forbids."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.port = port
        self.served = self.refused = 0
        self.wrong: list[str] = []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._knock) for _ in range(clients)]

    def __enter__(self) -> Knocking:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.served > 20)
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(2 * HANGS)

    def _knock(self) -> None:
        while not self._done.is_set():
            began = time.monotonic()
            stage = "connect"
            try:
                with socket.create_connection(("127.0.0.1", self.port), HANGS) as sock:
                    stage = "answer"
                    sock.sendall(REQUEST)
                    data = b""
                    while part := sock.recv(65536):
                        data += part
                if data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"one"):
                    self.served += 1
                else:
                    self.wrong.append(f"{data!r} after {time.monotonic() - began:.3f} s")
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.005)
            except OSError as exc:
                self.wrong.append(f"{stage}: {exc!r} after {time.monotonic() - began:.3f} s")


class Slow:
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(20)
        self.port = self.listener.getsockname()[1]
        self.clients: list[socket.socket] = []
        self.held: list[socket.socket] = []

    def hold(self, server: Server, target: str = "/slow") -> socket.socket:
        """An exchange in flight; the client's end."""
        client = socket.create_connection(("127.0.0.1", server.port), 20)
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        held, _ = self.listener.accept()
        held.recv(65536)
        self.clients.append(client)
        self.held.append(held)
        return client

    def answer_all(self) -> None:
        for held in self.held:
            held.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        for client in self.clients:
            data = b""
            while not data.endswith(b"slow"):
                part = client.recv(65536)
                assert part, data
                data += part
        self._close_links()

    def close(self) -> None:
        self.listener.close()
        self._close_links()

    def _close_links(self) -> None:
        for sock in (*self.clients, *self.held):
            sock.close()
        self.clients, self.held = [], []


@pytest.fixture
def slow() -> Iterator[Slow]:
    upstream = Slow()
    with contextlib.closing(upstream):
        yield upstream


@pytest.fixture
def file(tmp_path: Path, slow: Slow) -> Path:
    path = tmp_path / "blitz.toml"
    path.write_text(text(slow))
    return path


def text(slow: Slow, first: str = "", listen: str = LISTEN) -> str:
    return (
        f"{listen}{first}{ADMIN}"
        f'[[routes]]\npath_prefix = "/slow"\nupstream = "http://127.0.0.1:{slow.port}"\n'
        '[[routes]]\nanswer = { body = "one" }\n'
    )


def ready(server: Server, workers: int) -> None:
    wait_until(lambda: len(serving_workers(server)) == workers)


def nobody_waits(server: Server) -> None:
    """While something is in flight, which only ends after this."""
    for _ in range(40):
        assert server.get() == b"one"


# -- moments: what happens to two workers that serve while clients knock; how many serve afterwards


def terminate(server: Server, slow: Slow, file: Path) -> int:
    """One worker has an exchange that does not end, the other one is soon gone."""
    slow.hold(server)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(server.children()) == 1)
    time.sleep(0.5)
    slow.answer_all()
    assert server.process.wait(20) == 0
    return 0


def terminate_later(server: Server, slow: Slow, file: Path) -> int:
    file.write_text(text(slow, "workers = 2\n") + "[timeouts]\ndrain_delay = 0.5\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.status()["generation"] == 2 and sum(_runs(server, 2)) == 2)
    return terminate(server, slow, file)


def _runs(server: Server, generation: int) -> list[bool]:
    return [worker["generation"] == generation for worker in serving_workers(server)]


def replace(server: Server, slow: Slow, file: Path) -> int:
    before = server.children()
    slow.hold(server)
    server.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(server.children() - before) == 2)
    wait_until(lambda: len(server.children() & before) == 1)
    nobody_waits(server)
    slow.answer_all()
    wait_until(lambda: not server.children() & before)
    return 2


def end_one(server: Server, slow: Slow, file: Path) -> int:
    """Somebody signals a worker itself, as a terminal does; it has something in flight or it has not."""
    slow.hold(server)
    before = server.children()
    for victim in before:
        os.kill(victim, random.choice((signal.SIGTERM, signal.SIGINT)))
    wait_until(lambda: len(server.children() & before) == 1)
    nobody_waits(server)
    slow.answer_all()
    wait_until(lambda: not server.children() & before)
    return 2


def fewer(server: Server, slow: Slow, file: Path) -> int:
    slow.hold(server)
    file.write_text(text(slow, "workers = 1\n"))
    server.process.send_signal(signal.SIGHUP)
    ready(server, 1)
    nobody_waits(server)
    slow.answer_all()
    wait_until(lambda: len(server.children()) == 1)
    return 1


def more(server: Server, slow: Slow, file: Path) -> int:
    file.write_text(text(slow, "workers = 3\n"))
    server.process.send_signal(signal.SIGHUP)
    return 3


def fewer_by_replacement(server: Server, slow: Slow, file: Path) -> int:
    before = server.children()
    file.write_text(text(slow, "workers = 1\n"))
    server.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: not server.children() & before)
    return 1


def more_by_replacement(server: Server, slow: Slow, file: Path) -> int:
    before = server.children()
    file.write_text(text(slow, "workers = 3\n"))
    server.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: not server.children() & before)
    return 3


MOMENTS: list[Callable[[Server, Slow, Path], int]] = [
    terminate,
    terminate_later,
    replace,
    end_one,
    fewer,
    more,
    fewer_by_replacement,
    more_by_replacement,
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_connection_is_served_or_refused_at_once(
    moment: Callable[[Server, Slow, Path], int], file: Path, slow: Slow
) -> None:
    file.write_text(text(slow, "workers = 2\n"))
    with serving(file) as server:
        ready(server, 2)
        with Knocking(server.port) as knocking:
            left = moment(server, slow, file)
            if left:
                wait_until(lambda: len(serving_workers(server)) == left == len(server.children()))
        assert knocking.wrong == [], "".join(server.lines)
        assert left == 0 or knocking.refused == 0
        if left:
            assert server.stop() == 0, "".join(server.lines)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_the_same_for_many_moments_in_a_row(seed: int, file: Path, slow: Slow) -> None:
    chance = random.Random(seed)
    lasting = [moment for moment in MOMENTS if moment not in (terminate, terminate_later)]
    file.write_text(text(slow, "workers = 2\n"))
    with serving(file) as server:
        ready(server, 2)
        with Knocking(server.port, clients=chance.choice((2, 8))) as knocking:
            for _ in range(8):
                left = chance.choice(lasting)(server, slow, file)
                wait_until(lambda left=left: len(serving_workers(server)) == left == len(server.children()))
                file.write_text(text(slow, "workers = 2\n"))
                server.process.send_signal(signal.SIGHUP)
                ready(server, 2)
                wait_until(lambda: len(server.children()) == 2)
            terminate(server, slow, file)
        assert knocking.wrong == [], "".join(server.lines)
