"""Operators' changes reach every worker, those that come later too; what any of them tells is told by all."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from .test_workers import Server, serving, serving_workers, wait_until

CONFIG = """
listen = ["127.0.0.1:0"]
admin = {{ listen = "127.0.0.1:0" }}
[upstreams.main]
endpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
[[routes]]
upstream = "main"
{more}
"""
DRAINED = {"endpoint": "127.0.0.1:1"}


def post(server: Server, path: str, said: Any = None) -> tuple[int, dict[str, Any]]:
    port = int(server.wait_for("for operators").split("http://127.0.0.1:")[1].split("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = json.dumps(said) if said is not None else None
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def drained(server: Server) -> int:
    """In how many workers the endpoint is."""
    upstreams = json.loads(server.admin("/upstreams")[1])["upstreams"]
    return int(next(one["drained"] for one in upstreams[0]["endpoints"] if one["address"] == "127.0.0.1:1"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_change_is_everywhere_when_it_is_answered_and_stays(tmp_path: Path, workers: int) -> None:
    file = tmp_path / "blitz.toml"
    file.write_text(CONFIG.format(more=""))
    with serving(file, "--workers", str(workers)) as server:
        wait_until(lambda: len(serving_workers(server)) == workers)
        code, said = post(server, "/upstreams/main/drain", DRAINED)
        assert (code, said["workers"], drained(server)) == (200, workers, workers)

        code, said = post(server, "/reload")
        assert (code, said["workers"], said["generation"], said["errors"]) == (200, workers, 2, [])
        assert {one["last_reload"]["reason"] for one in serving_workers(server)} == {"admin"}
        assert drained(server) == workers

        victim = serving_workers(server)[-1]["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in server.children() and len(serving_workers(server)) == workers)
        assert drained(server) == workers

        file.write_text(CONFIG.format(more="nonsense = 1"))
        code, said = post(server, "/reload")
        assert code == 422 and "nonsense" in said["error"]
        file.write_text(CONFIG.format(more=""))
        assert post(server, "/reload")[0] == 200

        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: server.status()["process_generation"] == 2)
        wait_until(lambda: len(serving_workers(server)) == workers == len(server.children()))
        assert drained(server) == workers
        assert post(server, "/upstreams/main/ready", DRAINED)[0] == 200
        assert drained(server) == 0
        assert post(server, "/log", {"level": "trace"})[0] == 200
        server.get()
        server.wait_for("request head:")
        assert server.stop() == 0
