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
from .probe import check_hello, check_probe, check_refused, exercise

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
        assert plugin.memory_size() <= 4 * 65536
        check_hello(plugin, "from Rust")


def test_probe_calls_every_kind_of_host_function(examples: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, examples / "probe.wasm", {}, {"PROBE_NAME": "näme"}) as plugin:
        check_probe(plugin)


def test_init_refuses_with_its_message(examples: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, examples / "probe.wasm", {"refuse": "not today"}, {}) as plugin:
        check_refused(plugin)


def test_memory_stays_flat(examples: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, examples / "probe.wasm", {}, {}) as plugin:
        exercise(plugin, 100)
        size = plugin.memory_size()
        exercise(plugin, 1000)
        assert plugin.memory_size() == size
