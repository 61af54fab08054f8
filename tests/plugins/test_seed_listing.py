"""The Rust listing of ``plugins/README.md``, compiled by a real toolchain, does what the page says."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.config import Plugin
from blitz.wasm.engine import Engine

from ..server.harness import answering, rig
from .blitz_host import BlitzPlugin
from .cases import PLUGINS
from .reference_host import Message

ROOT = PLUGINS.parent
SCRIPT = ROOT / "infra" / "ci" / "seed_listing.sh"
CANNOT = 3  # the script's exit status where a machine cannot build it
CALLS = 100_000
BODY = "".join(chr(32 + i % 90) for i in range(2000)) + "ünïcödé"


def test_the_listing_that_is_built_is_the_one_on_the_page() -> None:
    page = (PLUGINS / "README.md").read_text()
    listing = page.split("```rust\n")[1].split("```")[0]
    assert (ROOT / "tests" / "guests" / "seed_listing" / "src" / "lib.rs").read_text() == listing


@pytest.fixture(scope="module", params=["older", "newer"])
def wasm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(request.param)
    done = subprocess.run(
        [str(SCRIPT), str(out), request.param],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return out / "plugin_bg.wasm"


@pytest.fixture
def plugin(wasm: Path) -> Iterator[BlitzPlugin]:
    engine = Engine(max_instances=4, max_memory_size=2 * 1024 * 1024)
    with BlitzPlugin(engine, wasm, {}, {}) as started:
        yield started
    engine.close()


def resident_size() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.toolchain
@pytest.mark.slow
def test_listing_logs_requests_and_marks_errors(plugin: BlitzPlugin) -> None:
    assert plugin.logs == [("info", "Request logging plugin initialized")]
    plugin.logs.clear()
    passed = plugin.request("GET", "/a?b=%C3%BC", Message([("accept", "*/*")]))
    assert (passed.verdict, passed.headers) == (0, [("accept", "*/*")])
    assert plugin.logs == [("info", "Request: GET /a?b=%C3%BC")]
    good = plugin.response(200, Message([("server", "up")]))
    assert (good.verdict, good.headers) == (0, [("server", "up")])
    plugin.request("GET", "/", Message())
    bad = plugin.response(404, Message([("server", "up")]))
    assert (bad.verdict, bad.headers) == (0, [("server", "up"), ("x-error-logged", "true")])
    plugin.logs.clear()
    assert plugin.cleanup() == 0
    assert plugin.logs == [("info", "Request logging plugin cleaned up")]


@pytest.mark.toolchain
@pytest.mark.slow
def test_memory_stays_flat_over_many_calls(plugin: BlitzPlugin) -> None:
    """The guest frees what the host allocates in it, and the host frees its own."""

    def call(count: int) -> None:
        for number in range(count):
            plugin.request("GET", f"/{'p' * (number % 200)}", Message())
            plugin.response(500, Message(body=BODY[number % 100 :]))
            plugin.logs.clear()

    call(2_000)
    guest, process = plugin.memory_size(), resident_size()
    call(CALLS // 2)  # of each of the two hooks
    assert plugin.memory_size() == guest
    assert resident_size() - process < 1024 * 1024


@pytest.mark.toolchain
@pytest.mark.slow
async def test_listing_runs_beside_the_built_ins_in_a_gateway(
    wasm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Copied into the plugin directory, as the document says, and found there."""
    for file in [*PLUGINS.glob("*.wasm"), *PLUGINS.glob("*.toml")]:
        shutil.copy(file, tmp_path)
    shutil.copy(wasm, tmp_path / "from_the_page.wasm")
    caplog.set_level(logging.INFO, "blitz.plugin")
    answer = b"HTTP/1.1 418 I'm a Teapot\r\nContent-Length: 2\r\n\r\nno"
    keys = Plugin(name="auth_custom", config={"keys": ["alice:key-of-alice"]})
    async with rig(answering(answer), plugin_dir=str(tmp_path), plugins=[keys]) as test:
        status, fields, _ = await test.get("/brew", x_api_key="key-of-alice")
        assert (status, fields["x-error-logged"]) == (418, "true")
        assert set(test.gateway.statistics().plugins) == {
            "auth_custom",
            "from_the_page",
            "rate_limiter",
            "request_logger",
        }
    assert "[WASM Plugin] from_the_page: Request: GET /brew" in [
        record.getMessage() for record in caplog.records if record.name == "blitz.plugin"
    ]
