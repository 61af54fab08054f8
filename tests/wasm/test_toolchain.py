"""Modules as a real compiler makes them: a C library over WASI, and debug information."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blitz._native import lib
from blitz.wasm.cache import CompileCache
from blitz.wasm.engine import Engine

from .support import exchanging, running

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))
from build import cache_dir, zig

pytestmark = pytest.mark.toolchain

REACTOR = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
__attribute__((import_module("env"), import_name("set_header")))
void set_header(const char *, int, const char *, int);

static int initialized;
__attribute__((constructor)) static void construct(void) { initialized = 1; }

__attribute__((export_name("process_request")))
int process_request(const char *method, int method_len, const char *path, int path_len)
{
    char *copy = malloc((size_t)path_len + 1);
    memcpy(copy, path, (size_t)path_len);
    copy[path_len] = 0;
    printf("%.*s %s %d\n", method_len, method, copy, initialized);
    fprintf(stderr, "to stderr\n");
    const char *key = getenv("KEY"), *home = getenv("HOME");
    set_header("x-key", 5, key ? key : "unset", key ? (int)strlen(key) : 5);
    set_header("x-home", 6, home ? home : "unset", home ? (int)strlen(home) : 5);
    if (fopen("/etc/passwd", "r") || fopen("file", "w") || time(NULL) < 1700000000 || getchar() != EOF)
        return -1;
    if (strcmp(copy, "/exit") == 0)
        exit(7);
    free(copy);
    fflush(stdout);
    return 0;
}
"""
# Line numbers matter below.
DEBUG = """__attribute__((noinline)) static int divide(volatile int *by) {
    return 10 / *by;
}
static inline int middle(int by) {
    volatile int copy = by;
    return divide(&copy);
}
static char area[4096];
__attribute__((export_name("blitz_buffer"))) char *buffer(void) { return area; }
__attribute__((export_name("blitz_buffer_size"))) int size(void) { return sizeof area; }
__attribute__((export_name("process_request"))) int process_request(char *m, int n, char *p, int k) {
    return middle(k - k);
}
"""


def compile_c(directory: Path, source: str, *flags: str) -> bytes:
    (directory / "guest.c").write_text(source)
    caches = {name: str(cache_dir() / "zig") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    command = [*zig(), "cc", "-O1", "-fno-sanitize=all", *flags, "-o", "guest.wasm", "guest.c"]
    subprocess.run(command, cwd=directory, env=os.environ | caches, check=True)
    return (directory / "guest.wasm").read_bytes()


def test_a_c_library_over_wasi(engine: Engine, tmp_path: Path) -> None:
    flags = ("-target", "wasm32-wasi", "-mexec-model=reactor", "-Wl,-z,stack-size=65536")
    wasm = compile_c(tmp_path, REACTOR, *flags, "-Wl,--export=malloc", "-Wl,--export=free")
    with running(engine, wasm, env={"KEY": "granted"}) as guest:
        for _ in range(100):
            with exchanging(target=b"/path") as exchange:
                assert guest.request(exchange) == lib.BLITZ_R_LOGS | lib.BLITZ_R_EDITS
                assert exchange.request_fields()[1:] == [(b"x-key", b"granted"), (b"x-home", b"unset")]
            lines = [(level, text) for level, text, _ in guest.instance.take_log()]
            assert sorted(lines) == [(2, "GET /path 1"), (4, "to stderr")]
        with exchanging(target=b"/exit") as exchange:
            error = guest.fails(guest.request(exchange))
            assert "the guest exited with status 7" in str(error)
            assert guest.log() == ["GET /exit 1", "to stderr"]


@pytest.mark.parametrize("version", [4, 5])
def test_frames_have_file_and_line_with_debug_information(
    engine: Engine, tmp_path: Path, version: int
) -> None:
    flags = (
        "-target",
        "wasm32-freestanding",
        f"-gdwarf-{version}",
        "-nostdlib",
        "-Wl,--no-entry",
        "-Wl,-z,stack-size=65536",
    )
    compile_c(tmp_path, DEBUG, *flags)
    module, _ = CompileCache(tmp_path / "cache").load(engine, str(tmp_path / "guest.wasm"))
    with running(engine, module) as guest, exchanging() as exchange:
        error = guest.fails(guest.request(exchange))
        places = [frame.rsplit("/", 1)[-1] for frame in error.frames]
        assert [frame.split("  ")[0] for frame in error.frames] == ["divide", "middle", "process_request"]
        assert [place.rsplit(":", 1)[0] for place in places] == ["guest.c:2", "guest.c:6", "guest.c:12"]
