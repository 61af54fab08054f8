"""Guests of the benchmarks: WebAssembly text under ``benchmarks/guests/``, assembled at run time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .places import BENCHMARKS

__all__ = ["assemble", "large_guest", "write_chain"]


def assemble(name: str, n: int = 1) -> bytes:
    """The binary form of ``guests/<name>.wat`` with ``@n@`` replaced."""
    import wasmtime

    text = (BENCHMARKS / "guests" / f"{name}.wat").read_text().replace("@n@", str(n))
    return bytes(wasmtime.wat2wasm(text))


def large_guest(functions: int) -> bytes:
    """A plugin that does nothing, beside *functions* functions of some 800 bytes that are never called."""
    import wasmtime

    # A store each, so that nothing is folded away.
    body = "".join(
        f"(i32.store offset={8 * n} (local.get 0) (i32.mul (i32.load offset={8 * n} (local.get 0))"
        f" (i32.const {1_000_003 + n})))"
        for n in range(50)
    )
    unused = f"(func (param i32) {body})" * functions
    return bytes(
        wasmtime.wat2wasm(
            f"""(module (memory (export "memory") 2)
            (func (export "blitz_buffer") (result i32) (i32.const 1024))
            (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
            (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)) {unused})"""
        )
    )


def write_chain(name: str, count: int) -> Callable[[Path], None]:
    """-> a function that writes ``<name>_1.wasm`` to ``<name>_<count>.wasm`` into a folder."""

    def write(folder: Path) -> None:
        for n in range(1, count + 1):
            (folder / f"{name}_{n}.wasm").write_bytes(assemble(name, n))

    return write
