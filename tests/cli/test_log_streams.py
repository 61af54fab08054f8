"""The log of a gateway as whoever reads standard error gets it, and when nobody can."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import compile_wat

from ..ports import free_port
from .commands import PATIENCE, blitz, curl, environment, serving

FORGED = r"a\0d\0a2026-01-01T00:00:00.000Z error server: forged\0a{\"forged\":1}\1b[2J\ff\e2\80\ae"
GUEST = f"""(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info")
  (data (i32.const 16) "{FORGED}")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func $broken (param i32) (if (i32.eq (local.get 0) (i32.const 5)) (then unreachable)))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 90))
    (call $log (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 4))
    (call $broken (local.get 3)) (i32.const 0)))"""
CONFIG = """
listen = ["127.0.0.1:0"]
workers = 2
[log]
format = "json"
[upstreams.gone]
endpoints = ["http://127.0.0.1:1"]
[upstreams.unused]
endpoints = ["http://127.0.0.1:2"]
[[plugins]]
name = "guest"
file = "guest.wasm"
[[routes]]
path_prefix = "/nobody"
upstream = "gone"
plugins = ["guest"]
[[routes]]
plugins = ["guest"]
answer = { status = 200, body = "calm" }
"""
TEXT_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) (\[WASM Plugin\]|[a-z.]+:) .+"
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "guest.wasm").write_bytes(compile_wat(GUEST))
    (tmp_path / "blitz.toml").write_text(CONFIG)
    return tmp_path


def live_through_all_of_it(site: Path, *words: str) -> list[str]:
    """Start, requests, faults, refused heads, a bad reload, a killed worker, the end -> the lines."""
    with serving("run", *words, cwd=site) as gateway:
        assert curl(gateway.port, "/")[0] == 200
        assert curl(gateway.port, "/trap")[0] == 500
        assert [curl(gateway.port, "/nobody")[0] for _ in range(3)] == [502] * 3
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(b"\x16\x03\x01 \x1b[2J\r\n\r\n")
            assert b" 400 " in client.recv(1000)
        (site / "blitz.toml").write_text(CONFIG + "\n[nonsense\nkey")
        os.kill(gateway.process.pid, signal.SIGHUP)
        gateway.wait_for("reload refused")
        (site / "blitz.toml").write_text(CONFIG)
        os.kill(worker_of(gateway.process.pid), signal.SIGKILL)
        gateway.wait_for("SIGKILL")
        assert gateway.stop() == 0
    return gateway.lines


def worker_of(parent: int) -> int:
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])


def test_every_line_is_an_object_in_json_mode(site: Path) -> None:
    lines = live_through_all_of_it(site)
    objects = [json.loads(line) for line in lines]
    for line, told in zip(lines, objects, strict=True):
        assert line.isascii()
        assert {"time", "level", "source", "message", "pid"} <= told.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])
        assert told["level"] in ("info", "warn", "error")
        assert told["message"].isprintable()
    by_source = {told["source"] for told in objects}
    assert by_source >= {"cli", "server", "upstream", "plugin", "workers"}

    def only(part: str) -> dict[str, Any]:
        return next(told for told in objects if part in told["message"])

    assert only("no route uses it")["level"] == "warn"  # of the start
    fault = only("guest failed in process_request")
    assert (fault["plugin"], fault["hook"], fault["kind"]) == ("guest", "process_request", "trap")
    assert fault["frames"][0] == "broken"
    said = only("[WASM Plugin] guest: a")
    assert (said["plugin"], said["hook"], len(said["id"])) == ("guest", "process_request", 32)
    assert r"\r\n2026-01-01T00:00:00.000Z error server: forged\n" in said["message"]
    # The request that failed, by its id: what the plugin said in it, and the fault.
    assert [told["message"][:22] for told in objects if told.get("id") == fault["id"]] == [
        "[WASM Plugin] guest: a",
        "[WASM Plugin] guest: a",
        "[WASM Plugin] guest fa",
    ]
    down = [told for told in objects if "is down" in told["message"]]
    assert {(told["upstream"], told["endpoint"]) for told in down} == {("gone", "127.0.0.1:1")}
    assert len(down) == len({told["pid"] for told in down})


def test_every_line_of_text_carries_time_and_level(site: Path) -> None:
    lines = live_through_all_of_it(site, "--set", "log.format=text")
    assert [line for line in lines if not TEXT_LINE.fullmatch(line)] == []
    assert all(line.isprintable() for line in lines)
    (fault,) = [line for line in lines if "[WASM Plugin] guest failed in process_request" in line]
    assert "Z warn [WASM Plugin] guest failed in process_request: unreachable" in fault
    assert "; at broken; at " in fault
    assert sum("error server: forged" in line for line in lines) == sum(
        "info [WASM Plugin] guest: a\\r\\n2026" in line for line in lines
    )


BROKEN = [
    pytest.param('listen = ["127.0.0.1:0"]\nlog.format = "json"\nnonsense = 1', [], id="key"),
    pytest.param('listen = ["127.0.0.1:0"]\nnonsense = 1', ["--set", "log.format=json"], id="flag"),
    pytest.param('log.format = "json"\nlisten = ["192.0.2.1:80"]\nroutes = [{answer={}}]', [], id="bind"),
    pytest.param(CONFIG.replace("guest.wasm", "blitz.toml"), [], id="plugin"),
]


@pytest.mark.parametrize(("config", "words"), BROKEN)
def test_what_is_wrong_with_the_configuration_is_said_in_json(
    site: Path, config: str, words: list[str]
) -> None:
    (site / "blitz.toml").write_text(config)
    result = blitz("run", *words, cwd=site)
    assert (result.returncode, result.stdout) == (2, "")
    objects = [json.loads(line) for line in result.stderr.splitlines()]
    assert objects
    assert objects[-1]["level"] == "error"


PROGRAM = """
import logging, sys, threading, warnings
from blitz.cli.log import set_up_logging
set_up_logging("info", sys.argv[1])
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("blitz.server").exception("internal error on a connection from %s", "192.0.2.7")
warnings.warn("a warning\\nof two lines")
logging.getLogger("somebody.else").warning("theirs")
thread = threading.Thread(target=lambda: {}["missing"])
thread.start()
thread.join()
class Sad:
    def __del__(self):
        raise OSError("in a destructor\\x1b[2J")
Sad()
logging.getLogger("blitz.server").warning("%d", "no number")
logging.getLogger("blitz.server").info("said %s", "\\udcff")
raise ValueError("the end\\nof two lines")
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_else_is_on_that_stream(form: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, form], env=environment(), capture_output=True, text=True, check=False
    )
    lines = result.stderr.splitlines()
    parts = [
        "internal error on a connection from 192.0.2.7",
        r"a warning\nof two lines",
        "theirs",
        "a thread failed: Thread",
        "Sad.__del__",
        "a message of the log does not fit its values: %d",
        "said ",
        "the command failed: ValueError",
    ]
    assert len(lines) == len(parts)
    plain = [line.replace(r"\\", "\\") for line in lines]
    assert [part for part, line in zip(parts, plain, strict=True) if part not in line] == []
    if form == "text":
        assert all(TEXT_LINE.fullmatch(line) and line.isprintable() for line in lines)
        assert r"\nZeroDivisionError: division by zero" in lines[0]
        return
    objects = [json.loads(line) for line in lines]
    assert objects[0]["traceback"].endswith("\nZeroDivisionError: division by zero")
    assert objects[0]["message"] == "internal error on a connection from 192.0.2.7"
    assert r"in a destructor\x1b[2J" in objects[4]["traceback"]
    assert objects[-1]["traceback"].endswith("\nof two lines")
    assert "ValueError: the end" in objects[-1]["traceback"]


# ---------------------------------------------------------------- nobody can read


def closed_pipe() -> tuple[int, list[int]]:
    reading, writing = os.pipe()
    os.close(reading)
    return writing, []


def stuck_pipe() -> tuple[int, list[int]]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    return writing, [reading]


def hung_up_terminal() -> tuple[int, list[int]]:
    ours, theirs = pty.openpty()
    os.close(ours)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.write(theirs, b"x")
    return theirs, []


def full_disk() -> tuple[int, list[int]]:
    return os.open("/dev/full", os.O_WRONLY), []


Sink = Callable[[], tuple[int, list[int]]]


@contextmanager
def running_into(sink: Sink, site: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A gateway whose standard error is *sink*, and the port where it listens."""
    port = free_port()
    text = CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{port}").replace("workers = 2", "workers = 1")
    (site / "blitz.toml").write_text(text)
    fd, others = sink()
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", "run", *words], cwd=site, env=environment(), stderr=fd
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.02)
        yield process, port
    finally:
        process.kill()
        process.wait()
        for one in (fd, *others):
            os.close(one)


@pytest.mark.parametrize("form", [pytest.param("text", marks=pytest.mark.slow), "json"])
@pytest.mark.parametrize("sink", [full_disk, closed_pipe, stuck_pipe, hung_up_terminal])
def test_traffic_goes_on_whatever_becomes_of_the_log(site: Path, sink: Sink, form: str) -> None:
    with running_into(sink, site, "--set", f"log.format={form}") as (process, port):
        for _ in range(10):
            assert curl(port, "/")[2] == b"calm"
            assert curl(port, "/trap")[0] in (500, 503)
            assert curl(port, "/nobody")[0] in (502, 503)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_what_was_kept_is_written_once_somebody_reads_again(site: Path) -> None:
    reading: list[int] = []

    def sink() -> tuple[int, list[int]]:
        writing, others = stuck_pipe()
        reading.extend(others)
        os.set_blocking(others[0], False)
        return writing, others

    data = b""
    with running_into(sink, site) as (process, port):
        for _ in range(10):
            curl(port, "/")
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        ended = False
        while not ended:
            ended = process.poll() is not None
            assert time.monotonic() < deadline
            try:
                data += os.read(reading[0], 65536)
            except BlockingIOError:
                time.sleep(0.01)
    objects = [json.loads(line) for line in data.lstrip(b"x").splitlines()]
    assert sum("[WASM Plugin] guest: a" in told["message"] for told in objects) == 20  # kept meanwhile
