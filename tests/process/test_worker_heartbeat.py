"""A worker that hangs is noticed, said, and replaced; one that only seems to is left alone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.process.child import ChildProcess
from blitz.process.heartbeat import LATE, MAX_STEP, MIN_PATIENCE, Pulse
from blitz.process.orders import Orders

from .test_workers import ANSWER, Server, serving, serving_workers, wait_until
from .test_workers_recovering import ADMIN

HUNG = "has said nothing for"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blitz.toml"
    path.write_text(
        f'listen = ["127.0.0.1:0"]\n{ADMIN}[timeouts]\nworker = {MIN_PATIENCE}\n' + ANSWER.format(body="one")
    )
    return path


def admin(server: Server, path: str) -> tuple[int, bytes]:
    """From whoever takes the connection and is awake: both workers listen on one socket."""
    while True:
        with contextlib.suppress(OSError):
            return server.admin(path)


def said(server: Server, text: str) -> int:
    return sum(text in line for line in list(server.lines))


def test_a_stopped_worker_is_replaced_and_its_sibling_says_so(file: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        with serving(file, "--workers", "2", NOTIFY_SOCKET=path, WATCHDOG_USEC="8000000") as server:
            wait_until(lambda: len(serving_workers(server)) == 2)
            victim = serving_workers(server)[1]
            os.kill(victim["pid"], signal.SIGSTOP)
            wait_until(lambda: admin(server, "/readyz")[0] == 503)
            code, reason = admin(server, "/readyz")
            if code == 503:  # it may have been replaced meanwhile
                assert reason.startswith(b"worker 1 has said nothing for ")
            wait_until(lambda: admin(server, "/readyz") == (200, b"ok\n"))
            wait_until(lambda: len(serving_workers(server)) == 2)
            assert victim["pid"] not in server.children()
            for _ in range(10):
                assert server.get() == b"one"
            assert said(server, HUNG) == 1
            assert said(server, "said nothing for too long and was killed") == 1
            assert server.stop() == 0


def drained(systemd: socket.socket) -> list[bytes]:
    """What was said to systemd so far."""
    systemd.setblocking(False)
    heard = []
    with contextlib.suppress(BlockingIOError):
        while True:
            heard.append(systemd.recv(4096))
    return heard


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_watchdog_follows_from_all_workers(file: Path, tmp_path: Path, workers: int) -> None:
    file.write_text(file.read_text().replace(f"worker = {MIN_PATIENCE}", "worker = 0"))  # nobody is killed
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        with serving(file, "--workers", str(workers), NOTIFY_SOCKET=path, WATCHDOG_USEC="1000000") as server:
            wait_until(lambda: len(serving_workers(server)) == workers)
            wait_until(lambda: b"WATCHDOG=1" in drained(systemd))
            victim = serving_workers(server)[-1]["pid"]
            os.kill(victim, signal.SIGSTOP)
            time.sleep(LATE + 4)
            drained(systemd)
            time.sleep(3)
            assert drained(systemd) == []
            os.kill(victim, signal.SIGCONT)
            wait_until(lambda: b"WATCHDOG=1" in drained(systemd))
            assert (said(server, "is back: it was stopped"), said(server, HUNG)) == (1, 0)
            assert server.stop() == 0


@pytest.mark.slow
def test_a_parent_that_was_stopped_goes_on(file: Path) -> None:
    with serving(file) as server:
        wait_until(lambda: len(serving_workers(server)) == 1)
        before = server.children()
        for _ in range(2):
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(1.1)  # what it waits for is over
            server.process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        assert server.get() == b"one"
        assert (server.children(), server.process.poll()) == (before, None)
        assert server.stop() == 0


@pytest.mark.slow
def test_a_machine_that_was_suspended_has_no_hung_worker(file: Path) -> None:
    with serving(file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        before = server.children()
        for _ in range(3):
            for pid in (server.process.pid, *before):
                os.kill(pid, signal.SIGSTOP)
            time.sleep(MIN_PATIENCE + 1)
            for pid in (server.process.pid, *before):
                os.kill(pid, signal.SIGCONT)
            time.sleep(1.5)
        assert server.children() == before
        assert (said(server, HUNG), server.get()) == (0, b"one")
        assert server.stop() == 0


def test_the_end_does_not_wait_for_a_stopped_worker(file: Path) -> None:
    file.write_text(file.read_text().replace(f"worker = {MIN_PATIENCE}", "worker = 0"))
    with serving(file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        for pid in server.children():
            os.kill(pid, signal.SIGSTOP)
        assert server.stop() == 0


SPINNING = """
import sys, trio
from blitz.cli.log import set_up_logging
from blitz.config import read_config
from blitz.process.workers import run

def spin_soon(gateway):
    print("http://127.0.0.1:%d, listening on" % gateway.addresses[0][1], file=sys.stderr, flush=True)
    async def spin():
        await trio.sleep(0.5)
        while True:
            pass
    trio.lowlevel.spawn_system_task(spin)

set_up_logging("info")
sys.exit(run(read_config(sys.argv[1]).resolved, on_ready=spin_soon))
"""


@contextlib.contextmanager
def spinning(file: Path) -> Iterator[Server]:
    """A service whose first worker spins a moment after it serves."""
    process = subprocess.Popen([sys.executable, "-c", SPINNING, file], stderr=subprocess.PIPE, text=True)
    server = Server(process)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("keys", ["", pytest.param("workers = 2\n", marks=pytest.mark.slow)])
def test_a_worker_whose_event_loop_spins_is_replaced(file: Path, keys: str) -> None:
    file.write_text(keys + file.read_text())
    with spinning(file) as server:
        server.wait_for(HUNG)
        server.wait_for("replacing it in")
        assert server.get() == b"one"
        assert said(server, HUNG) == 1
        assert server.stop() == 0


@pytest.mark.parametrize("seed", range(20))
def test_only_silence_while_the_parent_was_awake_counts(seed: int) -> None:
    """Against a count kept here, for random beats, looks and suspensions."""
    chance = random.Random(seed)
    patience, now = chance.uniform(MIN_PATIENCE, 40.0), chance.uniform(0.0, 1e6)
    with subprocess.Popen(["sleep", "60"]) as process:
        pulse = Pulse(60.0, now)
        orders = Orders()
        child = ChildProcess(0, 1, now, 0.0, -1, 0, None, orders, ready_at=now)
        silent = 0.0
        for _ in range(200):
            step = chance.choice((0.05, 1.0, 1.0, chance.uniform(0, 2), 3600.0))
            now += step
            if chance.random() < 0.15:
                os.write(pulse.heartbeat._out, process.pid.to_bytes(4, sys.byteorder))
                silent = 0.0
            else:
                silent += step if step <= MAX_STEP else 0.0
            late = bool(child.silent_since)
            assert pulse.look({process.pid: child}, patience, now) == (bool(child.silent_since) != late)
            assert bool(child.silent_since) == (silent >= min(LATE, patience / 2))
            assert child.hung == (silent >= patience)
            if child.hung:
                break
        assert (process.wait(10) if child.hung else process.poll()) == (-9 if child.hung else None)
        process.kill()
        orders.close()
        orders.only_say()
        pulse.heartbeat.close()


def test_beats_that_nobody_takes_keep_nobody() -> None:
    pulse = Pulse(60.0, 0.0)
    for _ in range(100_000):  # more than the pipe holds
        pulse.heartbeat.beat()
    assert pulse.heartbeat.read() == {os.getpid()}
    pulse.heartbeat.only_beat()
    pulse.heartbeat.beat()  # nobody is there any more
    os.close(pulse.heartbeat._out)
