"""``blitz config show``, ``blitz fmt`` and a configuration on standard input, as users run them."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from .commands import Running, blitz, environment

CONFIG = """\
listen = ["127.0.0.1:0"]
[timeouts]
head   = "5s"
[[routes]]
answer = { status = 200, body = "from a pipe" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "blitz.toml"
    file.write_text(CONFIG)
    return file


def test_show_says_each_value_and_where_it_is_from(file: Path) -> None:
    done = blitz("config", "show", "--set", "timeouts.total=9s", cwd=file.parent, QUIC_LOG="debug")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split("  #", 1)[0].split(" = ", 1) for line in done.stdout.splitlines())
    origins = {line.split(" = ")[0]: line.rpartition("# ")[2] for line in done.stdout.splitlines()}
    assert rows["timeouts.head"].strip() == '"5s"'
    assert origins["timeouts.head"] == "blitz.toml:3"
    assert origins["timeouts.total"] == "--set timeouts.total"
    assert origins["log.level"] == "QUIC_LOG"
    assert origins["timeouts.connect"] == "default"


def test_show_some_as_json(file: Path) -> None:
    done = blitz("config", "show", "routes", "--json", "--set-only", cwd=file.parent)
    assert json.loads(done.stdout) == {
        "routes[0].answer.status": {"value": 200, "origin": "blitz.toml:5"},
        "routes[0].answer.body": {"value": "from a pipe", "origin": "blitz.toml:5"},
    }
    done = blitz("config", "show", "rutes", cwd=file.parent)
    assert (done.returncode, done.stderr) == (
        2,
        "blitz.toml: no key begins with rutes; blitz config show lists all\n",
    )


def test_show_says_what_is_wrong(file: Path) -> None:
    file.write_text(CONFIG.replace("head", "haed"))
    done = blitz("config", "show", cwd=file.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("blitz.toml:3: timeouts.haed: unknown key")


def test_fmt(file: Path) -> None:
    pytest.importorskip("tomlkit")
    assert blitz("fmt", "--check", cwd=file.parent).returncode == 1
    shown = blitz("fmt", "--diff", cwd=file.parent)
    assert '+head = "5s"' in shown.stdout
    assert file.read_text() == CONFIG
    file.chmod(0o640)
    assert blitz("fmt", cwd=file.parent).returncode == 0
    assert 'head = "5s"\n\n[[routes]]' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    assert blitz("fmt", "--check", cwd=file.parent).returncode == 0
    assert [one.name for one in file.parent.iterdir()] == ["blitz.toml"]
    file.write_text("a = ")
    done = blitz("fmt", cwd=file.parent)
    assert (done.returncode, file.read_text()) == (2, "a = ")
    assert "blitz.toml: is not TOML" in done.stderr


def piped(*words: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "blitz", *words],
        input=text,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_standard_input_is_validated() -> None:
    assert (
        piped("validate", "-", text=CONFIG).stdout == "standard input: ok: 1 route, 0 upstreams, 0 plugins\n"
    )
    done = piped("validate", "-", text=CONFIG.replace("head", "haed"))
    assert done.returncode == 2
    assert "standard input:3: timeouts.haed: unknown key" in done.stderr
    done = piped("run", "-c", "-", text="# " + "x" * 1024 * 1024)
    assert (done.returncode, done.stderr) == (
        2,
        "standard input: is more than the 1 MiB that a configuration may have\n",
    )


def test_standard_input_is_run(tmp_path: Path) -> None:
    with open(tmp_path / "given", "w+") as given:
        given.write(CONFIG)
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "blitz", "run", "-c", "-"],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
        )
    try:
        running = Running(process)
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/", timeout=20) as response:
            assert response.read() == b"from a pipe"
        assert running.stop() == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
