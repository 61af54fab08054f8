"""The compiler's process: whatever a module does to it, the module is refused, and nothing else happens."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blitz.errors import PluginLoadError
from blitz.wasm import cache as cache_module
from blitz.wasm import compile_process as apart_module
from blitz.wasm.cache import CompileCache
from blitz.wasm.compile_process import Stop, Stopped
from blitz.wasm.engine import Engine
from blitz.wasm.module import Module

from .bombs import LONG, MANY_LOCALS

Wasm = Callable[[str], bytes]
PATIENCE = 20.0  # seconds; a busy machine starts processes slowly


class InProcess:
    """How often a module was compiled in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = Module.compile

        def counted(*args: object) -> Module:
            self.count += 1
            return real(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(cache_module.Module, "compile", counted)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(monkeypatch)


@pytest.fixture
def plugin(tmp_path: Path, guest_wasm: Wasm) -> Path:
    path = tmp_path / "plugin.wasm"
    path.write_bytes(guest_wasm("verdict"))
    return path


@pytest.fixture(params=["kept", "not_kept"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "cache" / "blitz" if request.param == "kept" else None


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Put a shell script in the place of the compiler. $6 is the descriptor for the compiled form."""

    def put(script: str) -> Path:
        path = tmp_path / "compiler.sh"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(apart_module.sys, "executable", str(path))
        return path

    return put


def nothing_is_left(directory: Path | None) -> bool:
    return directory is None or not [name for name in os.listdir(directory) if not name.endswith(".src")]


# ---------------------------------------------------------------- limits, with the real compiler


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"hello wasm", "is not WebAssembly"),
        (b"\0asm\x01\0\0\0\x01\xff", "is cut short"),
    ],
)
def test_what_does_not_compile_is_a_sentence(
    engine: Engine,
    tmp_path: Path,
    directory: Path | None,
    content: bytes,
    sentence: str,
    in_process: InProcess,
) -> None:
    path = tmp_path / "bad.wasm"
    path.write_bytes(content)
    with pytest.raises(PluginLoadError, match=sentence) as caught:
        CompileCache(directory).load(engine, str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert nothing_is_left(directory)
    assert not in_process.count


def test_a_module_that_takes_too_long_is_refused(
    engine: Engine,
    plugin: Path,
    directory: Path | None,
    monkeypatch: pytest.MonkeyPatch,
    in_process: InProcess,
) -> None:
    monkeypatch.setattr(apart_module, "TIMEOUT", 0.01)
    with pytest.raises(PluginLoadError, match=r"plugin\.wasm does not compile within 0\.01 s"):
        CompileCache(directory).load(engine, str(plugin))
    assert nothing_is_left(directory)
    assert not in_process.count


@pytest.mark.parametrize(
    ("limit", "value", "wasm", "sentence"),
    [
        pytest.param("MAX_CPU", 1, MANY_LOCALS, "within 1 s of CPU time", id="cpu"),
        pytest.param("MAX_DATA", 2**25, LONG, r"within 0\.03125 GiB of memory", id="memory"),
    ],
)
def test_a_module_that_takes_too_much_is_refused(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    wasm: bytes,
    sentence: str,
    in_process: InProcess,
) -> None:
    path, directory = tmp_path / "bomb.wasm", tmp_path / "cache"
    path.write_bytes(wasm)
    monkeypatch.setattr(apart_module, limit, value)
    before = time.process_time()
    with pytest.raises(PluginLoadError, match=sentence):
        CompileCache(directory).load(engine, str(path))
    assert time.process_time() - before < 0.5
    assert nothing_is_left(directory)
    assert not in_process.count


def test_the_process_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cr3t")
    assert set(apart_module._environment()) == {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}


# ---------------------------------------------------------------- ends that nobody foresaw

MAKE_NONSENSE = "echo ready; printf nonsense >/proc/self/fd/$6"
NOT_AS_SAID = "what it made is not what it says"
BREAKS = [
    pytest.param("echo ready; kill -SEGV $$", r"breaks the compiler \(SIGSEGV\)", id="crash"),
    pytest.param("echo ready; kill -40 $$", r"breaks the compiler \(signal 40\)", id="unnamed_signal"),
    pytest.param("echo ready; kill -KILL $$", "does not compile within 2 GiB of memory", id="killed"),
    pytest.param("echo ready; kill -XCPU $$", "does not compile within 120 s of CPU time", id="cpu"),
    pytest.param(
        "echo ready; echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$",
        "within 2 GiB",
        id="memory",
    ),
    pytest.param("echo ready; echo oh no >&2; exit 7", r"breaks the compiler \(oh no\)", id="exit_code"),
    pytest.param("echo ready; exit 7", r"breaks the compiler \(exit code 7\)", id="silent"),
    pytest.param("echo ready; exit 0", NOT_AS_SAID, id="nothing_made"),
    pytest.param(
        f"{MAKE_NONSENSE}; echo made 9 {'0' * 64}",
        NOT_AS_SAID,
        id="size",
    ),
    pytest.param(
        f"{MAKE_NONSENSE}; echo made 8 {'0' * 64}",
        NOT_AS_SAID,
        id="digest",
    ),
    pytest.param(
        f"{MAKE_NONSENSE}; echo made 8 $(printf nonsense | sha256sum | cut -c1-64)",
        "its compiled form does not load",
        id="nonsense",
    ),
    pytest.param("echo ready; head -c 3000000 /dev/zero; exit 0", "is not what it says", id="flood"),
    pytest.param("echo ready; head -c 3000000 /dev/zero >&2; exit 1", "breaks the compiler", id="complaints"),
    pytest.param("echo ready; echo refused $(seq 9999)", "is not what it says", id="refused_and_well"),
    pytest.param("kill -KILL $$", "its process was ended by SIGKILL as it began", id="killed_before"),
    pytest.param("echo ready; echo unwritten 28; exit 1", "no room .*: No space left on device", id="full"),
]


@pytest.mark.parametrize(("script", "sentence"), BREAKS)
def test_a_module_that_breaks_the_compiler_is_refused_and_compiled_nowhere_else(
    engine: Engine,
    plugin: Path,
    directory: Path | None,
    compiler: Callable[[str], Path],
    in_process: InProcess,
    script: str,
    sentence: str,
) -> None:
    compiler(script)
    for _ in range(2):
        with pytest.raises(PluginLoadError, match=sentence) as caught:
            CompileCache(directory).load(engine, str(plugin))
        said = str(caught.value)
        assert said.startswith(str(plugin))
        assert len(said) < 1500
        assert said.isprintable()
    assert not in_process.count
    assert nothing_is_left(directory)


def test_a_process_that_leaves_another_behind_is_not_waited_for(
    engine: Engine,
    plugin: Path,
    compiler: Callable[[str], Path],
    in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that keeps the streams open: their end never comes."""
    monkeypatch.setattr(apart_module, "TIMEOUT", 1.0)
    compiler("echo ready; sleep 5 & exit 0")
    began = time.monotonic()
    with pytest.raises(PluginLoadError, match="within 1 s"):
        CompileCache(None).load(engine, str(plugin))
    assert time.monotonic() - began < 4
    assert not in_process.count


@pytest.mark.parametrize(
    "script", ["exit 1", "echo no module named blitz >&2; exit 1", "exit 0", "echo something else"]
)
def test_what_is_no_compiler_at_all_does_not_count_against_the_module(
    engine: Engine,
    plugin: Path,
    directory: Path | None,
    compiler: Callable[[str], Path],
    in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
) -> None:
    monkeypatch.setattr(cache_module, "_warned", set())
    compiler(script)
    CompileCache(directory).load(engine, str(plugin))[0].close()
    assert in_process.count == 1


# ---------------------------------------------------------------- stopped from outside


def test_a_compilation_is_stopped_at_once(
    engine: Engine,
    plugin: Path,
    directory: Path | None,
    compiler: Callable[[str], Path],
    in_process: InProcess,
) -> None:
    begun = plugin.with_name("begun")
    compiler(f"echo ready; echo $$ > {begun}; exec sleep 100")
    stop = Stop()
    ended: list[BaseException] = []

    def load() -> None:
        try:
            CompileCache(directory).load(engine, str(plugin), stop=stop)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not (begun.exists() and begun.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join(PATIENCE)
    assert [type(error) for error in ended] == [Stopped]
    assert not Path("/proc", begun.read_text().strip()).exists()
    assert nothing_is_left(directory)
    assert not in_process.count


def test_one_that_was_stopped_before_it_began_does_not_run(
    engine: Engine, plugin: Path, compiler: Callable[[str], Path], in_process: InProcess
) -> None:
    compiler("echo ready; exec sleep 100")
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        CompileCache(None).load(engine, str(plugin), stop=stop)
    assert not in_process.count
