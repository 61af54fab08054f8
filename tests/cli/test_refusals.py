"""Everything that is refused gets one sentence and exit code 2, through the real command.

A sentence says where it is, what was found, what was wanted and what to do: each row of the tables has all of
it. The command is started as a user starts it; nothing is served.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import wasmtime

from .commands import PLUGINS, blitz, serving

ALLOC = '(func (export "blitz_alloc") (param i32) (result i32) (i32.const 0))'
MEMORY = '(memory (export "memory") 1)'
HOOK = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))'
BUFFER = """(func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))"""
PROXY = ("proxy", "127.0.0.1:0", "127.0.0.1:1")
ROUTE = '[[routes]]\nupstream = "http://127.0.0.1:1"\n'


def wat(body: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {body})"))


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that was refused; below it may be the frames of a guest."""
    assert result.returncode == 2, result
    assert result.stdout == ""
    line, *frames = result.stderr.splitlines()
    assert all(frame.startswith("    at ") for frame in frames)
    return line


FILES = [
    pytest.param(
        b"hello\n",
        "p.wasm is not WebAssembly: it begins with 68 65 6c 6c, as a text file does, "
        "wanted 00 61 73 6d: name a compiled .wasm file",
        id="not-wasm",
    ),
    pytest.param(
        b"(module)",
        "p.wasm is not WebAssembly: it begins with 28 6d 6f 64, as WebAssembly text does, "
        "wanted 00 61 73 6d: compile it with wat2wasm",
        id="text",
    ),
    pytest.param(b"", "p.wasm is empty, wanted a WebAssembly module: build or copy it again", id="empty"),
    pytest.param(
        b"\0asm\x0d\0\1\0",
        "p.wasm is a WebAssembly component, wanted a core module: "
        "build for wasm32-unknown-unknown or wasm32-wasip1 instead",
        id="component",
    ),
    pytest.param(
        b"\0asm\2\0\0\0",
        "p.wasm has WebAssembly version 02 00 00 00, wanted 01 00 00 00: build for WebAssembly 1",
        id="version",
    ),
    pytest.param(
        wat(f'{MEMORY} (func (export "run"))'),
        "p.wasm has no hook: it exports memory, run, wanted process_request or process_response: "
        "export one of them, or both, or a hook on parts of bodies",
        id="no-hooks",
    ),
    pytest.param(
        wat(f'{MEMORY} {ALLOC} (func (export "process_request") (param i32 i32) (result i32) (i32.const 0))'),
        "p.wasm exports process_request as (i32, i32) -> i32, wanted (i32, i32, i32, i32) -> i32: "
        "it takes two strings, each a pointer and a length",
        id="type-of-process_request",
    ),
    pytest.param(
        wat(f'{MEMORY} {ALLOC} (func (export "process_response") (param i32 i32 i32))'),
        "p.wasm exports process_response as (i32, i32, i32) -> (), wanted (i32, i32, i32) -> i32: "
        "it takes a status and a string that is a pointer and a length",
        id="type-of-process_response",
    ),
    pytest.param(
        wat(f'{MEMORY} {ALLOC} {HOOK} (func (export "init"))'),
        "p.wasm exports init as () -> (), wanted () -> i32: give it that type",
        id="type-of-init",
    ),
    pytest.param(
        wat(f'{MEMORY} (func (export "_start"))'),
        "p.wasm is a command (it exports _start and no hook), wanted a reactor that exports process_request "
        "or process_response: build it as a library (Go: -buildmode=c-shared, clang: -mexec-model=reactor)",
        id="command",
    ),
    pytest.param(
        wat(
            f'(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) {MEMORY} {ALLOC} {HOOK} '
            '(func (export "_start") (call $exit (i32.const 0)))'
        ),
        "p.wasm: it is a command, whose _start runs before its hooks, and p failed in init: "
        "the guest exited with status 0; "
        "build it as a library (Go: -buildmode=c-shared, clang: -mexec-model=reactor)",
        id="command-that-exits",
    ),
    pytest.param(
        wat(f'{MEMORY} {ALLOC} {HOOK} (func (export "_start") (param i32))'),
        "p.wasm exports _start as (i32) -> (), wanted () -> (): give it that type",
        id="type-of-_start",
    ),
    pytest.param(
        wat(f'(import "env" "launch" (func (param i32))) {MEMORY} {ALLOC} {HOOK}'),
        "p.wasm imports env.launch (i32) -> (), which is no host function: "
        "remove the import, or import one of those that docs/plugin-abi.md lists",
        id="unknown-import",
    ),
    pytest.param(
        wat(f'(import "blitz" "set_haeder" (func (param i32))) {MEMORY} {ALLOC} {HOOK}'),
        "p.wasm imports blitz.set_haeder (i32) -> (), which is no host function; did you mean set_header?",
        id="mistyped-import",
    ),
    pytest.param(
        wat(f'(import "blitz" "now_ms" (func (result i32))) {MEMORY} {ALLOC} {HOOK}'),
        "p.wasm imports blitz.now_ms as () -> i32, wanted () -> i64: declare it so",
        id="type-of-import",
    ),
    pytest.param(
        wat(f'(memory (export "memory") 100) {ALLOC} {HOOK}'),
        "p.wasm needs 6553600 bytes of memory from the start, limit 1048576: "
        "set by --set plugin_defaults.memory; raise it there, or build with less",
        id="memory-over-its-limit",
    ),
    pytest.param(
        wat(f"{MEMORY} {HOOK}"),
        "p.wasm exports process_request, which takes strings, but no allocator: wanted blitz_alloc, "
        "__wbindgen_malloc, malloc with free, or the fixed area blitz_buffer with blitz_buffer_size",
        id="no-allocator",
    ),
]


def test_another_plugin_copied_over_a_built_in_one(tmp_path: Path) -> None:
    """What the page of the plugins shows: cp pkg/plugin_bg.wasm plugins/request_logger.wasm."""
    shutil.copytree(PLUGINS, tmp_path / "plugins", ignore=shutil.ignore_patterns("src", "sdk"))
    for name in ("auth_custom", "rate_limiter"):
        (tmp_path / "plugins" / f"{name}.wasm").unlink()
    (tmp_path / "blitz.toml").write_text(f'plugin_dir = "plugins"\n{ROUTE}')
    other = wat(f'(memory (export "memory") 18) {ALLOC} {HOOK}')  # 1.1 MiB; the built-in one asks for 1 MiB
    (tmp_path / "plugins" / "request_logger.wasm").write_bytes(other)
    result = blitz("validate", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "blitz.toml: ok: 1 route, 1 upstream, 1 plugin\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: plugins/request_logger.toml is the manifest of another module (sha256 ")
    assert line.endswith("so defaults apply; delete it, or, if it fits, write the new digest into it")
    small = blitz("validate", cwd=tmp_path, PLUGIN_MEMORY_LIMIT="1048576")
    assert small.returncode == 2
    assert small.stderr.splitlines()[0] == (
        "plugins/request_logger.wasm: needs 1179648 bytes of memory from the start, limit 1048576: set by "
        "the variable PLUGIN_MEMORY_LIMIT, which overrides the keys of files; raise it there, or build "
        "with less"
    )
    assert blitz("validate", cwd=tmp_path, PLUGIN_MEMORY_LIMIT="2MiB").returncode == 0


@pytest.mark.parametrize(("content", "sentence"), FILES)
def test_a_file_that_cannot_be_a_plugin(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "p.wasm").write_bytes(content)
    words = ("--plugin", "p.wasm", "--set", "plugin_defaults.memory=1MiB")
    assert refusal(blitz(*PROXY, *words, cwd=tmp_path)) == sentence


TELLS_TIME = """(module
  (import "blitz" "now_ms" (func (result i64)))
  (memory (export "memory") 1)
  (func (export "blitz_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) i32.const 0))"""
WITHOUT_A_MANIFEST = ("p.wasm", None)
WITH_A_MANIFEST = ("p.toml:3: capabilities.clock: plugin p", "schema = 1\n[capabilities]\nclock = true\n")


@pytest.mark.parametrize("how", ["--plugin", "--plugin-dir", "PLUGIN_DIR"])
@pytest.mark.parametrize(("place", "manifest"), [WITHOUT_A_MANIFEST, WITH_A_MANIFEST])
def test_a_clock_is_there_unless_it_is_denied(
    tmp_path: Path, how: str, place: str, manifest: str | None
) -> None:
    (tmp_path / "p.wasm").write_bytes(wasmtime.wat2wasm(TELLS_TIME))
    if manifest is not None:
        (tmp_path / "p.toml").write_text(manifest)
    words = {"--plugin": ("--plugin", "p.wasm"), "--plugin-dir": ("--plugin-dir", ".")}.get(how, ())
    env = {"PLUGIN_DIR": "."} if how == "PLUGIN_DIR" else {}
    with serving(*PROXY, *words, cwd=tmp_path, **env):
        pass
    # Both ways deny, and the sentence says what to take away.
    denied = ("--set", "plugins.p.deny=clock,random")
    for line in (
        refusal(blitz(*PROXY, *words, *denied, cwd=tmp_path, **env)),
        refusal(blitz(*PROXY, *words, cwd=tmp_path, PLUGIN_DENY="clock", **env)),
    ):
        assert line.startswith(place)
        assert line.endswith(
            ', which is denied; to allow it, take "clock" out of deny: in its [[plugins]] entry '
            '(name = "p"), [plugin_defaults] or PLUGIN_DENY'
        )


COLLECTS = """(module
  (type $box (struct (field i32)))
  (memory (export "memory") 1)
  (func (export "blitz_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (struct.get $box 0 (struct.new $box (i32.const 0)))))"""


def test_collected_values_are_off_for_whom_they_are_not_granted(tmp_path: Path) -> None:
    for name in ("p", "q"):
        (tmp_path / f"{name}.wasm").write_bytes(wasmtime.wat2wasm(COLLECTS))
    words = (*PROXY, "--plugin", "p.wasm", "--plugin", "q.wasm", "--set", "plugins.p.grant=gc")
    assert refusal(blitz(*words, cwd=tmp_path)) == (
        "q.wasm uses Wasm GC, exceptions or typed function references, which is not granted; "
        'to grant it, write grant = ["gc"] in its [[plugins]] entry (name = "q"); without a file, '
        "say --set plugins.q.grant=gc, or set PLUGIN_GRANT=gc for all plugins"
    )
    with serving(*words, "--set", "plugins.q.grant=gc", cwd=tmp_path):
        pass


def test_a_module_that_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "p.wasm").write_bytes((PLUGINS / "auth_custom.wasm").read_bytes()[:-9])
    line = refusal(blitz(*PROXY, "--plugin", "p.wasm", cwd=tmp_path))
    assert line.startswith("p.wasm is cut short: its last section goes on beyond the end of the file (")
    assert line.endswith(" bytes): build or copy it again")


@pytest.mark.parametrize(("command", "colon"), [("run", ""), ("validate", ":")])
def test_the_same_sentence_from_every_command(tmp_path: Path, command: str, colon: str) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "p.wasm").write_bytes(b"hello")
    (tmp_path / "blitz.toml").write_text(f'listen = ["127.0.0.1:0"]\nplugin_dir = "plugins"\n{ROUTE}')
    result = blitz(command, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith(f"plugins/p.wasm{colon} is not WebAssembly: it begins")


@pytest.mark.parametrize("command", ["run", "validate", "proxy"])
@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        pytest.param("(unreachable)", "p failed in init: unreachable code was executed", id="trap"),
        pytest.param("(loop $l (br $l))", "init ran longer than 100 ms", id="loop"),
    ],
)
def test_a_plugin_that_fails_to_start_is_told_with_its_frames(
    tmp_path: Path, command: str, does: str, sentence: str
) -> None:
    init = f'(func $inner {does}) (func $start (export "init") (result i32) (call $inner) (i32.const 0))'
    (tmp_path / "p.wasm").write_bytes(wat(f"{MEMORY} {BUFFER} {HOOK} {init}"))
    settings = '[plugin_defaults]\ntimeout = "100ms"\n[[plugins]]\nfile = "p.wasm"\n'
    text = f'listen = ["127.0.0.1:0"]\n{settings}{ROUTE}'
    (tmp_path / "blitz.toml").write_text(text)
    words = (*PROXY, "--plugin", "p.wasm", "--set", "plugin_defaults.timeout=100ms")
    result = blitz(*(words if command == "proxy" else [command]), cwd=tmp_path)
    assert result.returncode == 2
    said, *frames = result.stderr.splitlines()
    assert said.startswith("p.wasm: ") and sentence in said
    assert frames[:2] == ["    at inner", "    at start"]


# ---------------------------------------------------------------- files and directories


DIRECTORIES = [
    ("nowhere", "does not exist; create it, or name the directory that holds your .wasm files"),
    ("file", "is not a directory; name the directory that holds your .wasm files"),
    ("loop", "cannot be listed: too many levels of symbolic links; check its permissions"),
]


@pytest.mark.parametrize(("name", "sentence"), DIRECTORIES)
def test_a_plugin_dir_that_is_none(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    there = str(tmp_path / name)
    assert refusal(blitz(*PROXY, PLUGIN_DIR=there)) == f"PLUGIN_DIR: plugin_dir: {there} {sentence}"
    flag = blitz(*PROXY, "--plugin-dir", name, cwd=tmp_path)
    assert refusal(flag) == f"--plugin-dir: plugin_dir: {name} {sentence}"
    (tmp_path / "blitz.toml").write_text(f'plugin_dir = "{name}"\n{ROUTE}')
    assert refusal(blitz("run", cwd=tmp_path)) == f"blitz.toml:1: plugin_dir: {name} {sentence}"


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    line = refusal(blitz(*PROXY, "--plugin", "no.wasm", cwd=tmp_path))
    assert line == "--plugin: plugins[0].file: no.wasm: no such file; check the path"


def test_a_plugin_that_cannot_be_read(tmp_path: Path) -> None:
    # A loop of links: a file without permissions would be readable to root.
    (tmp_path / "p.wasm").symlink_to("p.wasm")
    line = refusal(blitz(*PROXY, "--plugin", "p.wasm", cwd=tmp_path))
    assert line == (
        "--plugin: plugins[0].file: p.wasm: cannot be read: too many levels of symbolic links; "
        "check the path and its permissions"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("in_directory", [False, True])
def test_a_plugin_without_permissions(tmp_path: Path, in_directory: bool) -> None:
    file = tmp_path / "p.wasm"
    file.write_bytes(wat(f"{MEMORY} {ALLOC} {HOOK}"))
    file.chmod(0)
    words = ("--plugin-dir", ".") if in_directory else ("--plugin", "p.wasm")
    line = refusal(blitz(*PROXY, *words, cwd=tmp_path))
    assert line.lower().endswith(
        "p.wasm: cannot be read: permission denied; check the path and its permissions"
    )


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    assert refusal(blitz("run", cwd=tmp_path)) == "blitz.toml: no such file; check the path"
    line = refusal(blitz("run", "-c", ".", cwd=tmp_path))
    assert line == ".: is a directory, wanted a regular file; check the path"
    (tmp_path / "blitz.toml").write_text("listen = = 1\n")
    assert refusal(blitz("run", cwd=tmp_path)) == "blitz.toml:1: not TOML: invalid value at column 10"


# ---------------------------------------------------------------- sockets


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use(tmp_path: Path, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refusal(blitz("proxy", address, "127.0.0.1:1", "--workers", workers, cwd=tmp_path))
    assert line == (f"listen: {address} is in use by another process; stop that one or choose another port")


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    line = refusal(blitz("proxy", "192.0.2.1:0", "127.0.0.1:1", cwd=tmp_path))
    assert line == "listen: 192.0.2.1:0 is not an address of this machine; use 127.0.0.1 or 0.0.0.0"


# ---------------------------------------------------------------- keys and values


DURATION = 'write a number with one of us, ms, s, m, h, such as "250ms" or "5s"'
SIZE = 'write a number with one of B, KB, MB, GB, KiB, MiB, GiB, such as "64KiB" or "2MB"'
KEYS = [
    pytest.param(
        "plugin_dri = 1", "blitz.toml:1: plugin_dri: unknown key; did you mean `plugin_dir`?", id="key"
    ),
    pytest.param(
        "[timeouts]\nhaed = 1", "blitz.toml:2: timeouts.haed: unknown key; did you mean `head`?", id="nested"
    ),
    pytest.param(
        '[timeouts]\nhead = "5 parsecs"',
        f'blitz.toml:2: timeouts.head: "5 parsecs" has the unit "parsecs"; {DURATION}',
        id="unit-of-a-duration",
    ),
    pytest.param(
        '[limits]\nmax_head_size = "5s"',
        f'blitz.toml:2: limits.max_head_size: "5s" has the unit "s"; {SIZE}',
        id="unit-of-a-size",
    ),
]


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(("text", "sentence"), KEYS)
def test_a_mistake_in_the_file(tmp_path: Path, command: str, text: str, sentence: str) -> None:
    (tmp_path / "blitz.toml").write_text(f"{text}\n{ROUTE}")
    result = blitz(command, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0] == sentence


WORDS = [
    (("--set", "timeots.head=5s"), "--set timeots.head: timeots: unknown key; did you mean `timeouts`?"),
    (
        ("--set", "timeouts.haed=5s"),
        "--set timeouts.haed: timeouts.haed: unknown key; did you mean `head`?",
    ),
    (
        ("--set", "timeouts.head=5x"),
        f'--set timeouts.head: timeouts.head: "5x" has the unit "x"; {DURATION}',
    ),
    (("--set", "head"), "--set head: `head` has no `=`; write key=value, such as timeouts.head=5s"),
    (("--workers", "0"), "--workers: workers: 0 is too small; the least is 1"),
]


@pytest.mark.parametrize(("words", "sentence"), WORDS)
def test_a_mistake_on_the_command_line(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    assert refusal(blitz(*PROXY, *words, cwd=tmp_path)) == sentence


VARIABLES = [
    ("PLUGIN_MEMORY_LIMIT", "2x", f'PLUGIN_MEMORY_LIMIT: "2x" has the unit "x"; {SIZE}'),
    ("PLUGIN_TIMEOUT", "3 weeks", f'PLUGIN_TIMEOUT: "3 weeks" has the unit "weeks"; {DURATION}'),
    (
        "PLUGIN_LOG",
        "loud",
        'PLUGIN_LOG: log.plugins: expected one of "debug", "error", "info", "off", "trace", "warn", '
        'got "loud"',
    ),
]


@pytest.mark.parametrize(("name", "value", "sentence"), VARIABLES)
def test_a_mistake_in_the_environment(tmp_path: Path, name: str, value: str, sentence: str) -> None:
    assert refusal(blitz(*PROXY, cwd=tmp_path, **{name: value})) == sentence


def test_a_manifest_in_place_of_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("schema = 1\n")
    line = refusal(blitz(*PROXY, "--plugin", "p.toml", cwd=tmp_path))
    assert line.endswith(
        "p.toml is not WebAssembly: it begins with 73 63 68 65, as a text file does, wanted 00 61 73 6d: "
        "name a compiled .wasm file"
    )


@pytest.mark.parametrize(
    ("word", "says"),
    [
        pytest.param("rn", "no command 'rn'; did you mean run?", id="near"),
        pytest.param("xyz", "no command 'xyz'; there are run, proxy, demo, status, ", id="far"),
    ],
)
def test_an_unknown_command(word: str, says: str) -> None:
    result = blitz(word)
    assert result.returncode == 2
    assert f"Error: {says}" in result.stderr


def test_a_file_that_is_two_plugins_and_a_grant_that_is_missing_are_reported_once(tmp_path: Path) -> None:
    (tmp_path / "p.wasm").write_bytes(wat(f'{MEMORY} (func (export "run"))'))
    (tmp_path / "m.wasm").write_bytes(wasmtime.wat2wasm(COLLECTS))
    (tmp_path / "m.toml").write_text("schema = 1\n[capabilities]\ngc = true\n")
    entries = [("a", "p"), ("b", "p"), ("m", "m")]
    lines = "".join(f'[[plugins]]\nname = "{name}"\nfile = "{file}.wasm"\n' for name, file in entries)
    (tmp_path / "blitz.toml").write_text(lines + ROUTE)
    result = blitz("validate", cwd=tmp_path)
    assert result.returncode == 2
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
        "m.toml:3",
        "p.wasm",
        "blitz.toml",
    ], result.stderr
    assert "which is not granted" in result.stderr
