"""Lines on standard error: written at once if possible, waited for by nobody; counted when lost."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blitz.cli import stderr as stderr_module
from blitz.cli.stderr import MAX_KEPT, FileWriter, PipeWriter, open_fd
from tests.conftest import compile_wat

from .commands import curl, environment

LINE = "x" * 999
SOON = 20.0  # seconds


def lost_line(count: int, cause: str) -> bytes:
    return b"LOST %d %s\n" % (count, cause.encode())


@contextlib.contextmanager
def writing_to(fd: int) -> Iterator[PipeWriter | FileWriter]:
    writer = open_fd(fd, os.fstat(fd).st_mode, lost_line)
    try:
        yield writer
    finally:
        writer.close()


@pytest.fixture(params=["pipe", "pipe_of_another", "socket"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Where to read, where to write."""
    if request.param == "socket":
        left, right = socket.socketpair()
        with left, right:
            yield left.fileno(), right.fileno()
        return
    if request.param == "pipe_of_another":

        def refuse(path: str, flags: int) -> int:
            raise PermissionError(path)

        monkeypatch.setattr(stderr_module.os, "open", refuse)
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read(fd: int, until: bytes) -> list[bytes]:
    data = b""
    deadline = time.monotonic() + SOON
    while until not in data:
        assert time.monotonic() < deadline
        data += os.read(fd, 65536)
    return data.splitlines()


def test_a_line_is_written_at_once(ends: tuple[int, int]) -> None:
    with writing_to(ends[1]) as writer:
        writer.write(b"one\n")
        writer.write(b"two\n")
        assert os.read(ends[0], 100) == b"one\ntwo\n"


def numbered(number: int) -> bytes:
    return b"%05d %s\n" % (number, LINE.encode())


def test_nobody_waits_for_a_reader(ends: tuple[int, int]) -> None:
    with writing_to(ends[1]) as writer:
        began = time.monotonic()
        for number in range(5000):
            writer.write(numbered(number))
        assert time.monotonic() - began < SOON
        assert writer._size <= MAX_KEPT
        lost = writer.lost
        assert 3000 < lost < 4500
        lines = read(ends[0], b"nobody read them\n")
        assert lines[-1] == b"LOST %d nobody read them" % lost
        assert lines[:-1] == [numbered(number)[:-1] for number in range(5000 - lost)]
        wait_for(lambda: writer._thread is None)
        writer.write(b"after\n")
        assert os.read(ends[0], 100) == b"after\n"
        assert writer.lost == 0


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_long_line_is_whole(ends: tuple[int, int]) -> None:
    with writing_to(ends[1]) as writer:
        writer.write(b"y" * 600_000 + b"\n")
        assert read(ends[0], b"\n") == [b"y" * 600_000]


def test_writes_end_where_lines_do() -> None:
    """So that lines of several workers do not mix."""
    written: list[bytes] = []

    def write(data: bytes) -> int:
        written.append(data)
        return len(data)

    reading, writing = os.pipe()
    writer = PipeWriter(writing, write, lambda: None, lost_line)
    writer.write(b"".join(numbered(number) for number in range(10)) + b"y" * 9000 + b"\nz\n")
    assert all(data.endswith(b"\n") for data in written)
    assert all(len(data) <= 4096 or data.count(b"\n") == 1 for data in written)
    assert len(written) < 7
    os.close(reading)
    os.close(writing)


def test_when_nobody_reads_any_more_nothing_is_kept_and_all_is_counted() -> None:
    reading, writing = os.pipe()
    with writing_to(writing) as writer:
        for number in range(500):
            writer.write(numbered(number))
        assert writer._size
        os.close(reading)
        wait_for(lambda: not writer._size and writer._thread is None)
        before = writer.lost
        assert before > 300
        writer.write(b"one\n")
        assert (writer._size, writer.lost) == (0, before + 1)
    os.close(writing)


def test_a_file_gets_everything(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file, writing_to(file.fileno()) as writer:
        for number in range(3000):
            writer.write(numbered(number))
            if number % 500 == 499:
                wait_for(lambda: not writer._size)
    assert (tmp_path / "log").read_bytes() == b"".join(map(numbered, range(3000)))


def test_a_disk_that_hangs_stops_nobody(tmp_path: Path) -> None:
    go_on = threading.Event()
    written: list[bytes] = []

    def hang(data: bytes) -> int:
        go_on.wait(SOON)
        written.append(data)
        return len(data)

    with (tmp_path / "log").open("wb") as file:
        writer = FileWriter(file.fileno(), lost_line)
        writer._write = hang
        for number in range(5000):
            writer.write(numbered(number))
        assert writer._size <= MAX_KEPT
        lost = writer.lost
        assert 3000 < lost < 4500
        go_on.set()
        wait_for(lambda: not writer._size)
        writer.write(b"after\n")
        writer.close()
    lines = b"".join(written).splitlines()
    told = [line for line in lines if line.startswith(b"LOST")]
    assert all(line.endswith(b" the file took nothing for too long") for line in told)
    assert sum(int(line.split()[1]) for line in told) == lost
    assert len(lines) == 5000 - lost + len(told) + 1
    assert lines[-1] == b"after"


CAUSES = [
    pytest.param(errno.ENOSPC, id="full"),
    pytest.param(errno.EIO, id="broken"),
    pytest.param(errno.EPIPE, id="closed"),
    pytest.param(errno.EDQUOT, id="quota"),
]


@pytest.mark.parametrize("code", CAUSES)
@pytest.mark.parametrize("room", [0, 3, 5, 8])
@pytest.mark.parametrize("file", [False, True])
def test_lines_that_meet_an_error_are_counted_and_said(
    code: int, room: int, file: bool, tmp_path: Path
) -> None:
    """*room* bytes are taken before the error: lines of five, so in the middle of one, and at its end."""
    written = b""
    left = [room]

    def write(data: bytes) -> int:
        nonlocal written
        if not left[0]:
            raise OSError(code, os.strerror(code))
        taken = min(len(data), left[0])
        written += data[:taken]
        left[0] -= taken
        return taken

    with (tmp_path / "log").open("wb") as target:
        writer: PipeWriter | FileWriter
        if file:
            writer = FileWriter(target.fileno(), lost_line)
            writer._write = write
        else:
            writer = PipeWriter(target.fileno(), write, lambda: None, lost_line)
        for line in (b"one.\n", b"two.\n", b"six.\n"):
            writer.write(line)
            wait_for(lambda: not writer._size)
        whole = room // 5
        assert writer.lost == 3 - whole
        left[0] = 1000
        writer.write(b"back\n")
        writer.write(b"more\n")
        wait_for(lambda: not writer._size)
        assert writer.lost == 0
        writer.close()
    lines = written.split(b"\n")
    assert lines[:whole] == [b"one.", b"two."][:whole]
    torn = room % 5 > 0
    assert lines[whole + torn :] == [
        b"LOST %d %s" % (3 - whole, os.strerror(code).encode()),
        b"back",
        b"more",
        b"",
    ]


def test_a_full_device_is_an_error_like_others() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with writing_to(fd) as writer:
        for _ in range(10):
            writer.write(b"line\n")
        wait_for(lambda: writer.lost == 10)
    os.close(fd)


def test_a_terminal_that_hangs_up_is_an_error_like_others() -> None:
    ours, theirs = pty.openpty()
    with writing_to(theirs) as writer:
        writer.write(b"heard\n")
        assert os.read(ours, 100) == b"heard\r\n"
        os.close(ours)
        writer.write(b"line\n")
        wait_for(lambda: writer.lost == 1)
        assert writer._cause == os.strerror(errno.EIO)
    os.close(theirs)


def test_what_is_kept_is_written_at_the_end_if_somebody_reads() -> None:
    reading, writing = os.pipe()
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.extend(iter(lambda: os.read(reading, 65536), b"")))
    with writing_to(writing) as writer:
        for number in range(300):
            writer.write(numbered(number))
        assert writer._size
        reader.start()
    os.close(writing)
    reader.join(SOON)
    os.close(reading)
    assert b"".join(heard) == b"".join(map(numbered, range(300)))


@pytest.mark.parametrize("file", [False, True])
def test_a_child_does_not_write_what_its_parent_keeps(file: bool, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    writer: PipeWriter | FileWriter = (
        FileWriter(writing, lost_line) if file else open_fd(writing, os.fstat(writing).st_mode, lost_line)
    )
    for number in range(100):
        writer.write(numbered(number))
    assert writer._size
    pid = os.fork()
    if not pid:
        writer.forget()
        os._exit(0 if writer._size == 0 and writer._thread is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(reading)
    wait_for(lambda: writer._thread is None)
    writer.close()
    os.close(writing)


# ---------------------------------------------------------------- a worker

LOUD = """(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 60000)) (i32.const 0)))"""
CONFIG = """
listen = ["127.0.0.1:0"]
[[plugins]]
name = "loud"
file = "loud.wasm"
[[routes]]
path_prefix = "/loud"
plugins = ["loud"]
answer = { status = 200, body = "loud" }
[[routes]]
plugins = []
answer = { status = 200, body = "calm" }
"""


def test_a_plugin_whose_log_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "loud.wasm").write_bytes(compile_wat(LOUD))
    (tmp_path / "blitz.toml").write_text(CONFIG)
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", "run", "-c", str(tmp_path / "blitz.toml")],
        env=environment(),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = b""
        while b"listening on" not in line:
            line = process.stderr.readline()
            assert line
        port = int(line.partition(b"http://127.0.0.1:")[2].partition(b";")[0].partition(b",")[0])
        for _ in range(100):
            assert curl(port, "/loud")[2] == b"loud"
            assert curl(port, "/")[2] == b"calm"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
