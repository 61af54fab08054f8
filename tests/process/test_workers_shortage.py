"""Workers from which the system keeps descriptors or a listener: they say so, and it heals by itself."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_workers import ANSWER, Server, serving_workers, wait_until
from .test_workers_recovering import ADMIN

FEW = 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blitz.toml"
    path.write_text(f'listen = ["127.0.0.1:0"]\n{ADMIN}{ANSWER.format(body="one")}')
    return path


@contextlib.contextmanager
def started(*command: str, **environment: str) -> Iterator[Server]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    server = Server(process)
    try:
        yield server
    finally:
        server.close()


def run(file: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "blitz", "run", "-c", str(file), *words]


def said(server: Server, text: str) -> int:
    return sum(text in line for line in list(server.lines))


def test_out_of_descriptors_it_says_so_reloads_nothing_and_recovers(file: Path) -> None:
    with started("prlimit", f"--nofile={FEW}:{FEW}", *run(file)) as server, contextlib.ExitStack() as held:
        wait_until(lambda: len(serving_workers(server)) == 1)
        (worker,) = server.children()
        assert said(server, f"descriptors, and this process may have {FEW}") == 1
        for _ in range(2 * FEW):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        wait_until(lambda: server.admin("/readyz")[0] == 503)
        assert f"no descriptor is left of the {FEW}".encode() in server.admin("/readyz")[1]
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
            assert server.admin("/livez") == (200, b"ok\n")
        assert "no descriptor is left" in server.status()["workers"][0]["trouble"]
        held.close()
        wait_until(lambda: server.admin("/readyz") == (200, b"ok\n"))
        assert server.get() == b"one"
        assert server.children() == {worker}
        assert (said(server, "new connections wait"), said(server, "over after")) == (1, 1)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("is running (signal)")
        assert server.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_too_few_descriptors_are_said_once_and_before(file: Path, workers: str) -> None:
    enough = 16_384  # for 10,000 clients that go to no upstream
    with started("prlimit", f"--nofile=256:{enough}", *run(file, "--workers", workers)) as server:
        wait_until(lambda: len(serving_workers(server)) == int(workers))
        assert said(server, "raise RLIMIT_NOFILE") == 0  # it was raised
    with started("prlimit", "--nofile=256:2048", *run(file, "--workers", workers)) as server:
        wait_until(lambda: len(serving_workers(server)) == int(workers))
        (line,) = [line for line in server.lines if "raise RLIMIT_NOFILE" in line]
        assert "takes up to 10128 descriptors, and this process may have 2048" in line
    command = ["prlimit", "--nofile=256:2048", sys.executable, "-m", "blitz", "validate", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "takes up to 10128 descriptors, and this process may have 2048" in done.stderr


ACCEPT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Fails with the number that stands in the file, as long as there is one. */
int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    int number = 0;
    FILE *file = fopen(getenv("ACCEPT_ERROR"), "r");
    if (file) {
        if (fscanf(file, "%d", &number) != 1)
            number = 0;
        fclose(file);
    }
    if (number) {
        errno = number;
        return -1;
    }
    int (*next)(int, struct sockaddr *, socklen_t *, int) =
        (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
    return next(fd, address, size, flags);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    where = tmp_path_factory.mktemp("accept")
    (where / "accept.c").write_text(ACCEPT)
    built = where / "accept.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", built, where / "accept.c", "-ldl"], check=True, cwd=where
    )
    return built


@contextlib.contextmanager
def refusing(file: Path, library: Path, *words: str) -> Iterator[tuple[Server, Path]]:
    number = file.with_name("accept")
    sanitizers = os.environ.get("LD_PRELOAD", "")
    preload = f"{sanitizers}:{library}" if sanitizers else str(library)
    with started(*run(file, *words), LD_PRELOAD=preload, ACCEPT_ERROR=str(number)) as server:
        wait_until(lambda: len(serving_workers(server)) == (int(words[-1]) if words else 1))
        yield server, number


def knock(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 10)


@pytest.mark.parametrize("number", [errno.ENETDOWN, pytest.param(errno.EIO, marks=pytest.mark.slow)])
def test_what_accept_says_for_a_while_passes(file: Path, library: Path, number: int) -> None:
    with refusing(file, library) as (server, told):
        (worker,) = server.children()
        told.write_text(str(number))
        with knock(server):
            server.wait_for(errno.errorcode[number])
            time.sleep(0.5)
            told.unlink()
            wait_until(lambda: server.admin("/readyz") == (200, b"ok\n"))
        assert server.get() == b"one"
        assert server.children() == {worker}
        assert (said(server, "new connections wait"), said(server, "over after")) == (1, 1)
        assert server.stop() == 0


def test_a_worker_whose_listener_is_dead_is_replaced(file: Path, library: Path) -> None:
    with refusing(file, library, "--workers", "2") as (server, told):
        before = server.children()
        told.write_text(str(errno.EINVAL))
        with contextlib.ExitStack() as held:
            for _ in range(16):  # some come to each
                held.enter_context(knock(server))
            server.wait_for("draining, and ending with a failure")
            server.wait_for("had to end: the listener of")
            told.unlink()
        wait_until(lambda: len(serving_workers(server)) == 2 and not server.children() & before)
        assert server.admin("/readyz") == (200, b"ok\n")
        for _ in range(10):
            assert server.get() == b"one"
        assert server.stop() == 0
