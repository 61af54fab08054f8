"""The Rust SDK: its examples build with whatever rustc has a standard library for wasm32, and work."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.wasm.engine import Engine

from .blitz_host import BlitzPlugin
from .cases import PLUGINS
from .reference_host import Message

SDK = PLUGINS / "sdk" / "rust"
TARGET = "wasm32-unknown-unknown"
pytestmark = pytest.mark.toolchain


def toolchain() -> tuple[str, str] | None:
    """A (cargo, rustc) that can build for wasm32; Debian's first, because it is the oldest."""
    for directory in ("/usr/bin", os.path.dirname(shutil.which("rustc") or "")):
        rustc, cargo = os.path.join(directory, "rustc"), os.path.join(directory, "cargo")
        if not os.access(rustc, os.X_OK) or not os.access(cargo, os.X_OK):
            continue
        command = [rustc, "--print", "target-libdir", "--target", TARGET]
        libdir = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if libdir and list(Path(libdir).glob("libstd-*.rlib")):
            return cargo, rustc
    return None


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = toolchain()
    if found is None:
        pytest.skip("no rustc with a standard library for wasm32: apt-get install libstd-rust-dev-wasm32 lld")
    cargo, rustc = found
    # A copy: cargo writes a lock file beside the manifest.
    crate = tmp_path_factory.mktemp("rust") / "sdk"
    shutil.copytree(SDK, crate)
    command = [cargo, "build", "--quiet", "--offline", "--release", "--examples", "--target", TARGET]
    env = os.environ | {
        "RUSTC": rustc,
        "CARGO_HOME": str(crate / "home"),
        "CARGO_TARGET_DIR": str(crate / "out"),
    }
    done = subprocess.run(command, cwd=crate, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return crate / "out" / TARGET / "release" / "examples"


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    yield engine
    engine.close()


def test_first_plugin_of_the_readme_is_the_example() -> None:
    listing = (SDK / "README.md").read_text().split("```rust\n")[1].split("```")[0]
    assert listing == (SDK / "examples" / "hello.rs").read_text()


def test_hello_answers_and_passes(examples: Path, engine: Engine) -> None:
    file = examples / "hello.wasm"
    assert file.stat().st_size < 16 * 1024
    with BlitzPlugin(engine, file, {}, {}) as plugin:
        assert not plugin.plugin.has_response
        assert plugin.memory_size() <= 4 * 65536
        passed = plugin.request("GET", "/a", Message([("accept", "*/*")]))
        assert (passed.verdict, passed.headers) == (0, [("accept", "*/*"), ("x-hello", "from Rust")])
        refused = plugin.request("GET", "/private/a", Message())
        assert (refused.verdict, refused.status, refused.body) == (1, 403, "not for you\n")


def test_probe_calls_every_kind_of_host_function(examples: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, examples / "probe.wasm", {}, {"PROBE_NAME": "näme"}) as plugin:
        assert plugin.logs == [("debug", "probe starts")]
        message = Message([("x-echo", "e" * 5000)], {"client.address": "192.0.2.7"})
        passed = plugin.request("PUT", "/a?b", message)
        assert passed.verdict == 0
        assert dict(passed.headers) == {
            "x-seen": "PUT /a?b",
            "x-name": "näme",
            "x-echo-length": "5000",
            "x-client": "192.0.2.7",
            "x-left": "1",
        }
        answer = plugin.response(404, Message(body="ü" * 100_000))
        assert dict(answer.headers) == {"x-status": "404", "x-body-chars": "100000"}
        assert plugin.request("GET", "/", Message()).verdict == 0
        assert plugin.request("GET", "/", Message()).status == 429
        plugin.logs.clear()
        assert plugin.cleanup() == 0
        assert plugin.logs == [("info", "probe ends")]


def test_init_refuses_with_its_message(examples: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, examples / "probe.wasm", {"refuse": "not today"}, {}) as plugin:
        assert plugin.init_result != 0
        assert plugin.logs == [("debug", "probe starts"), ("error", "not today")]


def test_memory_stays_flat(examples: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, examples / "probe.wasm", {}, {}) as plugin:

        def call(count: int) -> None:
            for number in range(count):
                plugin.request(
                    "GET", "/" + "p" * (number % 300), Message([("x-echo", "e" * (number % 3000))])
                )
                plugin.response(200, Message(body="b" * (number % 7 * 20_000)))

        call(100)
        size = plugin.memory_size()
        call(1000)
        assert plugin.memory_size() == size
