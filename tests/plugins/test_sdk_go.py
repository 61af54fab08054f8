"""The Go SDK: the README's commands build the first plugin, and the examples work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.wasm.engine import Engine

from .blitz_host import MIB, BlitzPlugin
from .cases import PLUGINS
from .probe import check_hello, check_probe, check_refused, exercise
from .reference_host import Message
from .toolchain import check_frame, listings

SDK = PLUGINS / "sdk" / "go"
MEMORY = 16 * MIB
NEEDED = (1, 24)
pytestmark = pytest.mark.toolchain


def run_go(command: str, directory: Path) -> None:
    env = os.environ | {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(
        ["/bin/sh", "-ec", command], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as the README says."""
    go = shutil.which("go")
    version = subprocess.run([go or "true", "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < NEEDED:
        pytest.skip("building Go plugins needs go 1.24 or later")
    readme = (SDK / "README.md").read_text()
    source, commands = (readme.split(f"```{kind}\n")[1].split("```")[0] for kind in ("go", "bash"))
    directory = tmp_path_factory.mktemp("hello")
    (directory / "main.go").write_text(source)
    run_go(commands.replace("/path/to/blitz/plugins/sdk/go", str(SDK)), directory)
    return directory / "hello.wasm"


@pytest.fixture(scope="module")
def probe(hello: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("probe") / "probe.wasm"
    run_go(
        f"GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -o {out} .",
        SDK / "examples" / "probe",
    )
    return out


PANICS = """package main

import blitz "blitz.example/plugin"

//go:noinline
func explode(path string) int {
	return make([]int, 3)[len(path)]
}

func init() {
	blitz.OnRequest(func(method, path string) blitz.Verdict {
		return blitz.Verdict(explode(path))
	})
}

func main() {}
"""


def test_a_panic_says_why_and_where(hello: Path, tmp_path: Path, engine: Engine) -> None:
    """In a module that was built as the page says."""
    (commands,) = listings(SDK / "README.md", "bash")
    (tmp_path / "main.go").write_text(PANICS)
    run_go(commands.replace("/path/to/blitz/plugins/sdk/go", str(SDK)), tmp_path)
    with BlitzPlugin(engine, tmp_path / "hello.wasm", {}, {}, MEMORY) as plugin:
        assert plugin.request("GET", "/a", Message()).verdict == 0
        plugin.request("GET", "/abc", Message())
        lines = [text for level, text in plugin.logs if level == "error"]
        assert "panic: runtime error: index out of range [4] with length 3" in lines
        assert any("main.go:7" in line for line in lines)
        check_frame(plugin.instance.fault(), "explode")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(max_instances=4, max_memory_size=MEMORY)
    yield engine
    engine.close()


def test_first_plugin_of_the_readme_builds_and_works(hello: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, hello, {}, {}, MEMORY) as plugin:
        check_hello(plugin, "from Go")


def test_probe_calls_every_kind_of_host_function(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {"PROBE_NAME": "näme"}, MEMORY) as plugin:
        check_probe(plugin)


def test_init_refuses_with_its_message(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {"refuse": "not today"}, {}, MEMORY) as plugin:
        check_refused(plugin)


def test_the_collector_keeps_memory_within_its_limit(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {}, MEMORY) as plugin:
        exercise(plugin, 2000)
        assert plugin.memory_size() < MEMORY
