"""What a fault looks like in every language whose page shows a build: in modules that were built so.

Each guest makes by its path one of three mistakes: it calls itself, loops, or takes memory for ever.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blitz.errors import PluginTimeout
from blitz.wasm.engine import Engine
from blitz.wasm.instance import PENDING

from . import test_sdk_assemblyscript as assemblyscript
from . import test_sdk_cpp as cpp
from . import test_sdk_go as go
from . import test_sdk_rust as rust
from . import test_sdk_zig as zig
from .blitz_host import BlitzPlugin
from .reference_host import Message
from .test_sdk_assemblyscript import asc as asc
from .toolchain import SDKS, listings

pytestmark = pytest.mark.toolchain
MEMORY = 16 * 1024 * 1024

C = r"""#include "blitz.h"
static volatile int seen;
__attribute__((noinline)) static int deep(int n, char *from)
{
    char room[64];
    room[0] = (char)n;
    seen = room[0] + (from ? from[0] : 0);
    return deep(n + 1, room) + room[n % 64];
}
__attribute__((noinline)) static int spin(void)
{
    for (;;)
        seen++;
}
__attribute__((noinline)) static int hoard(void)
{
    for (;;)
        if (__builtin_wasm_memory_grow(0, 16) == (size_t)-1)
            __builtin_trap();
}
BLITZ_REQUEST(method, path)
{
    (void)method;
    switch (path.ptr[1]) {
    case 'd': return deep(0, 0);
    case 'l': return spin();
    case 'm': return hoard();
    default: return BLITZ_CONTINUE;
    }
}
"""
RUST = """use blitz_plugin::{self as blitz, Plugin, Verdict};
struct Mistakes;

fn black_box<T>(value: T) -> T {
    let copy = unsafe { std::ptr::read_volatile(&value) };
    std::mem::forget(value);
    copy
}

#[allow(unconditional_recursion)]
#[inline(never)]
fn deep(n: u32, from: &[u32; 16]) -> u32 {
    let mut room = [n; 16];
    black_box(&mut room);
    deep(n + 1, &room) + from[(n % 16) as usize]
}
#[inline(never)]
fn spin() -> u32 {
    let mut n = 0u32;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}
#[inline(never)]
fn hoard() -> u32 {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(black_box(vec![1; 1_000_000]));
    }
}
impl Plugin for Mistakes {
    fn request(_method: &str, path: &str) -> Verdict {
        let n = match path.as_bytes().get(1) {
            Some(b'd') => deep(0, &[0; 16]),
            Some(b'l') => spin(),
            Some(b'm') => hoard(),
            _ => 0,
        };
        blitz::set_header("x-n", n.to_string());
        Verdict::Continue
    }
}
blitz::export!(Mistakes: request);
"""
ZIG = """const std = @import("std");
const blitz = @import("blitz");
pub const panic = blitz.panic;
comptime {
    blitz.plugin(@This());
}
noinline fn deep(n: u32, from: *const [16]u32) u32 {
    var room: [16]u32 = @splat(n);
    std.mem.doNotOptimizeAway(&room);
    return deep(n +% 1, &room) +% from[n % 16];
}
noinline fn spin() u32 {
    var n: u32 = 0;
    while (true) {
        n +%= 1;
        std.mem.doNotOptimizeAway(n);
    }
}
noinline fn hoard() !u32 {
    while (true) {
        const more = try std.heap.wasm_allocator.alloc(u8, 1_000_000);
        std.mem.doNotOptimizeAway(more.ptr);
    }
}
pub fn request(_: []const u8, path: []const u8) !blitz.Verdict {
    const n: u32 = switch (if (path.len > 1) path[1] else '-') {
        'd' => deep(0, &@as([16]u32, @splat(0))),
        'l' => spin(),
        'm' => try hoard(),
        else => 0,
    };
    return if (n == 7) .failed else .proceed;
}
"""
GO = """package main

import blitz "blitz.example/plugin"

//go:noinline
func deep(n int, from *[16]int) int {
	var room [16]int
	room[n%16] = n
	return deep(n+1, &room) + from[n%16]
}

var seen int

//go:noinline
func spin() int {
	for {
		seen++
	}
}

//go:noinline
func hoard() int {
	var all [][]byte
	for {
		all = append(all, make([]byte, 1000000))
		seen += len(all)
	}
}

func init() {
	blitz.OnRequest(func(method, path string) blitz.Verdict {
		switch path[1:2] {
		case "d":
			return blitz.Verdict(deep(0, &[16]int{}))
		case "l":
			return blitz.Verdict(spin())
		case "m":
			return blitz.Verdict(hoard())
		}
		return blitz.Continue
	})
}

func main() {}
"""
ASSEMBLYSCRIPT = """import * as blitz from "./blitz";
export { blitz_buffer, blitz_buffer_size } from "./blitz";
let seen: i32 = 0;
// @ts-ignore: decorator
@inline const MORE: i32 = 1000000;
function deep(n: i32, from: string): i32 {
  seen = n;
  return deep(n + 1, from + "x") + seen;
}
function spin(): i32 {
  while (true) seen++;
}
function hoard(): i32 {
  const all: StaticArray<u8>[] = [];
  while (true) all.push(new StaticArray<u8>(MORE));
}
export function process_request(method: usize, methodSize: i32, path: usize, pathSize: i32): i32 {
  const text = blitz.text(path, pathSize);
  if (text.startsWith("/d")) return deep(0, text);
  if (text.startsWith("/l")) return spin();
  if (text.startsWith("/m")) return hoard();
  return blitz.CONTINUE;
}
"""


def build_c(directory: Path) -> Path:
    (command,) = (line for line in listings(SDKS / "c" / "README.md", "bash") if "ziglang cc" in line)
    (directory / "hello.c").write_text(C)
    cpp.run_zig(command, directory)
    return directory / "hello.wasm"


def build_cpp(command: str) -> Callable[[Path], Path]:
    return lambda directory: cpp.compile_cpp(command, C, directory)


def build_rust(directory: Path) -> Path:
    found = rust.toolchain()
    if found is None:
        pytest.skip("no rustc with a standard library for wasm32: apt-get install libstd-rust-dev-wasm32 lld")
    crate = directory / "sdk"
    shutil.copytree(rust.SDK, crate)
    (crate / "examples" / "hello.rs").write_text(RUST)
    rust.build(found, crate, "--example", "hello")
    return crate / "out" / rust.TARGET / "release" / "examples" / "hello.wasm"


def build_zig(command: str) -> Callable[[Path], Path]:
    return lambda directory: zig.compile_zig(command, ZIG, directory)


def build_go(directory: Path) -> Path:
    if shutil.which("go") is None:
        pytest.skip("building Go plugins needs go")
    (commands,) = listings(go.SDK / "README.md", "bash")
    (directory / "main.go").write_text(GO)
    go.run_go(commands.replace("/path/to/blitz/plugins/sdk/go", str(go.SDK)), directory)
    return directory / "hello.wasm"


BUILDS = {
    "c": build_c,
    "c++": build_cpp(cpp.FREESTANDING),
    "c++ over WASI": build_cpp(cpp.WASI),
    "rust": build_rust,
    "zig": build_zig(zig.FREESTANDING),
    "zig, debug": build_zig(zig.FREESTANDING.replace("ReleaseSafe", "Debug")),
    "zig over WASI": build_zig(zig.WASI),
    "go": build_go,
    "assemblyscript": None,
}


@pytest.fixture(scope="module", params=BUILDS)
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("module")
    build = BUILDS[request.param]
    if build is not None:
        return build(directory)
    (directory / "hello.ts").write_text(ASSEMBLYSCRIPT)
    shutil.copy(SDKS / "assemblyscript" / "blitz.ts", directory)
    compiler = request.getfixturevalue("asc")
    return assemblyscript.compile_ts(compiler, directory / "hello.ts", directory / "hello.wasm")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(max_instances=4, max_memory_size=MEMORY)
    yield engine
    engine.close()


@pytest.fixture
def plugin(module: Path, engine: Engine) -> Iterator[BlitzPlugin]:
    with BlitzPlugin(engine, module, {}, {}, MEMORY) as plugin:
        assert plugin.request("GET", "/-", Message()).verdict == 0
        yield plugin


OVERFLOWED = ("the stack overflowed: its calls took more than", "its calls nest deeply: the stack that")


def test_it_calls_itself_for_ever(plugin: BlitzPlugin) -> None:
    plugin.request("GET", "/deep", Message())
    error = plugin.instance.fault()
    # AssemblyScript's strings take the memory first.
    said = OVERFLOWED if "hello/" not in str(error) else ("its memory is full",)
    assert any(words in error.message for words in said), error
    assert sum("deep" in frame for frame in error.frames) >= 2, error
    assert any(re.fullmatch(r"\.\.\. \d+ more of the same", frame) for frame in error.frames), error
    assert len(error.frames) <= 6, error


def test_it_takes_memory_for_ever(plugin: BlitzPlugin) -> None:
    plugin.request("GET", "/memory", Message())
    error = plugin.instance.fault()
    if error.kind == "verdict":  # Zig's allocator returns an error, and so does the hook
        assert plugin.logs == [("error", "request: OutOfMemory")]
        return
    assert re.search(r"; its memory (?:is full:|has) \d{8} of 16777216 bytes$", error.message), error
    assert any("hoard" in frame or frame == "hello/process_request" for frame in error.frames), error


def test_it_loops_for_ever(plugin: BlitzPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was when its time was over; the optimizer may have made the loop a part of its caller."""
    slices = 0

    def some(code: int) -> int:
        nonlocal slices
        while code == PENDING and slices < 5:
            slices += 1
            code = plugin.instance.resume()
        return code

    monkeypatch.setattr(plugin, "_finish", some)
    plugin.request("GET", "/loop", Message())
    error = plugin.instance.time_out()
    assert isinstance(error, PluginTimeout)
    assert any("spin" in frame or frame == "hello/process_request" for frame in error.frames), error
    assert not any(frame.startswith("<wasm function") for frame in error.frames), error
