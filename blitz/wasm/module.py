"""A compiled module and what it imports and exports. Knows nothing of any plugin ABI."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import InternalError, PluginLoadError
from blitz.text import one_line
from blitz.wasm.engine import ERROR_SIZE, Engine
from blitz.wasm.kinds import NATIVE_HEAD, is_cut_short, no_module
from blitz.wasm.sections import PREAMBLE_SIZE, lean
from blitz.wasm.symbols import Symbols

__all__ = ["Export", "Import", "MemoryType", "Module", "check_preamble", "spell_type"]

PAGE_SIZE = 65536
# Imports and exports, each. Looking through so many takes 20 ms of the event loop when a plugin is loaded.
MAX_NAMES = 10_000
MAX_NAME = 256  # letters of one: it stands in messages; no name that means something is as long
MAGIC = b"\0asm"
# The preamble's last four bytes: version and layer (component model, Binary.md).
CORE_VERSION = b"\x01\0\0\0"
COMPONENT_LAYER = b"\x01\0"

_WORDS = {"i": "i32", "I": "i64", "f": "f32", "F": "f64", "v": "v128", "r": "funcref", "x": "externref"}


@dataclass(frozen=True, slots=True)
class Import:
    """Something the module wants from the host; ``type`` is spelt as in ``native/blitz_native.h``.
    Names are shown as ``one_line`` has them, and long ones cut: ``index`` says which it is."""

    index: int
    module: str
    name: str
    type: str

    @property
    def is_function(self) -> bool:
        return ":" in self.type


@dataclass(frozen=True, slots=True)
class Export:
    """Something the module offers."""

    index: int
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class MemoryType:
    """Attributes: minimum_size: bytes. maximum_size: bytes, or None. shared, is_64: proposals in use."""

    minimum_size: int
    maximum_size: int | None
    shared: bool
    is_64: bool

    @classmethod
    def parse(cls, spelt: str) -> MemoryType:
        body = spelt[1:].rstrip("sl")
        minimum, maximum = body.split(",")
        flags = spelt[1 + len(body) :]
        return cls(
            minimum_size=int(minimum) * PAGE_SIZE,
            maximum_size=None if maximum == "-" else int(maximum) * PAGE_SIZE,
            shared="s" in flags,
            is_64="l" in flags,
        )


def spell_type(spelt: str) -> str:
    """Say a type of an import or export in words, for messages: ``"ii:i"`` is ``(i32, i32) -> i32``."""
    if ":" in spelt:
        parameters, results = spelt.split(":")
        left = ", ".join(_WORDS.get(letter, "a reference") for letter in parameters)
        right = ", ".join(_WORDS.get(letter, "a reference") for letter in results)
        return f"({left}) -> {right if len(results) == 1 else f'({right})'}"
    if spelt.startswith("m"):
        return "a memory"
    return {"t": "a table", "g": "a global"}.get(spelt[:1], "something else")


class Module:
    """Owns compiled code.

    Attributes:
        engine: what it was compiled for.
        source: where it came from, for messages.
        imports, exports: in the order of the file.
        needs_gc: it uses Wasm GC, exceptions or typed function references; its plugin needs the grant ``gc``.
        symbols: where its code comes from, if that is known.
    """

    def __init__(self, engine: Engine, ptr: Any, source: str, *, needs_gc: bool) -> None:
        for what, count in (
            ("imports", lib.blitz_module_n_imports(ptr)),
            ("exports", lib.blitz_module_n_exports(ptr)),
        ):
            if count > MAX_NAMES:
                lib.blitz_module_free(ptr)
                raise PluginLoadError(
                    f"{source} {what} {count} things, limit {MAX_NAMES}: build it with fewer"
                )
        self.engine = engine
        self.source = source
        self.needs_gc = needs_gc
        self.symbols: Symbols | None = None
        self.plugins = 0  # alive; they must go first
        self._ptr: Any = ptr
        engine.count_module(1)
        self.imports = tuple(_import_at(ptr, index) for index in range(lib.blitz_module_n_imports(ptr)))
        self.exports = tuple(_export_at(ptr, index) for index in range(lib.blitz_module_n_exports(ptr)))

    @classmethod
    def compile(cls, engine: Engine, wasm: bytes, source: str) -> Module:
        """Compile a core module, without its custom sections. Slow (milliseconds to seconds by size); may run
        in another thread.

        Args:
            wasm: the binary.
            source: path or name, for messages.
        Raises:
            PluginLoadError: not WebAssembly, a component, or code that the engine refuses.
        """
        check_preamble(wasm, source)
        error = ffi.new("char[]", ERROR_SIZE)
        given = lean(wasm)
        ptr = lib.blitz_module_compile(engine.ptr, given, len(given), error, ERROR_SIZE)
        if ptr == ffi.NULL:
            if is_cut_short(wasm):
                raise PluginLoadError(
                    f"{source} is cut short: its last section goes on beyond the end of the file "
                    f"({len(wasm)} bytes): build or copy it again"
                )
            raise PluginLoadError(
                f"{source} does not compile: {_decode(ffi.string(error))}; build it again, "
                "wasm-validate says more"
            )
        return cls(engine, ptr, source, needs_gc=bool(lib.blitz_wasm_needs_gc(given, len(given))))

    @classmethod
    def load(cls, engine: Engine, path: str | os.PathLike[str], source: str, *, needs_gc: bool) -> Module:
        """Load what ``serialize`` made, from a file. The file is native code: trust who could write it.

        Args:
            needs_gc: as it was found when the module was compiled.
        Raises:
            PluginLoadError: damaged, or made by another version, engine setting or processor.
        """
        error = ffi.new("char[]", ERROR_SIZE)
        ptr = lib.blitz_module_load(engine.ptr, os.fsencode(path), error, ERROR_SIZE)
        if ptr == ffi.NULL:
            raise PluginLoadError(f"{source}: its compiled form does not load: {_decode(ffi.string(error))}")
        return cls(engine, ptr, source, needs_gc=needs_gc)

    @property
    def ptr(self) -> Any:
        if self._ptr is None:
            raise InternalError("the module is closed")
        return self._ptr

    def serialize(self) -> bytes:
        """Return the compiled form, for ``load`` by the same version on the same kind of processor."""
        out = ffi.new("uint8_t **")
        size = lib.blitz_module_serialize(self.ptr, out)
        if size < 0:
            raise InternalError(f"{self.source} cannot be serialized (code {size})")
        try:
            return bytes(ffi.buffer(out[0], size))
        finally:
            lib.blitz_bytes_free(out[0])

    def export(self, name: str) -> Export | None:
        return next((export for export in self.exports if export.name == name), None)

    def close(self) -> None:
        """Free the code. All plugins made from it must be closed before."""
        if self._ptr is None:
            return
        if self.plugins:
            raise InternalError(f"{self.source} is closed while {self.plugins} plugins use it")
        lib.blitz_module_free(self._ptr)
        self._ptr = None
        self.engine.count_module(-1)


def check_preamble(wasm: bytes, source: str) -> None:
    """Refuse what is no core module, in words.

    Raises:
        PluginLoadError: empty, not WebAssembly, a component, or of another version.
    """
    if not wasm:
        raise PluginLoadError(f"{source} is empty, wanted a WebAssembly module: build or copy it again")
    if len(wasm) < PREAMBLE_SIZE and (MAGIC + CORE_VERSION).startswith(wasm):
        raise PluginLoadError(f"{source} is cut short after {len(wasm)} bytes: build or copy it again")
    if wasm[:4] != MAGIC:
        what, advice = no_module(wasm[:NATIVE_HEAD])
        like = f", as {what} does" if what else ""
        begins = wasm[:4].hex(" ")
        raise PluginLoadError(
            f"{source} is not WebAssembly: it begins with {begins}{like}, wanted 00 61 73 6d: {advice}"
        )
    if wasm[6:8] == COMPONENT_LAYER:
        raise PluginLoadError(
            f"{source} is a WebAssembly component, wanted a core module: "
            "build for wasm32-unknown-unknown or wasm32-wasip1 instead"
        )
    if wasm[4:8] != CORE_VERSION:
        raise PluginLoadError(
            f"{source} has WebAssembly version {wasm[4:8].hex(' ')}, wanted 01 00 00 00: "
            "build for WebAssembly 1"
        )


def _import_at(ptr: Any, index: int) -> Import:
    raw = lib.blitz_module_import(ptr, index)
    return Import(index, _name(raw.module), _name(raw.name), _decode(ffi.string(raw.type)))


def _export_at(ptr: Any, index: int) -> Export:
    raw = lib.blitz_module_export(ptr, index)
    return Export(index, _name(raw.name), _decode(ffi.string(raw.type)))


def _name(raw: Any) -> str:
    """As it may stand in a line of the log: a module chooses its names freely."""
    # A letter has at most four bytes, and one more letter tells that there is more.
    name = _decode(bytes(ffi.buffer(raw.ptr, min(raw.len, 4 * (MAX_NAME + 1))))) if raw.len else ""
    return one_line(name) if len(name) <= MAX_NAME else f"{one_line(name[:MAX_NAME])}..."


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
