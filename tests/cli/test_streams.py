"""Standard streams that are closed when the gateway starts: it serves, and they are nothing else's."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..ports import free_port

CLOSED = [set(some) for count in (1, 2, 3) for some in itertools.combinations(range(3), count)]


def get(port: int) -> bytes:
    """An answer, as soon as there is one."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                data = b""
                while part := sock.recv(65536):
                    data += part
                return data
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


@pytest.mark.parametrize("closed", CLOSED, ids=lambda closed: "".join(map(str, sorted(closed))))
def test_closed_standard_streams_are_occupied(tmp_path: Path, closed: set[int]) -> None:
    port = free_port()
    config = (
        f'listen = ["127.0.0.1:{port}"]\n[log]\naccess = "json"\n[[routes]]\nanswer = {{ body = "ok" }}\n'
    )
    (tmp_path / "blitz.toml").write_text(config)
    redirects = " ".join(f"{fd}>&-" if fd in closed else f"{fd}<>{tmp_path}/{fd}" for fd in range(3))
    command = f"exec {sys.executable} -m blitz run -c blitz.toml {redirects}"
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "XDG_CACHE_HOME": str(tmp_path),
        },
    )
    try:
        assert get(port).endswith(b"ok")
        for pid in family(process.pid):
            for fd in range(3):
                expected = "/dev/null" if fd in closed else f"{tmp_path}/{fd}"
                assert os.readlink(f"/proc/{pid}/fd/{fd}") == expected
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    if 1 not in closed:
        assert '"status":200' in (tmp_path / "1").read_text()
