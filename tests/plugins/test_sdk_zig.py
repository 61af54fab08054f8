"""The Zig SDK: the page's first plugin builds and works; checks, errors and panics say what happened."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.wasm.engine import Engine

from .blitz_host import BlitzPlugin
from .probe import check_probe, check_refused, exercise
from .reference_host import Message
from .toolchain import SDKS, check_frame, check_read_only, listings, run_zig

SDK = SDKS / "zig"
FREESTANDING, WASI = listings(SDK / "README.md", "bash")
BUILDS = [pytest.param(FREESTANDING, id="freestanding"), pytest.param(WASI, id="wasi")]
pytestmark = pytest.mark.toolchain


def compile_zig(command: str, source: str, directory: Path) -> Path:
    """*source*, built with a command of the page."""
    (directory / "hello.zig").write_text(source, encoding="utf-8")
    run_zig(command, directory)
    return directory / "hello.wasm"


@pytest.fixture(scope="module", params=BUILDS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = (SDK / "examples" / "probe.zig").read_text(encoding="utf-8")
    return compile_zig(request.param, source, tmp_path_factory.mktemp("probe"))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    yield engine
    engine.close()


@pytest.mark.parametrize("command", BUILDS)
def test_first_plugin_of_the_readme_builds_and_works(tmp_path: Path, engine: Engine, command: str) -> None:
    (listing,) = listings(SDK / "README.md", "zig")
    assert listing == (SDK / "examples" / "hello.zig").read_text(encoding="utf-8")
    with BlitzPlugin(engine, compile_zig(command, listing, tmp_path), {}, {}) as plugin:
        assert not plugin.plugin.plan.needs()
        check_read_only(plugin, "from Zig")


def test_probe_calls_every_kind_of_host_function(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {"PROBE_NAME": "näme"}) as plugin:
        check_probe(plugin)


def test_init_refuses_with_its_message(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {"refuse": "not today"}, {}) as plugin:
        assert plugin.logs.pop() == ("error", "init: Refused")
        check_refused(plugin)


def test_memory_stays_flat(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {}) as plugin:
        exercise(plugin, 100)
        size = plugin.memory_size()
        exercise(plugin, 1000)
        assert plugin.memory_size() == size


# Line numbers matter below.
FAILS = """const blitz = @import("blitz");
pub const panic = blitz.panic;
comptime {
    blitz.plugin(@This());
}
var table: [4]u8 = .{ 1, 2, 3, 4 };
noinline fn look(index: usize) u8 {
    return table[index];
}
pub fn request(_: []const u8, path: []const u8) !blitz.Verdict {
    if (path.len == 1) return error.TooShort;
    return if (look(path.len - 1) > 9) .stop else .proceed;
}
"""


@pytest.mark.parametrize("mode", ["ReleaseSafe", "Debug"])
def test_errors_and_panics_are_told(tmp_path: Path, engine: Engine, mode: str) -> None:
    file = compile_zig(FREESTANDING.replace("ReleaseSafe", mode), FAILS, tmp_path)
    with BlitzPlugin(engine, file, {}, {}) as plugin:
        assert plugin.request("GET", "/", Message()).verdict == -1
        assert plugin.logs == [("error", "request: TooShort")]
        assert plugin.request("GET", "/abc", Message()).verdict == 0
        plugin.request("GET", "/abcd", Message())
        assert plugin.logs[1:] == [("error", "panic: index out of bounds: index 4, len 4")]
        check_frame(plugin.instance.fault(), "look", "hello.zig:8")


REGION = """const std = @import("std");
const blitz = @import("blitz");
pub const panic = blitz.panic;
comptime {
    blitz.plugin(@This());
}
var kept: []u8 = &.{};
pub fn init() !void {
    kept = try blitz.allocator.dupe(u8, "kept by init");
}
pub fn request(_: []const u8, path: []const u8) !blitz.Verdict {
    var lists: [3]std.ArrayList(u8) = @splat(.empty);
    for (0..path.len * 20) |number| {
        try lists[number % 3].append(blitz.allocator, @intCast(number % 3));
        // Another allocator takes pages in between.
        if (number % 500 == 0) std.heap.wasm_allocator.free(try std.heap.wasm_allocator.alloc(u8, 100_000));
    }
    for (&lists, 0..) |*list, number| {
        for (list.items) |item| if (item != number) return .failed;
    }
    blitz.setHeader("x-kept", kept);
    return .proceed;
}
"""


def test_the_allocator_hands_out_memory_of_its_own(tmp_path: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, compile_zig(FREESTANDING, REGION, tmp_path), {}, {}) as plugin:
        for length in itertools.chain(range(1, 200, 7), [200] * 50):
            passed = plugin.request("GET", "/" * length, Message())
            assert (passed.verdict, dict(passed.headers)) == (0, {"x-kept": "kept by init"})
        size = plugin.memory_size()
        for _ in range(50):
            plugin.request("GET", "/" * 200, Message())
        assert plugin.memory_size() == size
