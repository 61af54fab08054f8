"""The Rust SDK: its examples build with whatever rustc has a standard library for wasm32, and work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.wasm.engine import Engine

from .blitz_host import BlitzPlugin
from .cases import PLUGINS
from .probe import check_hello, check_probe, check_refused, exercise
from .reference_host import Message
from .toolchain import check_frame

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
    # A copy: cargo writes a lock file beside the manifest.
    crate = tmp_path_factory.mktemp("rust") / "sdk"
    shutil.copytree(SDK, crate)
    build(found, crate, "--examples")
    return crate / "out" / TARGET / "release" / "examples"


def build(found: tuple[str, str], crate: Path, *words: str) -> None:
    """Into ``out`` of *crate*; without a warning."""
    cargo, rustc = found
    command = [cargo, "build", "--quiet", "--offline", "--release", "--target", TARGET, *words]
    env = os.environ | {
        "RUSTC": rustc,
        "CARGO_HOME": str(crate / "home"),
        "CARGO_TARGET_DIR": str(crate / "out"),
    }
    done = subprocess.run(command, cwd=crate, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
    assert file.stat().st_size < 32 * 1024
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


# ---------------------------------------------------------------- panics


def line_of(text: str) -> int:
    lines = (SDK / "examples" / "panics.rs").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def check_panic(plugin: BlitzPlugin, text: str, place: str = "") -> None:
    """The log has what the panic said, and where it was."""
    ((level, line),) = plugin.logs
    assert level == "error"
    assert re.fullmatch(rf"panicked at {place or r'.*'}: {re.escape(text)}", line), line


@pytest.mark.parametrize(
    ("status", "text", "source"),
    [
        pytest.param(500, "in so many words", "500 =>", id="literal"),
        pytest.param(501, "there is one", "501 =>", id="expect"),
        pytest.param(502, "no message", "502 =>", id="value"),
    ],
)
def test_a_panic_says_why_and_where(
    examples: Path, engine: Engine, status: int, text: str, source: str
) -> None:
    with BlitzPlugin(engine, examples / "panics.wasm", {}, {}) as plugin:
        assert plugin.request("GET", "/", Message()).verdict == 0
        assert plugin.response(status, Message()).verdict == -1
        check_panic(plugin, text, rf"examples/panics\.rs:{line_of(source)}:\d+")


def test_a_panic_of_the_library_says_it_too_and_the_frames_name_the_caller(
    examples: Path, engine: Engine
) -> None:
    with BlitzPlugin(engine, examples / "panics.wasm", {}, {}) as plugin:
        plugin.request("GET", "/1234567", Message())
        check_panic(
            plugin,
            "index out of bounds: the len is 8 but the index is 8",
            rf"examples/panics\.rs:{line_of('squares[index]')}:\d+",
        )
        check_frame(plugin.instance.fault(), "explode")


def test_a_panic_in_init_and_in_cleanup_is_logged(examples: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, examples / "panics.wasm", {"panic": "ünready"}, {}) as plugin:
        assert plugin.init_result != 0
        check_panic(plugin, "ünready")
    with BlitzPlugin(engine, examples / "panics.wasm", {}, {}) as plugin:
        assert plugin.cleanup() == -1
        check_panic(plugin, r"two\nlines")


def test_the_profile_of_the_readme_is_the_one_that_is_tested() -> None:
    page, manifest = (
        (SDK / name).read_text().split("[profile.release]\n")[1].splitlines()[:4]
        for name in ("README.md", "Cargo.toml")
    )
    assert {line.partition("  #")[0].rstrip() for line in page} == set(manifest)


def test_it_builds_without_the_standard_library(examples: Path) -> None:
    found = toolchain()
    assert found is not None
    build(found, examples.parents[3], "--lib", "--no-default-features")
