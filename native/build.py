"""Describe the extension module ``blitz._native`` to cffi (API mode, stable ABI).

The declarations Python sees are the text between the CDEF marks of ``blitz_native.h``; the C
sources are every ``*.c`` beside this file. Nothing is linked but libc: wasmtime's library is opened
at run time (see ``wasmtime_api.c``).
"""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def declarations() -> str:
    text = (HERE / "blitz_native.h").read_text(encoding="utf-8")
    return text.split("/* CDEF-BEGIN */", 1)[1].split("/* CDEF-END */", 1)[0]


def sources() -> list[str]:
    """Paths relative to the project root, as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in HERE.glob("*.c"))


ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "blitz._native",
    '#include "blitz_native.h"',
    sources=sources(),
    include_dirs=["native"],
    depends=sorted(str(path.relative_to(ROOT)) for path in [*HERE.glob("*.h"), *HERE.glob("*.def")]),
    extra_compile_args=[
        "-std=gnu11",
        "-O2",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wno-unused-function",
    ],
    libraries=["dl", "m", "pthread"],
    py_limited_api=True,
)
