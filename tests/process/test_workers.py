"""The parent process and its workers, as processes: signals, crashes, replacement, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime

ANSWER = '[[routes]]\nanswer = {{ status = 200, body = "{body}" }}\n'


class Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.said = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            line = self.wait_for("listening on")
        except AssertionError:
            self.close()
            raise
        self.port = int(line.split("http://127.0.0.1:")[1].split(",")[0].split(";")[0])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.said:
                self.lines.append(line)
                self.said.notify_all()

    def wait_for(self, text: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        with self.said:
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                left = deadline - time.monotonic()
                assert left > 0, f"never said {text!r}: {self.lines}, exit {self.process.poll()}"
                self.said.wait(left)

    def children(self) -> set[int]:
        pid = self.process.pid
        try:
            return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
        except OSError:
            return set()

    def get(self) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            data = b""
            while part := sock.recv(65536):
                data += part
        return data.partition(b"\r\n\r\n")[2]

    def admin(self, path: str = "/status") -> tuple[int, bytes]:
        """Status and body of a page of the admin listener."""
        port = int(self.wait_for("for operators").split("http://127.0.0.1:")[1].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while part := sock.recv(65536):
                data += part
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def status(self) -> dict[str, Any]:
        code, body = self.admin()
        assert code == 200
        return dict(json.loads(body))

    def close(self) -> None:
        """End it whatever its state; every process that holds its standard error goes with it."""
        for pid in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextlib.contextmanager
def serving(file: Path, *words: str, **environment: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "blitz", "run", "-c", str(file), *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    server = Server(process)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blitz.toml"
    path.write_text('listen = ["127.0.0.1:0"]\n' + ANSWER.format(body="one"))
    return path


class Load:
    """Keep-alive clients that never stop asking; a lost or refused request is an error."""

    def __init__(self, port: int, clients: int) -> None:
        self.port = port
        self.done = threading.Event()
        self.errors: list[str] = []
        self.answered = 0
        self.bodies: set[bytes] = set()
        self.threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(20)

    def _client(self) -> None:
        sock: socket.socket | None = None
        try:
            while not self.done.is_set():
                if sock is None:
                    sock = socket.create_connection(("127.0.0.1", self.port), 10)
                sock.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                data = b""
                while b"\r\n\r\n" not in data or not data.endswith((b"one", b"two")):
                    part = sock.recv(65536)
                    if not part:
                        raise ConnectionError(f"closed after {data!r}")
                    data += part
                self.answered += 1
                self.bodies.add(data[-3:])
                if b"close" in data.lower():
                    sock.close()
                    sock = None
                time.sleep(0.002)
        except OSError as exc:
            self.errors.append(repr(exc))
        finally:
            if sock is not None:
                sock.close()


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_drains_and_exits_with_0(file: Path, workers: str) -> None:
    with serving(file, "--workers", workers) as server:
        assert server.get() == b"one"
        assert server.stop() == 0
        with pytest.raises(OSError):
            server.get()


def test_a_crashed_worker_is_replaced_and_nobody_is_refused(file: Path) -> None:
    with serving(file, "--workers", "2") as server:
        wait_until(lambda: len(server.children()) == 2)
        victim = min(server.children())
        os.kill(victim, signal.SIGKILL)
        server.wait_for("replacing it in")
        wait_until(lambda: len(server.children()) == 2 and victim not in server.children())
        for _ in range(20):
            assert server.get() == b"one"
        assert server.stop() == 0


def test_reloads_under_load_lose_nothing(file: Path) -> None:
    with serving(file, "--workers", "2") as server:
        wait_until(lambda: len(server.children()) == 2)
        with Load(server.port, 8) as load:
            for turn in range(10):
                body = "two" if turn % 2 == 0 else "one"
                file.write_text('listen = ["127.0.0.1:0"]\n' + ANSWER.format(body=body))
                server.process.send_signal(signal.SIGHUP)
                time.sleep(0.1)
        assert load.errors == []
        assert load.bodies == {b"one", b"two"}
        assert load.answered > 100
        assert server.stop() == 0


def test_a_bad_reload_keeps_the_old_configuration(file: Path) -> None:
    with serving(file) as server:
        file.write_text("nonsense = 1\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reload refused")
        server.wait_for("nonsense")
        assert server.get() == b"one"


PLUGIN = """(module
  (import "blitz" "set_body" (func $set_body (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "BODY")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 8192))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $set_body (i32.const 0) (i32.const 3)) (i32.const 1)))"""


def put_plugin(path: Path, body: str) -> None:
    aside = path.with_name(".new")
    aside.write_bytes(wasmtime.wat2wasm(PLUGIN.replace("BODY", body)))
    aside.rename(path)


@pytest.mark.parametrize("how", ["watch", pytest.param("signal", marks=pytest.mark.slow)])
def test_every_worker_takes_up_a_changed_plugin_and_loses_nothing(watched: Path, how: str) -> None:
    plugin = watched.parent / "guest.wasm"
    put_plugin(plugin, "one")
    more = "watch = true\n" if how == "watch" else ""
    watched.write_text(f'{more}plugin_dir = "."\n' + watched.read_text())
    with serving(watched, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)  # or one starts with what comes next
        with Load(server.port, 8) as load:
            for generation, body in enumerate(("two", "one", "two"), start=2):
                put_plugin(plugin, body)
                if how == "signal":
                    server.process.send_signal(signal.SIGHUP)
                said = f"generation {generation} is running"
                wait_until(lambda said=said: sum(said in line for line in server.lines) == 2)
        assert load.errors == []
        assert {server.get() for _ in range(20)} == {b"two"}
        plugin.write_bytes(b"nonsense")
        if how == "signal":
            server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: sum("is not WebAssembly" in line for line in server.lines) == 2)
        assert {server.get() for _ in range(20)} == {b"two"}
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_new_generations_under_load_lose_nothing(file: Path, workers: int) -> None:
    with serving(file, "--workers", str(workers)) as server:
        wait_until(lambda: len(server.children()) == workers)
        with Load(server.port, 8) as load:
            for generation in range(2, 7):
                before = server.children()
                server.process.send_signal(signal.SIGUSR2)
                server.wait_for(f"generation {generation} serves")
                wait_until(lambda old=before: not old & server.children())
        assert load.errors == []
        assert load.answered > 100
        assert server.stop() == 0


def test_a_generation_that_cannot_start_leaves_the_old_one(file: Path, tmp_path: Path) -> None:
    with serving(file) as server:
        before = server.children()
        bad = tmp_path / "bad.wasm"
        bad.write_bytes(b"nothing")
        file.write_text(file.read_text() + f'[[plugins]]\nname = "bad"\nfile = "{bad}"\n')
        server.process.send_signal(signal.SIGUSR2)
        assert "bad.wasm is not WebAssembly" in server.wait_for("failed to start")
        assert server.children() == before
        assert server.get() == b"one"


def test_workers_drain_when_the_parent_is_killed(file: Path) -> None:
    with serving(file, "--workers", "2") as server:
        wait_until(lambda: len(server.children()) == 2)
        children = server.children()
        server.process.kill()
        server.process.wait()
        # They say so, and end by themselves.
        server.wait_for("the parent process is gone")
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


@pytest.fixture
def watched(file: Path) -> Path:
    """The same with an admin listener."""
    file.write_text(file.read_text().replace("[[routes]]", '[admin]\nlisten = "127.0.0.1:0"\n[[routes]]'))
    return file


def serving_workers(server: Server) -> list[dict[str, Any]]:
    return [worker for worker in server.status()["workers"] if worker["state"] == "serving"]


def test_all_workers_are_one_truth(watched: Path) -> None:
    with serving(watched, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        for _ in range(40):
            assert server.get() == b"one"
        wait_until(lambda: server.status()["counters"]["exchanges"] == 40, 3)
        for _ in range(10):  # whichever worker is asked
            status = server.status()
            assert status["counters"]["exchanges"] == 40
            assert {worker["pid"] for worker in status["workers"]} == server.children()
            assert status["pid"] == server.process.pid
            assert [worker["place"] for worker in status["workers"]] == [0, 1]
            assert server.admin("/readyz") == (200, b"ok\n")


def test_a_worker_that_died_is_counted_and_so_is_what_it_did(watched: Path) -> None:
    with serving(watched, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        for _ in range(40):
            server.get()
        wait_until(lambda: server.status()["counters"]["exchanges"] == 40, 3)
        victim = serving_workers(server)[1]
        os.kill(victim["pid"], signal.SIGKILL)
        server.wait_for("replacing it in")
        wait_until(lambda: [worker["restarts"] for worker in serving_workers(server)] == [0, 1])
        status = server.status()
        assert status["restarts"] == 1
        assert victim["pid"] not in {worker["pid"] for worker in status["workers"]}
        assert status["counters"]["exchanges"] == 40
        assert status["ready"]


def test_a_replacement_is_ready_all_the_way(watched: Path) -> None:
    with serving(watched, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        said: list[tuple[int, bytes]] = []
        for generation in (2, 3):
            server.process.send_signal(signal.SIGUSR2)
            while not any(f"generation {generation} serves" in line for line in list(server.lines)):
                said.append(server.admin("/readyz"))
        wait_until(lambda: [each["process_generation"] for each in serving_workers(server)] == [3, 3])
        assert server.status()["process_generation"] == 3
        assert set(said) == {(200, b"ok\n")}


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_probes_are_answered_until_the_last_exchange_has_ended(
    watched: Path, tmp_path: Path, workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(10)
        port = upstream.getsockname()[1]
        text = watched.read_text()
        watched.write_text(
            text[: text.index("[[routes]]")] + f'[[routes]]\nupstream = "http://127.0.0.1:{port}"\n'
        )
        with serving(watched, "--workers", workers) as server:
            wait_until(lambda: len(serving_workers(server)) == int(workers))
            with socket.create_connection(("127.0.0.1", server.port), 10) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                there, _ = upstream.accept()
                there.recv(65536)
                server.process.send_signal(signal.SIGTERM)
                wait_until(lambda: server.admin("/readyz")[0] == 503)
                for _ in range(5):
                    assert server.admin("/readyz") == (503, b"draining\n")
                    assert server.admin("/livez") == (200, b"ok\n")
                    time.sleep(0.1)
                status = server.status()
                assert (status["ready"], status["in_flight"]) == (False, 1)
                there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert b"200 OK" in client.recv(65536)
                there.close()
            assert server.process.wait(10) == 0


def test_a_refused_reload_shows(watched: Path) -> None:
    with serving(watched, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        good = watched.read_text()
        watched.write_text(good + "nonsense = 1\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: all(worker["last_reload"] for worker in server.status()["workers"]))
        status = server.status()
        assert "nonsense" in status["last_reload"]["error"]
        assert (status["ready"], status["generation"]) == (True, 1)
        watched.write_text(good)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.status()["last_reload"]["error"] == "")
        assert server.status()["generation"] == 2


def test_systemd_is_told(file: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(10)
        with serving(file, NOTIFY_SOCKET=path, WATCHDOG_USEC="400000") as server:
            said = systemd.recv(4096)
            while said == b"WATCHDOG=1":
                said = systemd.recv(4096)
            assert said.startswith(b"READY=1\n")
            assert systemd.recv(4096) == b"WATCHDOG=1"
            server.process.send_signal(signal.SIGHUP)
            while (said := systemd.recv(4096)) == b"WATCHDOG=1":
                pass
            assert said.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            server.process.send_signal(signal.SIGTERM)
            while (said := systemd.recv(4096)) != b"STOPPING=1":
                assert said in (b"WATCHDOG=1", b"READY=1")


def test_socket_activation(file: Path) -> None:
    # LISTEN_PID must be the process that serves: a shell of Python's own sets it and becomes it.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = (
            "import os, sys\n"
            f"os.dup2({listener.fileno()}, 3)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
            f"os.execv(sys.executable, [sys.executable, '-m', 'blitz', 'run', '-c', {str(file)!r}])\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[listener.fileno()], stderr=subprocess.PIPE, text=True
        )
        server = Server(process)
        try:
            assert server.port == port
            assert server.get() == b"one"
            assert server.stop() == 0
        finally:
            server.close()


@pytest.mark.slow
def test_a_child_that_is_no_worker_of_ours_is_buried(file: Path) -> None:
    # As process 1 of a container the parent inherits orphans; here it is born with a child.
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    time.sleep(2)\n"
        "    os._exit(3)\n"
        f"os.execv(sys.executable, [sys.executable, '-m', 'blitz', 'run', '-c', {str(file)!r}])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    server = Server(process)
    try:
        assert server.get() == b"one"
        wait_until(lambda: len(server.children()) == 1)
        assert server.get() == b"one"
        assert server.stop() == 0
    finally:
        server.close()


def test_the_soft_limit_of_descriptors_is_raised(file: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    command = [sys.executable, "-m", "blitz", "run", "-c", str(file)]
    process = subprocess.Popen(
        ["prlimit", f"--nofile=256:{hard}", *command], stderr=subprocess.PIPE, text=True
    )
    server = Server(process)
    try:
        (worker,) = server.children()
        line = next(
            line
            for line in Path(f"/proc/{worker}/limits").read_text().splitlines()
            if line.startswith("Max open files")
        )
        assert line.split()[3] == str(hard)
    finally:
        server.close()
