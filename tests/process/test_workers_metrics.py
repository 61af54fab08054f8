"""Figures of all workers are one truth, through a killed worker, a reload and new processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.admin.test_metrics import Samples, samples_of, value

from .test_workers import Server, serving, serving_workers, wait_until

CONFIG = """
listen = ["127.0.0.1:0"]
admin = { listen = "127.0.0.1:0" }
[[routes]]
name = "here"
answer = { status = 200, body = "one" }
"""
HERE = {"route": "here", "method": "GET", "code": "200"}


def figures(server: Server) -> Samples:
    code, body = server.admin("/metrics")
    assert code == 200
    return samples_of(body.decode())


def counted(server: Server) -> tuple[float, float]:
    found = figures(server)
    seconds = value(found, "blitz_request_duration_seconds_count", route="here")
    return value(found, "blitz_requests_total", **HERE), seconds


@pytest.mark.parametrize("workers", [1, 2])
def test_no_figure_goes_back(tmp_path: Path, workers: int) -> None:
    file = tmp_path / "blitz.toml"
    file.write_text(CONFIG)
    with serving(file, "--workers", str(workers)) as server:
        wait_until(lambda: len(serving_workers(server)) == workers)
        for _ in range(20):
            assert server.get() == b"one"
        wait_until(lambda: counted(server) == (20, 20))
        assert value(figures(server), "blitz_workers") == workers

        victim = serving_workers(server)[-1]["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: value(figures(server), "blitz_worker_restarts_total") == 1)
        wait_until(lambda: len(serving_workers(server)) == workers and victim not in server.children())
        for _ in range(10):
            server.get()
        wait_until(lambda: counted(server) == (30, 30))
        wait_until(lambda: value(figures(server), "blitz_workers") == workers)

        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: value(figures(server), "blitz_config_reloads_total", result="success") == workers)
        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: server.status()["process_generation"] == 2)
        wait_until(lambda: len(serving_workers(server)) == workers == len(server.children()))
        for _ in range(10):
            server.get()
        wait_until(lambda: counted(server) == (40, 40))
        wait_until(lambda: value(figures(server), "blitz_workers") == workers)
