"""What is refused at load, each with one sentence: what was found, what was wanted."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blitz.errors import ConfigError, InternalError, PluginLoadError
from blitz.wasm import library
from blitz.wasm.abi.linkage import CAPABILITIES, host_functions
from blitz.wasm.engine import Engine
from blitz.wasm.module import Module
from blitz.wasm.plugin import Plugin

from .support import exchanging, running, spec

Wasm = Callable[[str], bytes]
HOOK = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))'
BUFFER = (
    '(func (export "blitz_buffer") (result i32) (i32.const 0))'
    '(func (export "blitz_buffer_size") (result i32) (i32.const 64))'
)
MEMORY = '(memory (export "memory") 1)'

BYTES = [
    pytest.param(b"", "x.wasm is empty, wanted a WebAssembly module", id="empty"),
    pytest.param(b"#!/bin/sh\n", "x.wasm is not WebAssembly: it begins with 23 21 2f 62", id="script"),
    pytest.param(b"\0as", "x.wasm is cut short after 3 bytes: ", id="short"),
    pytest.param(
        b"\0asm\x0d\0\1\0", "x.wasm is a WebAssembly component, wanted a core module", id="component"
    ),
    pytest.param(b"\0asm\2\0\0\0", "x.wasm has WebAssembly version 02 00 00 00", id="version"),
    pytest.param(b"\0asm\1\0\0\0\1", "x.wasm is cut short: its last section ", id="cut"),
    pytest.param(b"\0asm\1\0\0\0" + bytes(range(99)), "x.wasm does not compile: ", id="garbage"),
]


@pytest.mark.parametrize(("data", "sentence"), BYTES)
def test_bytes_that_are_no_module(engine: Engine, data: bytes, sentence: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        Module.compile(engine, data, "x.wasm")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


MODULES = [
    pytest.param("(module)", "x.wasm has no hook: it exports nothing, wanted process_request", id="empty"),
    pytest.param(
        f'(module {MEMORY} (func (export "init") (result i32) (i32.const 0)))',
        "x.wasm has no hook: it exports init, memory, wanted process_request or process_response",
        id="no hook",
    ),
    pytest.param(
        f'(module {MEMORY} (func (export "_start")))',
        "x.wasm is a command (it exports _start and no hook), wanted a reactor",
        id="command",
    ),
    pytest.param(
        '(module (func (export "proxy_abi_version_0_2_1")))',
        "x.wasm is a Proxy-Wasm module (it exports proxy_abi_version_0_2_1)",
        id="proxy-wasm",
    ),
    pytest.param(
        '(module (import "http_handler" "next" (func))'
        '(func (export "handle_request") (result i64) (i64.const 1)))',
        "x.wasm is an http-wasm module (it imports http_handler.next), wanted the Blitz ABI",
        id="http-wasm",
    ),
    pytest.param(
        f'(module {MEMORY} {BUFFER}(func (export "process_request") (param i32) (result i32) (i32.const 0)))',
        "x.wasm exports process_request as (i32) -> i32, wanted (i32, i32, i32, i32) -> i32",
        id="hook type",
    ),
    pytest.param(
        f'(module {MEMORY} {BUFFER} (global (export "process_response") i32 (i32.const 0)))',
        "x.wasm exports process_response as a global, wanted (i32, i32, i32) -> i32",
        id="hook that is a global",
    ),
    pytest.param(
        f'(module {MEMORY} {BUFFER} {HOOK} (func (export "cleanup")))',
        "x.wasm exports cleanup as () -> (), wanted () -> i32",
        id="cleanup type",
    ),
    pytest.param(
        f'(module {MEMORY} {BUFFER} {HOOK} (func (export "init") (result i64) (i64.const 0)))',
        "x.wasm exports init as () -> i64, wanted () -> i32",
        id="init type",
    ),
    pytest.param(
        f"(module {BUFFER} {HOOK})",
        "x.wasm exports no memory, wanted its linear memory under the name memory",
        id="no memory",
    ),
    pytest.param(
        f'(module (func (export "memory")) {BUFFER} {HOOK})',
        "x.wasm exports memory as () -> (), wanted its linear memory",
        id="memory that is a function",
    ),
    pytest.param(
        f'(module (memory (export "memory") i64 1) {BUFFER} {HOOK})',
        "x.wasm has a 64-bit memory, wanted a 32-bit one",
        id="memory64",
    ),
    pytest.param(
        f'(module (import "env" "memory" (memory 1)) (export "memory" (memory 0)) {BUFFER} {HOOK})',
        "x.wasm imports a memory (env.memory), wanted functions only",
        id="imported memory",
    ),
    pytest.param(
        f"(module {MEMORY} {HOOK})",
        "x.wasm exports process_request, which takes strings, but no allocator: wanted blitz_alloc",
        id="no allocator",
    ),
    pytest.param(
        f'(module {MEMORY} {HOOK} (func (export "malloc") (param i32) (result i32) (i32.const 8)))',
        "but no allocator: wanted blitz_alloc, __wbindgen_malloc, malloc with free",
        id="malloc without free",
    ),
    pytest.param(
        f'(module {MEMORY} {HOOK} (func (export "blitz_alloc") (param i64) (result i32) (i32.const 8)))',
        "x.wasm exports blitz_alloc as (i64) -> i32, wanted (i32) -> i32",
        id="allocator type",
    ),
    pytest.param(
        f'(module {MEMORY} {HOOK} (func (export "blitz_buffer") (result i32) (i32.const 8)))',
        "x.wasm exports one of blitz_buffer and blitz_buffer_size, wanted both or none",
        id="half a buffer",
    ),
    pytest.param(
        f'(module (import "env" "get_heeder" (func (param i32 i32))) {MEMORY} {BUFFER} {HOOK})',
        "x.wasm imports env.get_heeder (i32, i32) -> (), which is no host function; did you mean get_header?",
        id="unknown import",
    ),
    pytest.param(
        f'(module (import "env" "log" (func (param i32 i32))) {MEMORY} {BUFFER} {HOOK})',
        "x.wasm imports env.log as (i32, i32) -> (), wanted (i32, i32, i32, i32) -> ()",
        id="import type",
    ),
    pytest.param(
        f'(module (import "wasi_snapshot_preview1" "fd_wrote" (func)) {MEMORY} {BUFFER} {HOOK})',
        "x.wasm imports wasi_snapshot_preview1.fd_wrote () -> (), "
        "which is no host function; did you mean fd_write?",
        id="unknown wasi",
    ),
    pytest.param(
        f'(module (import "env" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'
        f"{MEMORY} {BUFFER} {HOOK})",
        "x.wasm imports env.fd_write (i32, i32, i32, i32) -> i32, which is no host function",
        id="wasi under another name",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), MODULES)
def test_modules_that_are_no_plugin(engine: Engine, wat: Wasm, text: str, sentence: str) -> None:
    module = Module.compile(engine, wat(text), "x.wasm")
    with pytest.raises(PluginLoadError) as caught:
        Plugin(engine, module, spec())
    module.close()  # nothing was kept
    assert sentence in str(caught.value)


REFUSED_BY_THE_ENGINE = [
    pytest.param(
        f'(module (memory (export "memory") 1 2 shared) {BUFFER} {HOOK})', "shared memories", id="shared"
    ),
    pytest.param(f"(module {MEMORY} (memory 1) {BUFFER} {HOOK})", "memories", id="two memories"),
    pytest.param(
        f'(module (import "env" "log" (func (param (ref func)))) {MEMORY} {BUFFER} {HOOK})',
        "x.wasm",
        id="reference",
    ),
    pytest.param(f"(module {MEMORY} (table 100000000 funcref) {BUFFER} {HOOK})", "table", id="huge table"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED_BY_THE_ENGINE)
def test_what_the_slots_of_the_engine_do_not_hold(
    engine: Engine, wat: Wasm, text: str, sentence: str
) -> None:
    with pytest.raises(PluginLoadError) as caught:
        module = Module.compile(engine, wat(text), "x.wasm")
        try:
            Plugin(engine, module, spec())
        finally:
            module.close()
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("x.wasm")


def test_a_memory_larger_than_the_limit_of_the_plugin(engine: Engine, wat: Wasm) -> None:
    module = Module.compile(engine, wat(f'(module (memory (export "memory") 3) {BUFFER} {HOOK})'), "x.wasm")
    with pytest.raises(PluginLoadError) as caught:
        Plugin(engine, module, spec("auth", memory=2 * 65536))
    assert str(caught.value) == (
        "x.wasm needs 196608 bytes of memory from the start, limit 131072: "
        "raise the memory of plugin auth, or build with less"
    )
    Plugin(engine, module, spec("auth", memory=3 * 65536)).close()
    module.close()


def test_both_names_of_wasi_and_any_module_name_for_host_functions(engine: Engine, wat: Wasm) -> None:
    text = f"""(module
      (import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (import "env" "log" (func (param i32 i32 i32 i32)))
      (import "blitz" "log" (func (param i32 i32 i32 i32)))
      (import "any thing" "log" (func (param i32 i32 i32 i32)))
      {MEMORY} {BUFFER} {HOOK})"""
    with running(engine, wat(text)) as guest, exchanging() as exchange:
        assert guest.request(exchange) == 0


def test_what_a_plugin_needs_is_read_off_its_imports(engine: Engine, guest_wasm: Wasm) -> None:
    with running(engine, guest_wasm("edit_all")) as guest:
        plugin = guest.plugin
        assert (plugin.has_request, plugin.has_response) == (True, True)
        assert (plugin.reads_body, plugin.writes_body, plugin.needs_response_body) == (False, True, True)
    with running(engine, guest_wasm("bindgen_new"), response_body="none") as guest:
        plugin = guest.plugin
        assert (plugin.reads_body, plugin.writes_body, plugin.needs_response_body) == (True, False, False)


def test_a_serialized_module_loads_and_runs(engine: Engine, guest_wasm: Wasm, tmp_path: Path) -> None:
    module = Module.compile(engine, guest_wasm("copy_header"), "x.wasm")
    compiled = module.serialize()
    file = tmp_path / "x.cwasm"
    file.write_bytes(compiled)
    loaded = Module.load(engine, file, "x.wasm", needs_gc=False)
    assert loaded.exports == module.exports and loaded.imports == module.imports
    module.close()
    plugin = Plugin(engine, loaded, spec())
    instance = plugin.new_instance()
    assert instance.start() == 0
    instance.free()
    plugin.close()
    loaded.close()
    for damage in (compiled[:100], b"\0asm" + compiled[4:], b""):
        file.write_bytes(damage)
        with pytest.raises(PluginLoadError, match=r"x\.wasm: its compiled form does not load: "):
            Module.load(engine, file, "x.wasm", needs_gc=False)


def test_things_are_closed_in_their_order(wat: Wasm) -> None:
    engine = Engine(max_instances=1)
    module = Module.compile(engine, wat(f"(module {MEMORY} {BUFFER} {HOOK})"), "x.wasm")
    plugin = Plugin(engine, module, spec())
    instance = plugin.new_instance()
    with pytest.raises(InternalError, match="1 modules are in use"):
        engine.close()
    with pytest.raises(InternalError, match="1 plugins use it"):
        module.close()
    with pytest.raises(InternalError, match="1 instances live"):
        plugin.close()
    for owned in (instance.free, plugin.close, module.close, engine.close):
        owned()
        owned()
    with pytest.raises(InternalError, match="closed"):
        _ = engine.ptr
    assert engine.statistics().instances_live == 0  # those of its end


def test_wasmtime_itself_is_not_imported() -> None:
    code = (
        "import sys, blitz.wasm.engine as e; e.Engine(max_instances=1).close();"
        "assert 'wasmtime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "_package_directory", lambda: tmp_path / "wasmtime")
    with pytest.raises(ConfigError, match="dist-info directory is missing"):
        library.find_library()
    (tmp_path / "wasmtime-49.0.0.dist-info").mkdir()
    with pytest.raises(ConfigError, match=r"wasmtime 49\.0\.0 is installed, version 50 is wanted"):
        library.find_library()
    (tmp_path / "wasmtime-49.0.0.dist-info").rename(tmp_path / "wasmtime-50.1.0.dist-info")
    with pytest.raises(ConfigError, match="wasmtime has no library for linux-"):
        library.find_library()


# ---------------------------------------------------------------- capabilities

IMPORTS = [
    pytest.param('(import "blitz" "now_ms" (func (result i64)))', "now_ms", "clock", id="now_ms"),
    pytest.param('(import "env" "random" (func (param i32 i32)))', "random", "random", id="random"),
    pytest.param(
        '(import "wbg" "__wbg_nowms_0123456789abcdef" (func (result i64)))', "now_ms", "clock", id="bindgen"
    ),
    pytest.param(
        '(import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))',
        "clock_time_get",
        "clock",
        id="wasi_clock",
    ),
    pytest.param(
        '(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))',
        "random_get",
        "random",
        id="wasi_random",
    ),
]


@pytest.mark.parametrize(("imports", "name", "capability"), IMPORTS)
def test_clock_and_random_bytes_are_there_unless_somebody_says_no(
    engine: Engine, wat: Wasm, imports: str, name: str, capability: str
) -> None:
    wasm = wat(f"(module {imports} {MEMORY} {BUFFER} {HOOK})")
    settings = {"source": "x.wasm", "manifest": "x.toml"}
    for good in ({}, {"asks": (capability,)}, {"asks": ("clock", "random"), "grants": (capability,)}):
        with running(engine, wasm, **settings, **good):
            pass
    with (
        pytest.raises(PluginLoadError) as caught,
        running(engine, wasm, asks=(), **settings),
    ):
        pass
    assert str(caught.value) == (
        f"x.wasm imports {name}, and its manifest says {capability} = false: take that out of x.toml"
    )
    for asks in (None, (capability,)):
        with (
            pytest.raises(PluginLoadError) as caught,
            running(engine, wasm, asks=asks, grants=(), **settings),
        ):
            pass
        assert str(caught.value) == (
            f"x.wasm imports {name}, which is denied; "
            f'to allow it, take "{capability}" out of deny: in its [[plugins]] entry (name = "guest"), '
            "[plugin_defaults] or PLUGIN_DENY"
        )


def test_every_host_function_that_tells_time_or_randomness_is_a_capability() -> None:
    told = {
        function.name
        for function in host_functions()
        if re.search("(?i)clock|now|random|time", function.name)
    }
    harmless = {"fd_filestat_set_times", "path_filestat_set_times"}  # refuse whatever they are asked
    assert told - harmless == set(CAPABILITIES)


# ---------------------------------------------------------------- names that a module chooses

SKELETON = """(module {imports} (memory (export "memory") 1) {exports}
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  {hook})"""
FORGED = r"x\n2026-01-01T00:00:00.000Z error server: all is lost\1b[2J\e2\80\ae"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"imports": f'(import "env" "{FORGED}" (func))'}, id="import"),
        pytest.param({"imports": f'(import "{FORGED}" "nonsense" (func))'}, id="module_of_an_import"),
        pytest.param({"imports": f'(import "wasi_snapshot_preview1" "{FORGED}" (func))'}, id="wasi"),
        pytest.param({"exports": f'(func (export "{FORGED}"))', "hook": ""}, id="export"),
        pytest.param({"imports": f'(import "env" "{"x" * 50_000}" (func))'}, id="long_import"),
        pytest.param({"exports": f'(func (export "{"x" * 50_000}"))', "hook": ""}, id="long_export"),
        pytest.param(
            {"exports": f'(func (export "proxy_abi_version_{FORGED}"))', "hook": ""}, id="name_of_another_abi"
        ),
    ],
)
def test_a_name_forges_no_line_and_fills_no_log(engine: Engine, wat: Wasm, parts: dict[str, str]) -> None:
    hook = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))'
    text = SKELETON.format(**{"imports": "", "exports": "", "hook": hook, **parts})
    with pytest.raises(PluginLoadError) as caught, running(engine, wat(text)):
        pass
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", ["imports", "exports"])
def test_a_module_of_too_many_names_is_refused(engine: Engine, wat: Wasm, kind: str) -> None:
    many = {
        "imports": '(import "env" "log" (func (param i32 i32 i32 i32)))' * 10_001,
        "exports": "".join(f'(func (export "{number}"))' for number in range(10_001)),
    }
    text = SKELETON.format(**{"imports": "", "exports": "", "hook": "", kind: many[kind]})
    with pytest.raises(PluginLoadError, match=rf"guest\.wasm {kind} 1\d+ things, limit 10000: build it"):
        Module.compile(engine, wat(text), "guest.wasm")
