"""The first message about a file that is no plugin says what it is and what to do instead."""

import gzip
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.errors import PluginLoadError
from blitz.wasm.abi import detect
from blitz.wasm.engine import Engine
from blitz.wasm.kinds import is_cut_short, no_module
from blitz.wasm.module import Module, check_preamble

Wat = Callable[[str], bytes]
MEMORY = '(memory (export "memory") 1)'
ALLOC = '(func (export "blitz_alloc") (param i32) (result i32) (i32.const 8))'
HOOK = '(func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))'
PLUGIN = f"{MEMORY} {ALLOC} {HOOK}"
GO = "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1234\n"

FILES = [
    (LFS, "as a pointer of Git LFS does", "run `git lfs pull`"),
    (gzip.compress(b"\0asm\1\0\0\0", mtime=0), "as a gzip file does", "unpack it with gunzip"),
    (b"PK\3\4" + bytes(30), "as a zip archive does", "unpack it"),
    (b"\n <!DOCTYPE html><title>404</title>", "as an HTML page does", "download the file itself"),
    (b"\xef\xbb\xbf<HTML>", "as an HTML page does", "download the file itself"),
    (b"<?xml version='1.0'?><Error/>", "as an XML document does", "download the file itself"),
    (b"\x7fELF\2\1\1" + bytes(99), "as a native program or library does", "build it for wasm32-"),
    (
        b"\x7fELF\2\1\1" + bytes(99) + b".wasmtime.engine",
        "as a compiled module (.cwasm) does",
        "name the .wasm",
    ),
    (b"MZ\x90\0" + bytes(99), "as a native program or library does", "build it for wasm32-"),
    (b"!<arch>\n//", "as a static library does", "link it into a module"),
    (b"BC\xc0\xde" + bytes(9), "as LLVM bitcode does", "compile and link it"),
    (b"#!/bin/sh\n", "as a script does", "name a compiled .wasm file"),
    (b"use wasm_bindgen::prelude::*;\n", "as a text file does", "name a compiled .wasm file"),
    (b'{"error": "not found"}\n', "as a text file does", "name a compiled .wasm file"),
    (bytes(4096), "as a file of zeros does", "copy it again"),
    (b"\n(module)", "as WebAssembly text does", "compile it with wat2wasm"),
]


@pytest.mark.parametrize(("content", "what", "advice"), FILES)
def test_a_file_that_is_something_else(content: bytes, what: str, advice: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        check_preamble(content, "x.wasm")
    said = str(caught.value)
    assert said.startswith("x.wasm is not WebAssembly: it begins with ")
    assert what in said
    assert advice in said
    assert "\n" not in said


def imports(module: str, name: str) -> str:
    return f'(import "{module}" "{name}" (func (param i32))) {PLUGIN}'


MODULES = [
    (
        imports("__wbindgen_placeholder__", "__wbindgen_describe"),
        "which has not run yet",
        "wasm-bindgen --target web",
    ),
    (imports("__wbindgen_externref_xform__", "grow"), "which has not run yet", "wasm-bindgen --target web"),
    (
        f'(func (export "__wbindgen_describe_init")) {PLUGIN}',
        "which has not run yet",
        "take the file ..._bg.wasm",
    ),
    (imports("gojs", "runtime.wasmExit"), "a Go program for browsers", GO),
    (imports("env", "syscall/js.valueGet"), "a Go program for browsers", GO),
    (imports("env", "emscripten_resize_heap"), "made by Emscripten", "-sSTANDALONE_WASM --no-entry"),
    (imports("env", "invoke_vi"), "made by Emscripten", "-sSTANDALONE_WASM --no-entry"),
    (
        imports("env", "seed"),
        "an AssemblyScript module that calls JavaScript",
        "use log and nowMs of the SDK",
    ),
    (
        imports("env", "console.log"),
        "an AssemblyScript module that calls JavaScript",
        "use log and nowMs of the SDK",
    ),
    (imports("wasi:http/types@0.2.0", "x"), "the inside of a component", "build it for wasm32-wasip1"),
    (imports("wasi", "thread-spawn"), "made for threads", "without threads"),
    (imports("extism:host/env", "input_length"), "an Extism plugin", "wanted the Blitz ABI"),
    (f'(import "env" "__linear_memory" (memory 1)) {ALLOC} {HOOK}', "an object file", "link it with wasm-ld"),
]


@pytest.mark.parametrize(("text", "what", "advice"), MODULES)
def test_a_module_that_was_made_for_somebody_else(
    engine: Engine, wat: Wat, text: str, what: str, advice: str
) -> None:
    module = Module.compile(engine, wat(f"(module {text})"), "x.wasm")
    try:
        with pytest.raises(PluginLoadError) as caught:
            detect(module)
    finally:
        module.close()
    said = str(caught.value)
    assert said.startswith("x.wasm is ")
    assert what in said
    assert advice in said


def test_a_plugin_is_none_of_them(engine: Engine, wat: Wat) -> None:
    """What the SDKs' own builds import and export."""
    functions = "".join(
        f'(import "env" "{name}" (func (param i32 i32 i32 i32)))' for name in ("abort", "log")
    )
    module = Module.compile(engine, wat(f"(module {functions} {PLUGIN})"), "x.wasm")
    try:
        assert detect(module).abi == "blitz/1"
    finally:
        module.close()


def test_every_place_where_a_module_is_cut(engine: Engine, wat: Wat) -> None:
    whole = wat(f"(module {PLUGIN})")
    for end in range(1, len(whole)):
        with pytest.raises(PluginLoadError) as caught:
            module = Module.compile(engine, whole[:end], "x.wasm")
            try:  # between two sections what is left may be a module, and no plugin
                detect(module)
            finally:
                module.close()
        said = str(caught.value)
        if end < 8 or is_cut_short(whole[:end]):
            assert said.startswith("x.wasm is cut short"), (end, said)
    assert sum(is_cut_short(whole[:end]) for end in range(8, len(whole))) > len(whole) - 8 - 10
    assert not is_cut_short(whole)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.sampled_from([beginning for beginning, *_ in FILES]))
def test_any_bytes_are_one_sentence(tail: bytes, beginning: bytes) -> None:
    for content in (tail, beginning[:9] + tail):
        what, advice = no_module(content)
        assert advice
        assert what.isprintable()
        is_cut_short(b"\0asm\1\0\0\0" + tail)


@pytest.mark.toolchain
@pytest.mark.skipif(shutil.which("go") is None, reason="no Go")
@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        ("wasip1", f"build it as a library, in Go with {GO}"),
        (
            "js",
            f"for browsers (it imports gojs.runtime.scheduleTimeoutEvent): build it with {GO}",
        ),
    ],
)
def test_a_go_program_that_is_no_library(engine: Engine, tmp_path: Path, system: str, sentence: str) -> None:
    (tmp_path / "main.go").write_text("package main\n\nfunc main() {}\n")
    (tmp_path / "go.mod").write_text("module x\n\ngo 1.24\n")
    env = os.environ | {"GOOS": system, "GOARCH": "wasm", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", "build", "-o", "x.wasm", "."], cwd=tmp_path, env=env, check=True)
    module = Module.compile(engine, (tmp_path / "x.wasm").read_bytes(), "x.wasm")
    try:
        with pytest.raises(PluginLoadError) as caught:
            detect(module)
    finally:
        module.close()
    assert sentence in str(caught.value)
