"""The AssemblyScript SDK: the README's plugin builds with its flags, and the examples work."""

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

SDK = PLUGINS / "sdk" / "assemblyscript"
VERSION = "0.28.20"
pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def asc() -> Path:
    """The compiler, installed by npm into the cache."""
    if shutil.which("npm") is None:
        pytest.skip("building AssemblyScript needs npm")
    cache = Path(os.environ.get("BLITZ_CACHE") or Path.home() / ".cache" / "blitz")
    home = cache / f"assemblyscript-{VERSION}"
    compiler = home / "node_modules" / ".bin" / "asc"
    if not compiler.exists():
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--prefix", str(home), f"assemblyscript@{VERSION}"]
        subprocess.run(command, check=True, capture_output=True)
    return compiler


def compile_ts(asc: Path, source: Path, out: Path) -> Path:
    """With the flags of the README."""
    line = next(line for line in (SDK / "README.md").read_text().splitlines() if line.startswith("npx asc"))
    flags = line.split()[3:-2]
    done = subprocess.run(
        [str(asc), source.name, *flags, "-o", str(out)],
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def probe(asc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_ts(asc, SDK / "examples" / "probe.ts", tmp_path_factory.mktemp("as") / "probe.wasm")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(max_instances=4, max_memory_size=4 * 1024 * 1024)
    yield engine
    engine.close()


def test_first_plugin_of_the_readme_builds_and_works(asc: Path, tmp_path: Path, engine: Engine) -> None:
    source = tmp_path / "hello.ts"
    source.write_text((SDK / "README.md").read_text().split("```ts\n")[1].split("```")[0])
    shutil.copy(SDK / "blitz.ts", tmp_path)
    with BlitzPlugin(engine, compile_ts(asc, source, tmp_path / "hello.wasm"), {}, {}) as plugin:
        check_hello(plugin, "from AssemblyScript")


def test_probe_calls_every_kind_of_host_function(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {"PROBE_NAME": "näme"}) as plugin:
        check_probe(plugin)


def test_init_refuses_with_its_message(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {"refuse": "not today"}, {}) as plugin:
        check_refused(plugin)


FAILS = """import * as blitz from "./blitz";
export { blitz_buffer, blitz_buffer_size } from "./blitz";

function explode(path: string): i32 {
  const table: i32[] = [0, 0, 0];
  if (path.length == 4) throw new Error("thrown on purpose");
  assert(path.length != 5, "five is too many");
  return table[path.length];
}
export function process_request(method: usize, methodSize: i32, path: usize, pathSize: i32): i32 {
  const text = blitz.text(path, pathSize);
  return text.startsWith("/-") ? explode(text.slice(1)) : explode(text);
}
"""


@pytest.fixture(scope="module")
def fails(asc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fails")
    (directory / "fails.ts").write_text(FAILS)
    shutil.copy(SDK / "blitz.ts", directory)
    return compile_ts(asc, directory / "fails.ts", directory / "fails.wasm")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("/abc", r"thrown on purpose \(fails\.ts:6:\d+\)", id="throw"),
        pytest.param("/abcd", r"five is too many \(fails\.ts:7:\d+\)", id="assert"),
        pytest.param("/-abc", r"thrown on purpose \(fails\.ts:6:\d+\)", id="through another call"),
        pytest.param("/abcde", r"Index out of range \(~lib/array\.ts:\d+:\d+\)", id="index"),
    ],
)
def test_an_error_says_why_and_where(fails: Path, engine: Engine, path: str, said: str) -> None:
    """In a module that was built as the page says."""
    with BlitzPlugin(engine, fails, {}, {}) as plugin:
        assert plugin.request("GET", "/-/", Message()).verdict == 0
        plugin.request("GET", path, Message())
        fault = plugin.instance.fault()
        assert re.search(rf": the guest aborted: {said}", str(fault)), fault
        check_frame(fault, "process_request")
        check_frame(fault, "explode")


def test_memory_stays_flat(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {}) as plugin:
        exercise(plugin, 200)
        size = plugin.memory_size()
        exercise(plugin, 2000)
        assert plugin.memory_size() == size
