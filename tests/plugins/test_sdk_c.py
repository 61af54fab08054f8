"""The C SDK: the README's plugin builds and works; lookups, memory and hashing do what they say."""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from blitz.config import Admin, Plugin, Route
from blitz.wasm.engine import Engine
from tests.admin.test_metrics import samples
from tests.server.harness import Served, rig

from .blitz_host import BlitzPlugin
from .cases import PLUGINS
from .probe import check_hello
from .reference_host import Message, ReferencePlugin
from .toolchain import SDKS, builder, check_frame, listings, run_zig

SDK = SDKS / "c"
pytestmark = pytest.mark.toolchain

(COMMAND,) = listings(SDK / "README.md", "bash")
PROBE = r"""
#define BLITZ_BUFFER_SIZE 70000
#define BLITZ_ALLOCATOR
#include "blitz.h"
#include "blitz_sha256.h"

static void answer(blitz_str name, const uint8_t *digest)
{
    char hex[64];
    blitz_writer writer = blitz_writer_on(hex, sizeof hex);
    blitz_put_hex(&writer, digest, 32);
    blitz_set_header(name, blitz_written(&writer));
}

BLITZ_REQUEST(method, path)
{
    uint8_t digest[32];
    blitz_sha256_of(path, digest);
    answer(BLITZ_STR("sha256"), digest);

    blitz_hmac hmac;
    blitz_hmac_start(&hmac, method);
    blitz_str half = blitz_slice(path, 0, path.len / 2);
    blitz_sha256_add(&hmac.inner, half);
    blitz_sha256_add(&hmac.inner, blitz_slice(path, half.len, path.len));
    blitz_hmac_finish(&hmac, digest);
    answer(BLITZ_STR("hmac"), digest);

    blitz_value value = blitz_header(BLITZ_STR("x-echo"));
    blitz_set_header(BLITZ_STR("x-found"), value.found ? BLITZ_STR("yes") : BLITZ_STR("no"));
    blitz_set_body(value.text);

    char digits[64];
    blitz_writer writer = blitz_writer_on(digits, sizeof digits);
    uint64_t number;
    blitz_put_i64(&writer, INT64_MIN);
    blitz_put_char(&writer, ' ');
    blitz_put_u64(&writer, UINT64_MAX);
    const struct { blitz_str text; uint64_t max; } numbers[] = {
        {BLITZ_STR("255"), 255},
        {BLITZ_STR("256"), 255},
        {BLITZ_STR("18446744073709551615"), UINT64_MAX},
        {BLITZ_STR("18446744073709551616"), UINT64_MAX},
    };
    for (uint32_t i = 0; i < 4; i++) {
        bool ok = blitz_parse_u64(numbers[i].text, numbers[i].max, &number);
        blitz_put(&writer, ok ? BLITZ_STR(" y") : BLITZ_STR(" n"));
    }
    blitz_set_header(BLITZ_STR("numbers"), blitz_written(&writer));
    return BLITZ_STOP;
}

BLITZ_RESPONSE(status, body)
{
    (void)status;
    uint8_t digest[32];
    blitz_sha256_of(body, digest);
    answer(BLITZ_STR("sha256"), digest);
    return BLITZ_CONTINUE;
}
"""


def compile_c(source: str, directory: Path) -> Path:
    file, out = directory / "plugin.c", directory / "plugin.wasm"
    file.write_text(source)
    build = builder()
    command = [*build.zig(), "cc", *build.FLAGS, "-o", str(out), str(file)]
    done = subprocess.run(
        command, cwd=PLUGINS, capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(PROBE, tmp_path_factory.mktemp("sdk"))


def test_first_plugin_of_the_readme_builds_and_works(tmp_path: Path) -> None:
    (source,) = listings(SDK / "README.md", "c")
    (tmp_path / "hello.c").write_text(source)
    run_zig(COMMAND, tmp_path)
    plugin = ReferencePlugin(tmp_path / "hello.wasm", {}, {})
    assert plugin.memory.size(plugin.store) <= 2
    open_to_all = {"request.path.canonical": "/a"}
    passed = plugin.request("GET", "/a", Message([("accept", "*/*")], open_to_all))
    assert (passed.verdict, passed.headers) == (0, [("accept", "*/*"), ("x-hello", "from C")])
    private = Message(properties={"request.path.canonical": "/private/a"})
    refused = plugin.request("GET", "/private/a", private)
    assert (refused.verdict, refused.status, refused.body) == (1, 403, "not for you\n")


@pytest.mark.parametrize("readme", [PLUGINS.parent / "README.md", SDK / "README.md"], ids=["readme", "sdk"])
def test_the_guard_of_the_readme_stops_every_spelling(readme: Path, tmp_path: Path) -> None:
    source = readme.read_text().split("```c\n")[1].split("```")[0]
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    with BlitzPlugin(engine, compile_c(source, tmp_path), {}, {}) as plugin:
        check_hello(plugin, "from C")
    engine.close()


# Around the block size and the padding's border, and many blocks.
@pytest.mark.parametrize("length", [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 65_000])
def test_sha256_and_hmac_agree_with_python(probe: Path, length: int) -> None:
    path = "".join(chr(33 + i % 90) for i in range(length))
    for key in ("k", "k" * 64, "k" * 65, "k" * 200):
        headers = dict(ReferencePlugin(probe, {}, {}).request(key, path, Message()).headers)
        assert headers["sha256"] == hashlib.sha256(path.encode()).hexdigest()
        assert headers["hmac"] == hmac.new(key.encode(), path.encode(), hashlib.sha256).hexdigest()


async def test_the_example_counts_what_passes(tmp_path: Path) -> None:
    source = (SDK / "examples" / "observability.c").read_text()
    statuses = [200, 200, 301, 404, 503, 299]

    async def script(served: Served) -> None:
        while await served.head():
            await served.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % statuses[len(seen)])

    plugin = Plugin(
        name="obs", file=str(compile_c(source, tmp_path)), response_body="none", config={"slow_ms": 3_600_000}
    )
    seen: list[int] = []
    routes = [Route(upstream="main", plugins=["obs"])]
    async with rig(script, admin=Admin(listen="127.0.0.1:0"), plugins=[plugin], routes=routes) as test:
        for _ in statuses:
            seen.append((await test.get())[0])
        found = await samples(test.gateway)
    assert seen == statuses

    def counted(kind: str) -> float:
        return found["blitz_plugin_count_total", (("class", kind), ("name", "responses"), ("plugin", "obs"))]

    assert [counted(kind) for kind in ("2xx", "3xx", "4xx", "5xx")] == [3, 1, 1, 1]
    times = found["blitz_plugin_observed_count", (("name", "response_ms"), ("plugin", "obs"))]
    assert times == len(statuses)
    when = found["blitz_plugin_gauge", (("name", "last_error_timestamp_seconds"), ("plugin", "obs"))]
    assert abs(when - time.time()) < 600
    assert ("blitz_plugin_count_total", (("name", "slow_responses"), ("plugin", "obs"))) not in found


def test_numbers_are_written_and_read_to_their_ends(probe: Path) -> None:
    headers = dict(ReferencePlugin(probe, {}, {}).request("GET", "/", Message()).headers)
    assert headers["numbers"] == "-9223372036854775808 18446744073709551615 y n y n"


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 5_000, 300_000])
def test_header_of_any_length_is_read_whole_and_memory_stays_flat(probe: Path, length: int) -> None:
    plugin = ReferencePlugin(probe, {}, {})
    sizes = set()
    for _ in range(5):
        outcome = plugin.request("GET", "/", Message([("x-echo", "e" * length)]))
        assert outcome.body == "e" * length
        assert ("x-found", "yes") in outcome.headers
        sizes.add(plugin.memory.size(plugin.store))
    assert len(sizes) == 1
    assert ("x-found", "no") in plugin.request("GET", "/", Message()).headers


def test_bodies_larger_than_the_buffer_go_through_the_allocator(probe: Path) -> None:
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    with BlitzPlugin(engine, probe, {}, {}) as plugin:
        sizes = set()
        for length in [300_000, 0, 70_001, 70_000, 1, 300_000] * 20:
            text = "b" * length
            plugin.request("GET", "/", Message())
            answer = plugin.response(200, Message(body=text))
            assert dict(answer.headers)["sha256"] == hashlib.sha256(text.encode()).hexdigest()
            sizes.add(plugin.memory_size())
        assert len(sizes) == 1
    engine.close()


# ---------------------------------------------------------------- faults in the builds of the page

# Line numbers matter below.
EXPLODES = r"""#include "blitz.h"
static uint32_t table[4];
__attribute__((noinline)) static int explode(uint32_t length) {
    if (length > 9) __builtin_trap();
    return BLITZ_CONTINUE;
}
BLITZ_REQUEST(method, path)
{
    table[method.len]++;
    return explode(path.len);
}
"""


@pytest.mark.parametrize(
    "page", [SDK / "README.md", PLUGINS / "README.md", PLUGINS.parent / "README.md"], ids=str
)
def test_a_trap_says_where_it_was(tmp_path: Path, page: Path) -> None:
    """In a module that was built as *page* says."""
    shown = page.read_text(encoding="utf-8").replace("\\\n", "")
    (line,) = (line for line in shown.splitlines() if "-m ziglang cc -target wasm32-freestanding" in line)
    (tmp_path / "plugin.c").write_text(EXPLODES)
    run_zig(f"{line.removeprefix('$ ').partition(' -o ')[0]} -o plugin.wasm plugin.c", tmp_path)
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    with BlitzPlugin(engine, tmp_path / "plugin.wasm", {}, {}) as plugin:
        assert plugin.request("GET", "/short", Message()).verdict == 0
        plugin.request("GET", "/longer-path", Message())
        check_frame(plugin.instance.fault(), "explode", "plugin.c:4")
    engine.close()


@pytest.mark.parametrize("language", ["cc", "c++"])
def test_a_debug_build_links_and_finds_undefined_behaviour(tmp_path: Path, language: str) -> None:
    """The page's command without -Os, as somebody types it who looks for a mistake."""
    (tmp_path / "hello.c").write_text(EXPLODES)
    shutil.copy(tmp_path / "hello.c", tmp_path / "hello.cpp")
    command = COMMAND.replace(" -Os", "")
    if language == "c++":
        command = command.replace("hello.c\n", "hello.cpp").replace("ziglang cc", "ziglang c++")
    run_zig(command, tmp_path)
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    with BlitzPlugin(engine, tmp_path / "hello.wasm", {}, {}) as plugin:
        assert plugin.request("GET", "/", Message()).verdict == 0
        plugin.request("DELETE", "/", Message())
        ((level, line),) = plugin.logs
        assert level == "error"
        assert line.startswith("undefined behaviour: an index out of bounds at ") and ":9:" in line
        check_frame(
            plugin.instance.fault(), "blitz_on_request", f"hello.{'c' if language == 'cc' else 'cpp'}:9"
        )
    engine.close()


def test_any_clang_with_wasm_ld_will_do(tmp_path: Path) -> None:
    """With the flags that the page names."""
    if shutil.which("clang") is None or shutil.which("wasm-ld") is None:
        pytest.skip("no clang with wasm-ld: apt-get install clang lld")
    (tmp_path / "hello.c").write_text(PROBE)
    flags = COMMAND.replace("\\\n", "").partition("-Os ")[2].replace("plugins/sdk", str(SDKS))
    command = f"clang --target=wasm32 -mbulk-memory -ffreestanding -Os {flags}"
    assert command[: command.index(" -Os")] in (SDK / "README.md").read_text()
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    plugin = ReferencePlugin(tmp_path / "hello.wasm", {}, {})
    assert dict(plugin.request("GET", "/", Message()).headers)["x-found"] == "no"
