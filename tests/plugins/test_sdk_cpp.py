"""C++ with the header of the C SDK: freestanding, and over WASI with the standard library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.wasm.engine import Engine

from .blitz_host import BlitzPlugin
from .probe import check_probe, check_refused, exercise
from .reference_host import Message
from .toolchain import SDKS, check_frame, check_read_only, listings, run_zig

SDK = SDKS / "cpp"
FREESTANDING, WASI = listings(SDK / "README.md", "bash")
BUILDS = [pytest.param(FREESTANDING, id="freestanding"), pytest.param(WASI, id="wasi")]
pytestmark = pytest.mark.toolchain


def compile_cpp(command: str, source: str, directory: Path, *, flags: str = "") -> Path:
    """*source*, built with a command of the page."""
    (directory / "plugin.cpp").write_text(source, encoding="utf-8")
    words, _, _ = command.partition(" -o ")
    run_zig(f"{words} {flags} -o plugin.wasm plugin.cpp", directory)
    return directory / "plugin.wasm"


@pytest.fixture(scope="module", params=BUILDS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = (SDK / "examples" / "probe.cpp").read_text(encoding="utf-8")
    return compile_cpp(request.param, source, tmp_path_factory.mktemp("probe"), flags="-Wall -Wextra -Werror")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    yield engine
    engine.close()


def test_first_plugin_of_the_readme_builds_and_works(tmp_path: Path, engine: Engine) -> None:
    (listing,) = listings(SDK / "README.md", "cpp")
    assert listing == (SDK / "examples" / "hello.cpp").read_text(encoding="utf-8")
    (tmp_path / "hello.cpp").write_text(listing, encoding="utf-8")
    run_zig(FREESTANDING, tmp_path)
    with BlitzPlugin(engine, tmp_path / "hello.wasm", {}, {}) as plugin:
        assert plugin.memory_size() <= 2 * 65536
        check_read_only(plugin, "from C++")


def test_the_example_with_the_standard_library_builds_and_works(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "cookies.cpp").write_text((SDK / "examples" / "cookies.cpp").read_text())
    run_zig(WASI, tmp_path)
    with BlitzPlugin(engine, tmp_path / "cookies.wasm", {}, {}) as plugin:
        assert not plugin.plugin.plan.needs()
        for sent, names in [("b=1; a=2;session=x; c", "a b c"), ("", ""), ("a=1; a=2", "a")]:
            passed = plugin.request("GET", "/", Message([("cookie", sent)]))
            assert dict(passed.headers)["x-cookies"] == names
        many = [f"cookie-{number:04}" for number in range(400)]
        size = 0
        for _ in range(50):
            passed = plugin.request("GET", "/", Message([("cookie", "=1; ".join(reversed(many)))]))
            assert dict(passed.headers)["x-cookies"] == " ".join(many)
            size = size or plugin.memory_size()
        assert plugin.memory_size() == size


def test_probe_calls_every_kind_of_host_function(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {"PROBE_NAME": "näme"}) as plugin:
        check_probe(plugin)


def test_init_refuses_with_its_message(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {"refuse": "not today"}, {}) as plugin:
        check_refused(plugin)


def test_memory_stays_flat(probe: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, probe, {}, {}) as plugin:
        exercise(plugin, 1000)
        size = plugin.memory_size()
        exercise(plugin, 2000)
        assert plugin.memory_size() == size


EVERYTHING = r"""
#include "blitz.h"
#include "blitz_sha256.h"
struct Counter {
    uint64_t calls;
    Counter() : calls(40) {}
};
static Counter counter;
BLITZ_INIT()
{
    uint32_t number;
    bool yes;
    bool right = blitz_config_u32(BLITZ_STR("n"), 1, 0, 5, &number);
    return right && blitz_config_bool(BLITZ_STR("b"), true, &yes) ? 0 : -1;
}
BLITZ_REQUEST(method, path)
{
    uint8_t key[32], digest[32];
    blitz_hmac hmac;
    blitz_sha256_of(method, key);
    blitz_hmac_start(&hmac, blitz_view((const char *)key, 32));
    blitz_sha256_add(&hmac.inner, path);
    blitz_hmac_finish(&hmac, digest);
    char text[64];
    blitz_writer writer = blitz_writer_on(text, sizeof text);
    blitz_put_u64(&writer, ++counter.calls);
    blitz_set_header(BLITZ_STR("x-calls"), blitz_written(&writer));
    blitz_note_put(7);
    blitz_value token = blitz_header_into(BLITZ_STR("x-token"), text, sizeof text);
    return blitz_is_token(token.text) ? BLITZ_STOP : BLITZ_CONTINUE;
}
BLITZ_CLEANUP() { return 0; }
"""


@pytest.mark.parametrize("command", BUILDS)
@pytest.mark.parametrize("standard", ["c++11", "c++17", "c++23"])
def test_the_header_is_cpp_without_a_warning(
    tmp_path: Path, engine: Engine, command: str, standard: str
) -> None:
    flags = f"-std={standard} -Wall -Wextra -Wpedantic -Wconversion -Werror"
    file = compile_cpp(command, EVERYTHING, tmp_path, flags=flags)
    with BlitzPlugin(engine, file, {}, {}) as plugin:
        # Constructors have run once, not before every call.
        calls = [dict(plugin.request("GET", "/", Message()).headers)["x-calls"] for _ in range(3)]
        assert calls == ["41", "42", "43"]


OVERLAP = r"""
#include "blitz.h"
#include <string>
#include <vector>
static std::string kept;
BLITZ_REQUEST(method, path)
{
    (void)method;
    (void)path;
    std::vector<std::string> others;
    for (int i = 0; i < 50; i++) {
        blitz_value value = blitz_header(BLITZ_STR("x-echo"));
        others.emplace_back(1000 + i, 'X');
        if (kept.empty()) {
            kept.assign(value.text.ptr, value.text.len);
        }
        blitz_str again = blitz_header(BLITZ_STR("x-echo")).text;
        if (!blitz_equal(value.text, again) || others.back().find_first_not_of('X') != std::string::npos) {
            return BLITZ_ERROR;
        }
    }
    blitz_set_header(BLITZ_STR("x-kept"), blitz_view(kept.data(), (uint32_t)kept.size()));
    return BLITZ_CONTINUE;
}
"""


def test_the_header_and_malloc_do_not_share_memory(tmp_path: Path, engine: Engine) -> None:
    with BlitzPlugin(engine, compile_cpp(WASI, OVERLAP, tmp_path), {}, {}) as plugin:
        sizes = []
        for number in range(300):
            text = chr(97 + number % 26) * (1 + number * 37 % 4000)
            passed = plugin.request("GET", "/", Message([("x-echo", text)]))
            assert passed.verdict == 0
            assert dict(passed.headers)["x-kept"] == "a"
            sizes.append(plugin.memory_size())
        assert sizes[-1] == sizes[len(sizes) // 2]


# Line numbers matter below.
EXPLODES = r"""#include "blitz.h"
__attribute__((noinline)) static int explode(uint32_t length) {
    if (length > 3) __builtin_trap();
    return BLITZ_CONTINUE;
}
BLITZ_REQUEST(method, path) { (void)method; return explode(path.len); }
"""


@pytest.mark.parametrize("command", BUILDS)
def test_a_trap_says_where_it_was(tmp_path: Path, engine: Engine, command: str) -> None:
    with BlitzPlugin(engine, compile_cpp(command, EXPLODES, tmp_path), {}, {}) as plugin:
        assert plugin.request("GET", "/ab", Message()).verdict == 0
        plugin.request("GET", "/abc", Message())
        check_frame(plugin.instance.fault(), "explode", "plugin.cpp:3")
