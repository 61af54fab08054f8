"""Commands that ask a running gateway, against a real one, over TCP and over a Unix socket."""

import contextlib
import json
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner

from blitz.cli import main
from blitz.cli.follow import rates, table_of

from ..ports import free_port
from .commands import PATIENCE, blitz, curl, environment, serving

CONFIG = """
listen = ["127.0.0.1:0"]
[admin]
listen = "{admin}"
{token}
[log]
access = "json"
[upstreams.main]
endpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
[[routes]]
path_prefix = "/to"
upstream = "main"
[[routes]]
answer = {{ body = "one" }}
"""


def ask(*words, **env):
    """A command that asks, in this process: it starts none."""
    result = CliRunner().invoke(main, words, env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def look(file):
    return json.loads(ask("status", "-c", str(file), "--json").stdout)


@pytest.fixture(scope="module", params=["tcp", "unix"])
def gateway(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("operate")
    file = directory / "blitz.toml"
    admin = f"127.0.0.1:{free_port()}" if request.param == "tcp" else f"unix:{directory}/admin.sock"
    token = 'token = "0123456789abcdef"' if request.param == "tcp" else ""
    file.write_text(CONFIG.format(admin=admin, token=token))
    with serving("run", "-c", str(file), "--workers", "2") as running:
        running.wait_for("for operators")
        deadline = time.monotonic() + PATIENCE
        while [one["state"] for one in look(file)["workers"]] != ["serving"] * 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield running, file, admin


def test_status_and_reload_and_drain(gateway):
    running, file, _ = gateway
    told = ask("status", "-c", str(file))
    assert told.returncode == 0 and ", ready" in told.stdout, told
    assert json.loads(ask("status", "-c", str(file), "--json").stdout)["ready"]

    assert "gets no new requests" in ask("drain", "main", "127.0.0.1:1", "-c", str(file)).stdout
    said = json.loads(ask("status", "-c", str(file), "--json").stdout)
    assert [one["drained"] for one in said["upstreams"]] == [len(said["workers"]), 0]
    assert ask("drain", "main", "127.0.0.1:1", "-c", str(file), "--ready").returncode == 0
    unknown = ask("drain", "main", "127.0.0.1:7", "-c", str(file))
    assert unknown.returncode == 2 and "has no endpoint 127.0.0.1:7; it has: " in unknown.stderr

    good = file.read_text()
    assert "is running" in ask("reload", "-c", str(file)).stdout
    try:
        file.write_text(good + "upstreams = 3\n")
        refused = ask("reload", "--admin", gateway[2], BLITZ_ADMIN_TOKEN="0123456789abcdef")
        assert refused.returncode == 1 and "refused" in refused.stderr and "upstreams" in refused.stderr
        as_json = ask("reload", "--json", "--admin", gateway[2], BLITZ_ADMIN_TOKEN="0123456789abcdef")
        assert as_json.returncode == 1 and json.loads(as_json.stdout)["errors"]
    finally:
        file.write_text(good)
    assert ask("faults", "-c", str(file)).stdout == "none\n"
    assert json.loads(ask("faults", "-c", str(file), "--json").stdout) == {"faults": []}
    assert curl(running.port, "/")[2] == b"one"


def test_logs_follow_both_logs(gateway):
    running, file, _ = gateway
    following = subprocess.Popen(
        [sys.executable, "-m", "blitz", "logs", "-c", str(file), "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert following.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(
            target=lambda: [lines.append(line) for line in following.stdout], daemon=True
        )
        reader.start()
        found: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while len(found) < 2:
            assert time.monotonic() < deadline, lines
            curl(running.port, "/followed")
            curl(running.port, "/to/followed")  # 502, which its own log tells
            time.sleep(0.1)
            said = [json.loads(line) for line in list(lines)]
            found = {one["event"] for one in said if "/followed" in one.get("line", "")}
        following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE) == 0
        reader.join(PATIENCE)
    finally:
        following.kill()
        following.wait()
        following.stdout.close()


def test_top_tells_rates_and_draws_a_table(gateway):
    _, file, _ = gateway
    told = json.loads(ask("top", "--json", "--interval", "0.2", "-c", str(file)).stdout)
    assert len(told["workers"]) == 2 and told["per_second"]["exchanges"] >= 0
    from rich.console import Console

    status = json.loads(ask("status", "--json", "-c", str(file)).stdout)
    status["upstreams"][0]["upstream"] = "[red]\x1b[2Jevil"
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table_of(rates(status, status, 1.0)))
    assert "127.0.0.1:2" in capture.get() and "[red]" in capture.get() and "\x1b[2J" not in capture.get()


def test_a_unix_socket_is_for_its_user_alone_and_a_left_over_one_gives_way(tmp_path):
    path, file = tmp_path / "admin.sock", tmp_path / "blitz.toml"
    file.write_text(CONFIG.format(admin=f"unix:{path}", token=""))
    for _ in range(2):
        with serving("run", "-c", str(file)) as running:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            taken = blitz("run", "-c", str(file))
            assert taken.returncode == 2 and "is in use by another process" in taken.stderr
            running.process.kill()
    path.unlink()
    path.write_text("a file of somebody's")
    refused = blitz("run", "-c", str(file))
    assert refused.returncode == 2 and path.read_text() == "a file of somebody's"


def test_nobody_there_is_a_sentence(tmp_path):
    port = free_port()
    for command in ("status", "reload", "faults", "logs", "top"):
        told = ask(command, "--admin", f"http://127.0.0.1:{port}")
        assert told.returncode == 1
        assert told.stderr.startswith(f"nothing listens on http://127.0.0.1:{port}: ")
    told = ask("status", "--admin", f"unix:{tmp_path}/no.sock")
    assert (told.returncode, told.stderr.split(":")[0]) == (1, "nothing listens on unix")
    for url in ("https://a", "http://", "http://a:b"):
        assert ask("status", "--admin", url).returncode == 2
    file = tmp_path / "off.toml"
    file.write_text('admin = { listen = "off" }\n[[routes]]\nanswer = {}\n')
    told = ask("status", "-c", str(file))
    assert told.returncode == 2 and "nobody answers" in told.stderr


def test_an_address_that_is_taken_ends_nobody_unless_it_was_asked_for(tmp_path):
    """The default one may be another gateway's."""
    file = tmp_path / "blitz.toml"
    file.write_text('listen = ["127.0.0.1:0"]\n[[routes]]\nanswer = { body = "ok" }\n')
    with default_taken(), serving("run", "-c", str(file)) as running:
        assert curl(running.port, "/")[2] == b"ok"
        assert "127.0.0.1:9900 is in use" in running.wait_for("there is no admin listener")
        assert running.stop() == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = f'admin = {{ listen = "127.0.0.1:{taken.getsockname()[1]}" }}\n'
        file.write_text(f'listen = ["127.0.0.1:0"]\n{admin}[[routes]]\nanswer = {{}}\n')
        told = blitz("run", "-c", str(file))
    assert told.returncode == 2 and "admin.listen: " in told.stderr and "is in use" in told.stderr


@contextlib.contextmanager
def default_taken():
    """Hold the default address; gateways of other tests may have it for a while."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_server(("127.0.0.1", 9900)):
                yield
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
