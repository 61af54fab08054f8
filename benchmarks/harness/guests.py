"""Guests of the benchmarks: WebAssembly text under ``benchmarks/guests/``, assembled at run time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .places import BENCHMARKS

__all__ = ["assemble", "write_chain"]


def assemble(name: str, n: int = 1) -> bytes:
    """The binary form of ``guests/<name>.wat`` with ``@n@`` replaced."""
    import wasmtime

    text = (BENCHMARKS / "guests" / f"{name}.wat").read_text().replace("@n@", str(n))
    return bytes(wasmtime.wat2wasm(text))


def write_chain(name: str, count: int) -> Callable[[Path], None]:
    """-> a function that writes ``<name>_1.wasm`` to ``<name>_<count>.wasm`` into a folder."""

    def write(folder: Path) -> None:
        for n in range(1, count + 1):
            (folder / f"{name}_{n}.wasm").write_bytes(assemble(name, n))

    return write
