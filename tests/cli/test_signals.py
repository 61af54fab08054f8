"""Signals at any moment: one that ends the service ends it, in bounded time; after any other one it serves.

That begins where ``blitz`` itself does: before that, while the interpreter starts, no line of ours runs.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.test_workers_compiling import compilers, put_bomb

from ..ports import free_port
from .commands import ROOT, environment
from .test_streams import family, get

SOON = 30.0  # seconds
HUP, USR1, USR2, PIPE = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE
TERM, INT = signal.SIGTERM, signal.SIGINT
SURVIVED = [HUP, USR1, USR2, PIPE, signal.SIGCHLD, signal.SIGWINCH]
BLITZ = [sys.executable, "-m", "blitz"]


class Service:
    """``blitz run``, from the first instruction on."""

    def __init__(
        self, directory: Path, *words: str, command: list[str] | None = None, more: str = ""
    ) -> None:
        self.port = free_port()
        self.file = directory / "blitz.toml"
        self.file.write_text(
            f'listen = ["127.0.0.1:{self.port}"]\n{more}[[routes]]\nanswer = {{ body = "ok" }}\n'
        )
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command or [*BLITZ, "run", "-c", str(self.file), *words], env=environment(), stderr=log
            )

    def said(self) -> str:
        return self.log.read_text()

    def end(self) -> None:
        for pid in family(self.process.pid)[1:] if self.process.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def service(
    directory: Path, *words: str, command: list[str] | None = None, more: str = ""
) -> Iterator[Service]:
    running = Service(directory, *words, command=command, more=more)
    try:
        yield running
    finally:
        running.end()


def blocked(pid: int, number: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigBlk:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def wait_held(process: subprocess.Popen[bytes]) -> None:
    """Until the command's first instruction."""
    deadline = time.monotonic() + SOON
    while not blocked(process.pid, HUP):
        assert process.poll() is None
        assert time.monotonic() < deadline


def test_the_installed_script_begins_there_too() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"blitz": "blitz.__main__:main"}


@pytest.mark.parametrize("number", [HUP, USR1, USR2, PIPE])
def test_with_the_first_instruction_it_serves_all_the_same(tmp_path: Path, number: int) -> None:
    with service(tmp_path) as running:
        wait_held(running.process)
        running.process.send_signal(number)
        assert get(running.port).endswith(b"ok")
        deadline = time.monotonic() + SOON
        obeyed = {HUP: "generation 2 is running (signal)", USR2: "generation 2 serves"}.get(number, "")
        while obeyed not in running.said():  # not dropped: done once there is somebody to do it
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert get(running.port).endswith(b"ok")
        running.process.send_signal(TERM)
        assert running.process.wait(SOON) == 0


@pytest.mark.parametrize("number", [TERM, INT])
@pytest.mark.parametrize(
    "command", [["run"], ["proxy", "127.0.0.1:0", "127.0.0.1:1"], ["demo", "--port", "0"]]
)
def test_with_the_first_instruction_it_ends(tmp_path: Path, number: int, command: list[str]) -> None:
    words = [*BLITZ, *command, *(["-c", str(tmp_path / "blitz.toml")] if command == ["run"] else [])]
    with service(tmp_path, command=words) as running:
        wait_held(running.process)
        running.process.send_signal(number)
        running.process.send_signal(number)
        assert running.process.wait(SOON) == 0
        assert "Traceback" not in running.said()


def storm(running: Service, chance: random.Random) -> None:
    """Some signals at some moments, to the parent and to whoever is there."""
    for _ in range(chance.randint(1, 8)):
        time.sleep(chance.choice((0.0, chance.uniform(0.0, 0.05), chance.uniform(0.0, 0.4))))
        victims = family(running.process.pid) if chance.random() < 0.5 else [running.process.pid]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, chance.choice(SURVIVED))


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow if seed >= 3 else ()) for seed in range(40)]
)
def test_random_signals_at_random_moments(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with service(tmp_path, "--workers", str(chance.randint(1, 2))) as running:
        wait_held(running.process)
        storm(running, chance)
        if serves := chance.random() < 0.7:
            assert get(running.port).endswith(b"ok")
            storm(running, chance)
            assert get(running.port).endswith(b"ok")
        for _ in range(chance.randint(1, 3)):
            with contextlib.suppress(ProcessLookupError):
                running.process.send_signal(chance.choice((TERM, INT)))
            time.sleep(chance.choice((0.0, chance.uniform(0.0, 0.1))))
        assert running.process.wait(SOON) == 0, (serves, running.said())
        assert "Traceback" not in running.said()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_storms_of_the_end_change_no_exit_code(tmp_path: Path, workers: str) -> None:
    with service(tmp_path, "--workers", workers) as running:
        assert get(running.port).endswith(b"ok")
        while running.process.poll() is None:
            for pid in [running.process.pid, *family_or_none(running.process.pid)]:
                for number in (TERM, HUP, INT, USR1):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            time.sleep(0.001)
        assert running.process.wait(SOON) == 0


def family_or_none(pid: int) -> list[int]:
    try:
        return family(pid)[1:]
    except OSError:
        return []


def in_pid_namespace(*words: str) -> list[str]:
    """The command as process 1 of a container is."""
    command = ["unshare", "--pid", "--fork", "--kill-child", *words]
    try:
        able = subprocess.run([*command[:4], "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        able = False
    if not able:
        pytest.skip("no new PID namespace for this user")
    return command


def process_1(running: Service) -> int:
    """Its number out here, once it is the command."""
    deadline = time.monotonic() + SOON
    while True:
        for pid in family_or_none(running.process.pid):
            with contextlib.suppress(OSError):
                if b"blitz" in Path(f"/proc/{pid}/cmdline").read_bytes() and blocked(pid, HUP):
                    return pid
        assert time.monotonic() < deadline


@pytest.mark.parametrize("number", [HUP, USR1, USR2, PIPE])
def test_as_process_1_it_serves_all_the_same(tmp_path: Path, number: int) -> None:
    command = in_pid_namespace(*BLITZ, "run", "-c", str(tmp_path / "blitz.toml"))
    with service(tmp_path, command=command) as running:
        pid = process_1(running)
        os.kill(pid, number)
        assert get(running.port).endswith(b"ok")
        os.kill(pid, number)
        assert get(running.port).endswith(b"ok")
        os.kill(pid, TERM)
        assert running.process.wait(SOON) == 0


@pytest.mark.parametrize("late", [False, True])
def test_as_process_1_it_ends(tmp_path: Path, late: bool) -> None:
    """Without a handler SIGTERM would be nothing to process 1."""
    command = in_pid_namespace(*BLITZ, "run", "-c", str(tmp_path / "blitz.toml"))
    with service(tmp_path, command=command) as running:
        pid = process_1(running)
        if late:
            time.sleep(random.uniform(0.0, 0.6))
        os.kill(pid, TERM)
        assert running.process.wait(SOON) == 0


ORPHANS = (
    "import os, sys, time\n"
    "for _ in range(20):\n"
    "    if os.fork() == 0:\n"
    "        if os.fork() == 0:\n"
    "            time.sleep(1)\n"
    "        os._exit(3)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
)


def test_as_process_1_it_buries_orphans(tmp_path: Path) -> None:
    words = ("-m", "blitz", "run", "-c", str(tmp_path / "blitz.toml"))
    command = in_pid_namespace(sys.executable, "-c", ORPHANS, *words)
    with service(tmp_path, command=command) as running:
        pid = process_1(running)
        assert get(running.port).endswith(b"ok")
        deadline = time.monotonic() + SOON
        while len(family(pid)) > 2:  # itself and its worker
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert get(running.port).endswith(b"ok")
        os.kill(pid, TERM)
        assert running.process.wait(SOON) == 0


def test_children_that_were_ignored_before_the_start_are_not(tmp_path: Path) -> None:
    """Who starts us may have told the system to forget children that end, and us with it."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    command = [sys.executable, "-c", code, "-m", "blitz", "run", "-c", str(tmp_path / "blitz.toml")]
    with service(tmp_path, command=command) as running:
        assert get(running.port).endswith(b"ok")
        deadline = time.monotonic() + SOON
        while "listening on" not in running.said():  # a worker that ends before is one that cannot start
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (worker,) = family(running.process.pid)[1:]
        os.kill(worker, signal.SIGKILL)
        assert get(running.port).endswith(b"ok")
        running.process.send_signal(TERM)
        assert running.process.wait(SOON) == 0


def test_while_a_plugin_compiles_nothing_but_the_end_ends_anybody(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "cache").mkdir(mode=0o700)
    put_bomb(tmp_path / "blitz.toml")
    keys = 'plugin_dir = "plugins"\ncache_dir = "cache"\n'
    with service(tmp_path, more=keys) as running:
        deadline = time.monotonic() + SOON
        while not (compiling := compilers(running.file)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        everybody = [*family(running.process.pid), *compiling]
        for number in (USR1, USR2, HUP, PIPE):
            for pid in everybody:
                if number != PIPE or pid not in compiling:
                    os.kill(pid, number)
            time.sleep(0.1)
        os.kill(compiling[0], INT)  # Ctrl-C is for the whole group; the parent ends what is to end
        time.sleep(0.2)
        assert compilers(running.file) == compiling
        assert [*family(running.process.pid), *compiling] == everybody
        running.process.send_signal(TERM)
        running.process.send_signal(TERM)
        assert running.process.wait(SOON) == 0
        deadline = time.monotonic() + SOON
        while compilers(running.file):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_demo_knows_no_orders(tmp_path: Path) -> None:
    with service(tmp_path, command=[*BLITZ, "demo", "--port", str(port := free_port())]) as running:
        wait_held(running.process)
        for number in (USR1, USR2, PIPE):
            running.process.send_signal(number)
        assert get(port).startswith(b"HTTP/1.1 401")
        for number in (USR1, USR2, PIPE):
            running.process.send_signal(number)
        assert get(port).startswith(b"HTTP/1.1 401")
        running.process.send_signal(HUP)  # the terminal is gone
        assert running.process.wait(SOON) == 0


@pytest.mark.parametrize("first", [False, True])
def test_a_command_that_does_not_serve_ends_too(tmp_path: Path, first: bool) -> None:
    """Also as process 1, where a container runs it."""
    (tmp_path / "cache").mkdir(mode=0o700)
    words = [*BLITZ, "validate", "-c", str(tmp_path / "blitz.toml")]
    command = in_pid_namespace(*words) if first else words
    (tmp_path / "plugins").mkdir()
    put_bomb(tmp_path / "blitz.toml")
    with service(tmp_path, command=command, more='plugin_dir = "plugins"\ncache_dir = "cache"\n') as running:
        pid = process_1(running) if first else running.process.pid
        deadline = time.monotonic() + SOON
        while not compilers(running.file):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(pid, TERM)
        assert running.process.wait(SOON) in (-TERM, 128 + TERM)
