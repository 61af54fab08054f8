"""What a file is that is no plugin: the first message says the cause, and what to do instead.

Two tables: of bytes at the beginning of a file, and of imports and exports that tell which tool made a module
for whom. Only what no Blitz plugin has may stand in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from blitz.wasm.sections import PREAMBLE_SIZE, sections

__all__ = ["NATIVE_HEAD", "foreign_module", "how_to_build_a_reactor", "is_cut_short", "no_module"]

TARGETS = "build it for wasm32-unknown-unknown or wasm32-wasip1"
UNPACK = "unpack it"
AGAIN = "copy it again"
HOOKS = "wanted the Blitz ABI: export process_request or process_response"
GO = "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"
LAST_SECTION = 13  # the largest id of a section (core specification 3.0, 5.5.2)
NATIVE_HEAD = 4096  # bytes that are looked at

# Beginning of the file -> what begins so, what to do. Of two that fit, the first counts.
BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.github.com/", "a pointer of Git LFS", "run `git lfs pull`"),
    (b"\x1f\x8b", "a gzip file", "unpack it with gunzip"),
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ\0", "an xz file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
    (b"\x7fELF", "a native program or library", TARGETS),
    (b"MZ", "a native program or library", TARGETS),
    (b"\xcf\xfa\xed\xfe", "a native program or library", TARGETS),
    (b"\xca\xfe\xba\xbe", "a native program or library", TARGETS),
    (b"!<arch>\n", "a static library", "link it into a module"),
    (b"BC\xc0\xde", "LLVM bitcode", "compile and link it"),
    (b"#!", "a script", "name a compiled .wasm file"),
    (b"\0\0\0\0", "a file of zeros", AGAIN),
)
# The same for text, after white space and in lower case.
TEXTS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype html", "an HTML page", "download the file itself, not the page about it or an error"),
    (b"<html", "an HTML page", "download the file itself, not the page about it or an error"),
    (b"<?xml", "an XML document", "download the file itself, not a server's error"),
    (b"(module", "WebAssembly text", "compile it with wat2wasm"),
    (b"(component", "WebAssembly text", "compile a core module"),
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """imports: of ``module.name``; exports: of the name. Either that fits is enough."""

    what: str
    advice: str
    imports: str = "(?!)"
    exports: str = "(?!)"


KINDS = (
    _Kind("a Proxy-Wasm module", HOOKS, exports="proxy_abi_version.*"),
    _Kind("an http-wasm module", HOOKS, r"http_handler\..*", "handle_request|handle_response"),
    _Kind("an Extism plugin", HOOKS, r"extism:host/.*|env\.extism_.*"),
    _Kind(
        "what rustc makes for wasm-bindgen, which has not run yet",
        "run wasm-bindgen --target web on it, or wasm-pack build --target web, and take the file ..._bg.wasm",
        r"__wbindgen_externref_xform__\..*|.*\.__wbindgen_describe(_.*)?",
        "__wbindgen_describe_.*",
    ),
    _Kind("a Go program for browsers", f"build it with {GO}", r"(gojs|go)\..*|env\.syscall/js\..*"),
    _Kind(
        "made by Emscripten for its JavaScript",
        "build it with -sSTANDALONE_WASM --no-entry, or with zig cc as the SDK for C does",
        r"env\.(?!emscripten_notify_memory_growth$)(_?_?emscripten_|invoke_|__syscall_|__cxa_|_abort_js|_tzset_js|asm_const_|_embind_).*",
    ),
    _Kind(
        "an AssemblyScript module that calls JavaScript",
        "use log and nowMs of the SDK instead, and the host function random",
        r"env\.(seed|trace|Date\.now|performance\.now|console\..*|Math\..*|process\..*|crypto\..*)",
    ),
    _Kind("the inside of a component", "build it for wasm32-wasip1 or wasm32-unknown-unknown", r"wasi:.*"),
    _Kind("made for threads", "build it without threads", r"wasi\.thread-spawn"),
    _Kind(
        "an object file that is not linked",
        "link it with wasm-ld, or let the compiler do it: leave out -c",
        r"env\.__(linear_memory|stack_pointer|indirect_function_table|memory_base|table_base)",
    ),
)
# Go's runtime for WASI takes all of these from its host, which no other known to us does.
_GO_IMPORTS = {"sched_yield", "poll_oneoff", "args_get", "environ_get", "random_get"}


def no_module(head: bytes) -> tuple[str, str]:
    """What a file that begins with *head* and is no module seems to be, and what to do."""
    for beginning, what, advice in BEGINNINGS:
        if head.startswith(beginning):
            if what.startswith("a native") and b".wasmtime" in head:
                return (
                    "a compiled module (.cwasm)",
                    "name the .wasm that it was made of: Blitz compiles it here",
                )
            return what, advice
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, what, advice in TEXTS:
        if text.startswith(beginning):
            return what, advice
    if _is_text(head):
        return "a text file", "name a compiled .wasm file"
    return "", "name a compiled .wasm file"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-3].decode() if len(head) == NATIVE_HEAD else head.decode()
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)


def is_cut_short(wasm: bytes) -> bool:
    """A section of the module says that it goes on beyond the end of the file, which has no other fault
    before. Takes as long as the module has sections: for the process that compiles it."""
    end = PREAMBLE_SIZE
    for section in sections(wasm):
        end = section.end
    rest = wasm[end : end + 6]
    if len(rest) < 2:
        return bool(rest) and rest[0] <= LAST_SECTION
    size, shift = 0, 0
    for byte in rest[1:]:
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return rest[0] <= LAST_SECTION and size > len(wasm) - end - 1 - shift // 7
    return rest[0] <= LAST_SECTION and len(rest) < 6


def foreign_module(imports: Iterable[tuple[str, str]], exports: Iterable[str]) -> str:
    """What a module is that was made for somebody else and what to do, to follow "x.wasm is "; "" if it is
    none of those that are known."""
    called = [f"{module}.{name}" for module, name in imports]
    offered = list(exports)
    for kind in KINDS:
        for verb, pattern, names in (("imports", kind.imports, called), ("exports", kind.exports, offered)):
            found = next((name for name in names if re.fullmatch(pattern, name)), "")
            if found:
                comma = ", " if kind.advice == HOOKS else ": "
                return f"{kind.what} (it {verb} {found}){comma}{kind.advice}"
    return ""


def how_to_build_a_reactor(imports: Iterable[tuple[str, str]]) -> str:
    """What to do with a module that is a command, for the end of a sentence."""
    if {name for _, name in imports} >= _GO_IMPORTS:
        return f"build it as a library, in Go with {GO}"
    return "build it as a library (Go: -buildmode=c-shared, clang: -mexec-model=reactor)"
