"""Access lines that meet an error: counted, told once, and none is half of another."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from blitz.server import access as access_module
from blitz.server.access import AccessLog
from blitz.server.access_writer import LineWriter

from .harness import until
from .test_access import record

LINES = [b"%04d\n" % number for number in range(10)]

# Writes into a file until it may not grow any more, in the middle of a line; then it may.
FULL = """
import resource, sys
from blitz.server.access_writer import LineWriter
import os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
writer = LineWriter(fd)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
lines = b"".join(b"%04d\\n" % number for number in range(10))
lost = writer.write(lines)
lost += writer.write(lines)
problem = writer.problem
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
lost += writer.write(b"back\\n")
print(lost, problem, writer.problem)
"""


@pytest.mark.parametrize("room", [0, 3, 5, 12, 49])
def test_a_file_that_cannot_grow_has_whole_lines_again_later(room: int, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(room)], capture_output=True, text=True, check=True
    )
    whole, torn = divmod(room, 5)
    assert result.stdout.strip() == f"{20 - whole} {os.strerror(errno.EFBIG)}"
    written = path.read_bytes().split(b"\n")
    assert written[:whole] == [line.strip() for line in LINES[:whole]]
    assert written[whole + bool(torn) :] == [b"back", b""]


def full_disk() -> Iterator[tuple[int, int]]:
    fd = os.open("/dev/full", os.O_WRONLY)
    yield fd, errno.ENOSPC
    os.close(fd)


def closed_pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing, errno.EPIPE
    os.close(writing)


def hung_up_terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    os.close(ours)
    yield theirs, errno.EIO
    os.close(theirs)


SINKS = [full_disk, closed_pipe, hung_up_terminal]


@pytest.mark.parametrize("sink", SINKS)
def test_every_line_that_meets_an_error_is_counted(sink: Callable[[], Iterator[tuple[int, int]]]) -> None:
    with contextmanager(sink)() as (fd, code):
        writer = LineWriter(fd)
        assert writer.write(b"".join(LINES)) == 10
        assert writer.problem == os.strerror(code)


async def test_it_is_told_once_and_the_count_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(access_module, "FLUSH_INTERVAL", 0.01)
    fd = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog("json", fd)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for number in range(5):
            log.write(**record(target=b"/%d" % number))
            await until(lambda seen=number: log.dropped > seen)
        assert [text.split(":")[0] for text in caplog.messages] == [
            "standard output does not take the access log"
        ]
        file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, fd)
        log.write(**record(target=b"/back"))
        await until(lambda: len(caplog.messages) == 2)
        assert caplog.messages[1].startswith("5 lines of the access log were lost")
        nursery.cancel_scope.cancel()
    assert json.loads((tmp_path / "log").read_text())["target"] == "/back"
    assert len(caplog.messages) == 2
    os.close(fd)
    os.close(file)


async def test_the_last_count_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog("json", fd)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await trio.testing.wait_all_tasks_blocked()
        log.write(**record())
        await until(lambda: log.dropped)  # a thread's work
        nursery.cancel_scope.cancel()
    assert caplog.messages[-1].startswith("1 lines of the access log were lost")
    os.close(fd)
