"""The committed plugin files are what their source builds to, and ask for nothing unexpected."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib

import pytest
import wasmtime

from .cases import NAMES, PLUGINS

# What each may import: an import is what a plugin can do to the gateway. None has get_body, so none
# makes the gateway collect a request body.
IMPORTS = {
    "request_logger": {"log", "get_header", "get_property", "now_ms"},
    "rate_limiter": {
        *("log", "get_header", "get_property", "rate_limit"),
        *("set_header", "set_status", "set_body"),
    },
    "auth_custom": {
        *("log", "get_header", "get_property", "get_env", "now_ms"),
        *("set_header", "add_header", "remove_header", "set_status", "set_body"),
    },
}
SECTION_START = 8


def sections(wasm: bytes) -> set[int]:
    """Ids of the sections of a module (WebAssembly core specification, 5.5.2)."""
    ids, at = set(), 8
    while at < len(wasm):
        ids.add(wasm[at])
        size, shift, at = 0, 0, at + 1
        while True:
            byte = wasm[at]
            size, shift, at = size | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                break
        at += size
    return ids


def test_sums_are_those_of_the_files() -> None:
    lines = (PLUGINS / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [*PLUGINS.glob("*.wasm"), *PLUGINS.glob("*.toml")]
    assert listed == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("name", NAMES)
def test_plugin_is_small_and_imports_only_what_it_needs(name: str) -> None:
    wasm = (PLUGINS / f"{name}.wasm").read_bytes()
    module = wasmtime.Module(wasmtime.Engine(), wasm)
    assert {i.name for i in module.imports} == IMPORTS[name]
    assert {i.module for i in module.imports} == {"blitz"}
    assert SECTION_START not in sections(wasm)
    assert len(wasm) < 16 * 1024
    memory = next(e.type for e in module.exports if e.name == "memory")
    assert isinstance(memory, wasmtime.MemoryType)
    assert memory.limits.min <= 2  # 64 KiB each
    assert {"blitz_buffer", "blitz_buffer_size"} <= {e.name for e in module.exports}


@pytest.mark.parametrize("name", NAMES)
def test_manifest_beside_the_file_is_the_source_s(name: str) -> None:
    text = (PLUGINS / f"{name}.toml").read_text()
    manifest = tomllib.loads(text)
    digest = hashlib.sha256((PLUGINS / f"{name}.wasm").read_bytes()).hexdigest()
    assert manifest["plugin"].pop("sha256") == digest
    assert manifest == tomllib.loads((PLUGINS / "src" / name / "blitz-plugin.toml").read_text())
    assert manifest["schema"] == 1
    assert manifest["plugin"]["name"] == name
    assert manifest["hooks"]["response_body"] == "none"


@pytest.mark.toolchain
def test_rebuilding_gives_the_same_bytes() -> None:
    command = [sys.executable, str(PLUGINS / "build.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
