"""Compiled once, then loaded; never loaded when somebody else could have written it."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blitz.wasm import cache as cache_module
from blitz.wasm import compile_process as apart_module
from blitz.wasm.cache import CompileCache, default_directory
from blitz.wasm.compile_process import CannotStart
from blitz.wasm.engine import Engine
from blitz.wasm.instance import FAULT
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin

from .support import exchanging, spec

Wasm = Callable[[str], bytes]
OLD = time.time() - 3600


class Counter:
    """How often a compiler was started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = apart_module.compile_apart

        def counted(*args: object) -> bool:
            self.count += 1
            return real(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(cache_module, "compile_apart", counted)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


@pytest.fixture
def plugin(tmp_path: Path, guest_wasm: Wasm) -> Path:
    path = tmp_path / "plugin.wasm"
    path.write_bytes(guest_wasm("verdict"))
    os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "blitz"


def load(engine: Engine, cache: CompileCache, plugin: Path) -> str:
    """Load, look that it is the module, close; the digest."""
    module, digest = cache.load(engine, str(plugin))
    assert module.export("process_request") is not None
    module.close()
    return digest


def entry(directory: Path, suffix: str) -> Path:
    (found,) = directory.glob(f"*.{suffix}")
    return found


def test_a_module_is_compiled_once(engine: Engine, plugin: Path, directory: Path, compiled: Counter) -> None:
    for _ in range(3):
        load(engine, CompileCache(directory), plugin)
    assert compiled.count == 1
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry(directory, "cwasm").stat().st_mode) == 0o600


def test_a_loaded_module_runs(engine: Engine, plugin: Path, directory: Path) -> None:
    cache = CompileCache(directory)
    load(engine, cache, plugin)
    code = entry(directory, "cwasm")
    module = Module.load(engine, code, "plugin.wasm", needs_gc=False)
    again = module.serialize()
    module.close()
    assert again == code.read_bytes()


def test_another_content_is_another_entry(
    engine: Engine, plugin: Path, directory: Path, compiled: Counter, guest_wasm: Wasm
) -> None:
    cache = CompileCache(directory)
    first = load(engine, cache, plugin)
    plugin.write_bytes(guest_wasm("copy_header"))
    assert load(engine, cache, plugin) != first
    assert compiled.count == 2
    assert len(list(directory.glob("*.cwasm"))) == 2


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "longer", "foreign"])
def test_a_damaged_entry_is_compiled_again(
    engine: Engine, plugin: Path, directory: Path, compiled: Counter, how: str
) -> None:
    cache = CompileCache(directory)
    load(engine, cache, plugin)
    code = entry(directory, "cwasm")
    data = bytearray(code.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 1
    code.write_bytes(
        {"flip": data, "cut": data[:1000], "empty": b"", "longer": data + b"x", "foreign": b"\x7fELF" * 300}[
            how
        ]
    )
    load(engine, cache, plugin)
    assert compiled.count == 2
    load(engine, cache, plugin)
    assert compiled.count == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stamp": 1, "size": "x", "sha256": 2}'])
def test_a_damaged_description_is_no_error(
    engine: Engine, plugin: Path, directory: Path, compiled: Counter, text: str
) -> None:
    cache = CompileCache(directory)
    load(engine, cache, plugin)
    entry(directory, "json").write_text(text)
    for note in directory.glob("*.src"):
        note.write_text(text)
    load(engine, cache, plugin)
    assert compiled.count == 2


def test_an_entry_that_others_can_write_is_not_loaded(
    engine: Engine, plugin: Path, directory: Path, compiled: Counter
) -> None:
    cache = CompileCache(directory)
    load(engine, cache, plugin)
    entry(directory, "cwasm").chmod(0o666)
    load(engine, cache, plugin)
    assert compiled.count == 2


def test_an_entry_that_is_a_link_is_not_loaded(
    engine: Engine, plugin: Path, directory: Path, compiled: Counter, tmp_path: Path
) -> None:
    cache = CompileCache(directory)
    load(engine, cache, plugin)
    code = entry(directory, "cwasm")
    code.rename(tmp_path / "elsewhere")
    code.symlink_to(tmp_path / "elsewhere")
    load(engine, cache, plugin)
    assert compiled.count == 2


def test_a_copied_cache_is_checked_and_used(
    engine: Engine, plugin: Path, directory: Path, compiled: Counter
) -> None:
    load(engine, CompileCache(directory), plugin)
    code = entry(directory, "cwasm")
    data = code.read_bytes()
    code.unlink()
    code.write_bytes(data)
    code.chmod(0o600)
    load(engine, CompileCache(directory), plugin)
    assert compiled.count == 1


def test_a_half_written_entry_is_invisible(
    engine: Engine, plugin: Path, directory: Path, compiled: Counter
) -> None:
    cache = CompileCache(directory)
    load(engine, cache, plugin)
    entry(directory, "json").unlink()  # the crash came between the two renames
    load(engine, cache, plugin)
    assert compiled.count == 2
    assert not [name for name in os.listdir(directory) if name.startswith(".")]


def test_the_digest_of_an_unchanged_file_is_remembered(
    engine: Engine, plugin: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CompileCache(directory)
    monkeypatch.setattr(cache_module, "SETTLED", -1.0)  # its change time cannot be set back
    digest = load(engine, cache, plugin)
    assert json.loads(entry(directory, "src").read_text())["wasm"] == digest

    def unread(fd: int, kind: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(cache_module, "read_open", unread)
    assert load(engine, cache, plugin) == digest


def test_a_fresh_file_is_read_again(engine: Engine, plugin: Path, directory: Path) -> None:
    # It may be written once more within the resolution of its times.
    load(engine, CompileCache(directory), plugin)
    assert not list(directory.glob("*.src"))


def test_a_file_that_is_wanted_whole_is_always_read(
    engine: Engine, plugin: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CompileCache(directory)
    monkeypatch.setattr(cache_module, "SETTLED", -1.0)
    digest = load(engine, cache, plugin)
    note = entry(directory, "src")
    said = json.loads(note.read_text())
    note.write_text(json.dumps(said | {"wasm": "0" * 64}))
    assert cache.read(str(plugin)).digest == "0" * 64
    source = cache.read(str(plugin), whole=True)
    assert (source.digest, source.content) == (digest, plugin.read_bytes())


def test_the_oldest_entries_go(engine: Engine, tmp_path: Path, directory: Path, wat: Wasm) -> None:
    sizes = []
    for number in range(4):
        plugin = tmp_path / f"{number}.wasm"
        plugin.write_bytes(
            wat(
                f'(module (memory (export "memory") 1) (func (export "process_request")'
                f" (param i32 i32 i32 i32) (result i32) (i32.const {number})))"
            )
        )
        bound = 2**40 if len(sizes) < 3 else int(2.5 * sizes[0])
        load(engine, CompileCache(directory, max_size=bound), plugin)
        sizes.append(entry(directory, "cwasm").stat().st_size if not sizes else 0)
        newest = max(directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        assert str(plugin) == json.loads(newest.read_text())["source"]
        if number < 3:
            os.utime(newest, (OLD + number, OLD + number))
            os.utime(newest.with_suffix(".cwasm"), (OLD + number, OLD + number))
    left = {json.loads(path.read_text())["source"] for path in directory.glob("*.json")}
    assert left == {str(tmp_path / "2.wasm"), str(tmp_path / "3.wasm")}
    assert len(list(directory.glob("*.cwasm"))) == 2


# ---------------------------------------------------------------- no usable directory


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "blitz.wasm"]


def world_writable(path: Path) -> None:
    path.mkdir(parents=True)
    path.chmod(0o777)


def in_an_open_directory(path: Path) -> None:
    path.mkdir(parents=True)
    path.parent.chmod(0o777)


def a_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("")


def of_somebody_else(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    path.mkdir(parents=True)
    os.chown(path, 12345, -1)


REFUSED = [
    (world_writable, "can be written by others"),
    (in_an_open_directory, "which others can write to"),
    (a_file, "cannot be used"),
    (of_somebody_else, "belongs to user 12345"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_a_directory_that_is_not_ours_alone_is_not_used(
    engine: Engine,
    plugin: Path,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], None],
    reason: str,
) -> None:
    make(directory)
    for _ in range(2):
        load(engine, CompileCache(directory), plugin)
    (warning,) = warnings_of(caplog)
    assert reason in warning
    assert "set cache_dir" in warning
    assert directory.is_file() or not list(directory.iterdir())


def test_without_a_process_it_compiles_here(
    engine: Engine,
    plugin: Path,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart_module.sys, "executable", "/nowhere/python")
    for _ in range(2):
        load(engine, CompileCache(directory), plugin)
    assert [line.partition(":")[0] for line in warnings_of(caplog)] == [
        "compiling inside the gateway's own process"
    ]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, Path("/x/blitz")),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, Path("/h/.cache/blitz")),
        ({"HOME": "/h"}, Path("/h/.cache/blitz")),
        ({}, None),
    ],
)
def test_where_the_cache_is(environ: dict[str, str], expected: Path | None) -> None:
    assert default_directory(environ) == expected


def test_frames_of_a_cached_module_have_names(
    engine: Engine, guest_wasm: Wasm, tmp_path: Path, directory: Path
) -> None:
    path = tmp_path / "frames.wasm"
    path.write_bytes(guest_wasm("frames"))
    cache = CompileCache(directory)
    cache.load(engine, str(path))[0].close()
    module, _ = cache.load(engine, str(path))
    plugin = Plugin(engine, module, spec())
    instance = plugin.new_instance()
    try:
        assert instance.start() == 0
        with exchanging() as exchange:
            assert instance.request(exchange.c) == FAULT
        assert instance.fault().frames == ("inner_most", "middle", "process")
    finally:
        instance.free()
        plugin.close()
        module.close()


# ---------------------------------------------------------------- what the grant gc stands on

COLLECTS = """(module (type $s (struct (field i32)))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (struct.get $s 0 (struct.new $s (i32.const 0)))))"""


@pytest.mark.parametrize("needs_gc", [True, False])
@pytest.mark.parametrize("way", ["apart", "here", "kept"])
def test_who_needs_gc_is_known_however_a_module_comes(
    engine: Engine,
    tmp_path: Path,
    directory: Path,
    plugin: Path,
    wat: Callable[[str], bytes],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    needs_gc: bool,
) -> None:
    def cannot(*_: object) -> bool:
        raise CannotStart("no process")

    if needs_gc:
        plugin.write_bytes(wat(COLLECTS))
    cache = CompileCache(directory if way == "kept" else None)
    if way == "kept":
        load(engine, cache, plugin)
        monkeypatch.setattr(Module, "compile", cannot)
    if way != "apart":
        monkeypatch.setattr(cache_module, "compile_apart", cannot)
    module, _ = cache.load(engine, str(plugin))
    assert module.needs_gc is needs_gc
    module.close()


def test_an_entry_that_does_not_say_who_needs_gc_is_not_believed(
    engine: Engine, directory: Path, plugin: Path, wat: Callable[[str], bytes]
) -> None:
    plugin.write_bytes(wat(COLLECTS))
    cache = CompileCache(directory)
    load(engine, cache, plugin)
    about = entry(directory, "json")
    said = json.loads(about.read_text())
    for doubtful in ({}, {"gc": None}, {"gc": "no"}, {"gc": 0}):
        about.write_text(json.dumps({key: said[key] for key in said if key != "gc"} | doubtful))
        module, _ = cache.load(engine, str(plugin))
        assert module.needs_gc
        module.close()
