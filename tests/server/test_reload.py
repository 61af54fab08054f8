"""A running gateway gets other plugins and another configuration, and nobody notices but by the result."""

# ruff: noqa: ASYNC240
from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

import blitz
from blitz.config import Answer, Plugin, Route
from blitz.server import watch as watch_module
from blitz.server.watch import check_watching, look_around, watch

from .harness import Rig, rig

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
MANIFEST = "schema = 1\ncapabilities.clock = true\n"
HEAD = """
  (import "blitz" "set_status" (func $set_status (param i32)))
  (import "blitz" "log" (func $log (param i32 i32 i32 i32)))
  (import "blitz" "now_ms" (func $now (result i64)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 8192))
"""


def answering(status: int, *, more: str = "", imports: str = "") -> bytes:
    """A plugin that answers with *status*."""
    return module(f"(call $set_status (i32.const {status})) (i32.const 1)", more=more, imports=imports)


def module(body: str, *, more: str = "", imports: str = "") -> bytes:
    hook = '(func (export "process_request") (param i32 i32 i32 i32) (result i32)'
    return bytes(wasmtime.wat2wasm(f"(module {imports} {HEAD} {more} {hook} {body}))"))


def put(path: Path, wasm: bytes) -> Path:
    """As a careful deployment does: written aside, renamed into place."""
    aside = path.with_name(f".{path.name}")
    aside.write_bytes(wasm)
    aside.rename(path)
    return path


async def until(true: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    directory = tmp_path / "plugins"
    directory.mkdir()
    return put(directory / "guest.wasm", answering(201))


async def status_of(test: Rig, target: str = "/") -> int:
    return (await test.get(target))[0]


def kept(test: Rig) -> tuple[str, ...]:
    last = test.gateway.statistics().last_reload
    assert last is not None
    assert last.error == ""
    return last.kept


async def test_a_changed_file_runs_after_a_reload(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test:
        client = await test.connect()
        for status in (201, 202, 203):
            put(file, answering(status))
            await test.gateway.reload()
            await client.send(GET)
            assert (await client.answer())[0] == status
        assert test.gateway.generation == 4
        assert kept(test) == ()


async def test_an_unchanged_plugin_keeps_its_instances(file: Path) -> None:
    put(file.with_name("other.wasm"), module("(i32.const 0)"))
    async with rig(plugin_dir=str(file.parent)) as test:
        assert await status_of(test) == 201
        put(file, answering(202))
        await test.gateway.reload()
        assert kept(test) == ("other",)
        assert await status_of(test) == 202
        statistics = test.gateway.statistics()
        assert (statistics.plugins["other"].made, statistics.plugins["other"].calls) == (1, 0)
        # guest comes before other, and answers
        assert statistics.plugins["guest"].calls == 1


async def test_other_settings_are_a_change(file: Path) -> None:
    async with rig(plugins=[Plugin(name="guest", file=str(file))]) as test:
        await test.gateway.reload()
        assert kept(test) == ("guest",)
        changed = test.config.__class__(
            listen=test.config.listen,
            routes=test.config.routes,
            upstreams=test.config.upstreams,
            plugins=[Plugin(name="guest", file=str(file), max_requests=1)],
            plugin_defaults=test.config.plugin_defaults,
        )
        await test.gateway.reload(changed)
        assert kept(test) == ()


async def test_files_come_and_go(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test:
        file.unlink()
        await test.gateway.reload()
        assert await status_of(test) == 200
        put(file.with_name("newer.wasm"), answering(204))
        await test.gateway.reload()
        assert await status_of(test) == 204
        file.with_name("newer.toml").write_text(f'{MANIFEST}[plugin]\nname = "renamed"\n')
        await test.gateway.reload()
        assert set(test.gateway.statistics().plugins) == {"renamed"}


BAD = [
    pytest.param(b"\0asm\x01\0\0\0\x01", "is cut short", id="cut_short"),
    pytest.param(b"hello", "is not WebAssembly", id="no_wasm"),
    pytest.param(module("unreachable"), "its trial call failed: guest failed in process_request", id="traps"),
    pytest.param(
        module("(loop $l (br $l)) (i32.const 0)"),
        "its trial call failed: process_request ran longer than 100 ms",
        id="loops",
    ),
    pytest.param(
        answering(202, more='(func (export "init") (result i32) (i32.const 7))'), "init returned 7", id="init"
    ),
    pytest.param(
        answering(202, more='(func (export "init") (result i32) (loop $l (br $l)) (i32.const 0))'),
        "init ran longer than 100 ms",
        id="init_loops",
    ),
    pytest.param(
        answering(202, imports='(import "blitz" "nonsense" (func))'), "no host function", id="import"
    ),
]


@pytest.mark.parametrize(("wasm", "sentence"), BAD)
async def test_a_bad_file_leaves_the_old_one_running_and_says_why(
    file: Path, wasm: bytes, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(plugins=[Plugin(name="guest", file=str(file), timeout=0.1)]) as test:
        good = await test.connect()
        put(file, wasm)
        for _ in range(2):
            caplog.clear()
            with pytest.raises(blitz.PluginLoadError, match=sentence):
                await test.gateway.reload()
            (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
            assert line.startswith("reload refused (call), generation 1 goes on: ")
            assert sentence in line
            assert "\n" not in line
            last = test.gateway.statistics().last_reload
            assert last is not None
            assert sentence in last.error
            await good.send(GET)
            assert (await good.answer())[0] == 201
        put(file, answering(202))
        await test.gateway.reload()
        assert await status_of(test) == 202


async def test_a_plugin_that_a_reload_adds_is_tried_out_too(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test:
        put(file.with_name("another.wasm"), module("unreachable"))
        with pytest.raises(blitz.PluginLoadError, match=r"another\.wasm: its trial call failed"):
            await test.gateway.reload()
        assert set(test.gateway.statistics().plugins) == {"guest"}
        assert await status_of(test) == 201


@pytest.mark.parametrize("verdict", ["(i32.const 0)", "(i32.const 1)", "(i32.const -1)"])
async def test_any_verdict_passes_the_trial_call(file: Path, verdict: str) -> None:
    async with rig(plugin_dir=str(file.parent)) as test:
        put(file, module(verdict))
        await test.gateway.reload()
        assert test.gateway.generation == 2


async def test_the_trial_call_leaves_nothing_behind(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It has an instance of its own, which is cleaned up; what it logs is dropped."""
    counting = """
      (global $seen (mut i32) (i32.const 200))
      (data (i32.const 0) "info") (data (i32.const 8) "said something")
      (func (export "cleanup") (result i32)
        (call $log (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 4)) (i32.const 0))
    """
    body = """
      (call $log (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 14))
      (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
      (call $set_status (global.get $seen)) (i32.const 1)
    """
    async with rig(plugin_dir=str(file.parent)) as test:
        with caplog.at_level(logging.INFO, "blitz.plugin"):
            put(file, module(body, more=counting))
            await test.gateway.reload()
            said = [record.getMessage() for record in caplog.records if record.name == "blitz.plugin"]
            assert said == ["[WASM Plugin] guest: said"]  # by cleanup
            assert await status_of(test) == 201


async def test_a_bad_configuration_leaves_the_old_one_running(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test:
        bad = test.config.__class__(routes=[Route(upstream="nobody")])
        with pytest.raises(blitz.ConfigError, match="nobody"):
            await test.gateway.reload(bad)
        last = test.gateway.statistics().last_reload
        assert last is not None
        assert "nobody" in last.error
        assert await status_of(test) == 201


async def test_a_request_in_flight_ends_on_what_it_started_with(file: Path) -> None:
    """Its plugin loops until the reload is over, and then says its own status."""
    waiting = module(
        """
        (global.set $until (i64.add (call $now) (i64.const 700)))
        (loop $l (br_if $l (i64.lt_s (call $now) (global.get $until))))
        (call $set_status (i32.const 201)) (i32.const 1)
        """,
        more="(global $until (mut i64) (i64.const 0))",
    )
    async with rig(plugins=[Plugin(name="guest", file=str(file), timeout=5)]) as test:
        for wasm in (answering(202), waiting):  # so that both are compiled
            put(file, wasm)
            await test.gateway.reload()
        await test.gateway._housekeeping.look_after()
        client = await test.connect()
        await client.send(GET)
        await until(lambda: test.gateway._context.runtime.users)
        put(file, answering(202))
        await test.gateway.reload()
        assert [runtime.users for runtime in test.gateway._versions.old] == [1]
        assert await status_of(test) == 202
        assert (await client.answer())[0] == 201
        await client.send(GET)
        assert (await client.answer())[0] == 202
        await test.gateway._housekeeping.look_after()
        assert not test.gateway._versions.old
        # The version before is kept, without an instance, in case it is wanted back.
        assert [pool.live for pool in test.gateway._versions.retired] == [0]


async def test_reloads_under_load_lose_nothing(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test, trio.open_nursery() as nursery:
        answered = [0]

        async def client() -> None:
            one = await test.connect()
            while True:
                await one.send(GET)
                assert (await one.answer())[0] in (201, 202)
                answered[0] += 1

        for _ in range(4):
            nursery.start_soon(client)
        for number in range(10):
            put(file, answering(201 + number % 2))
            await test.gateway.reload()
        assert answered[0] > 10
        nursery.cancel_scope.cancel()


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


async def flat_over(reloads: int, warm_up: int, file: Path) -> int:
    """Bytes that *reloads* reloads add, after *warm_up*."""
    modules = [answering(201), answering(202)]
    async with rig(plugin_dir=str(file.parent), cache_dir=str(file.parent.parent / "cache")) as test:
        client = await test.connect()

        async def turn(count: int) -> None:
            for number in range(count):
                put(file, modules[number % 2])
                await test.gateway.reload()
                await client.send(GET)
                assert (await client.answer())[0] == 201 + number % 2
                await test.gateway._housekeeping.look_after()
                assert len(test.gateway._versions.retired) <= 1
                assert len(test.gateway._versions.old) <= 1

        await turn(warm_up)
        gc.collect()
        before = resident()
        await turn(reloads)
        gc.collect()
        return resident() - before


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="sanitizers hold freed memory back")
async def test_memory_is_flat_over_reloads(file: Path) -> None:
    assert await flat_over(60, 60, file) < 1024 * 1024


@pytest.mark.slow
async def test_memory_is_flat_over_1000_reloads(file: Path) -> None:
    assert await flat_over(1000, 100, file) < 2 * 1024 * 1024


# ---------------------------------------------------------------- the version before


def failing(status: int) -> bytes:
    """Passes the trial call, and traps for every request that has a longer path than ``/``."""
    return module(
        "(if (i32.gt_u (local.get 3) (i32.const 1)) (then unreachable))"
        f"(call $set_status (i32.const {status})) (i32.const 1)"
    )


async def fail(test: Rig) -> None:
    for _ in range(20):
        assert await status_of(test, "/x") in (500, 503)


async def test_the_last_good_version_returns_by_itself_if_it_may(file: Path) -> None:
    async with rig(plugins=[Plugin(name="guest", file=str(file), rollback=True)]) as test:
        assert await status_of(test, "/x") == 201
        put(file, failing(202))
        await test.gateway.reload()
        await fail(test)
        await test.gateway._housekeeping.look_after()
        assert await status_of(test, "/x") == 201
        last = test.gateway.statistics().last_reload
        assert last is not None
        assert (last.reason, last.loaded) == ("rollback", ("guest",))
        # What was rolled back does not come again because some other file changed, but when it is asked for.
        await test.gateway.reload(reason="files")
        assert await status_of(test) == 201
        await test.gateway.reload()
        assert await status_of(test) == 202
        put(file, answering(203))
        await test.gateway.reload(reason="files")
        assert await status_of(test) == 203


async def test_the_last_good_version_returns_when_asked(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test:
        with pytest.raises(blitz.ConfigError, match="no earlier good version of plugin guest"):
            await test.gateway.roll_back("guest")
        put(file, failing(202))
        await test.gateway.reload()
        await fail(test)
        await test.gateway._housekeeping.look_after()
        assert await status_of(test) == 503
        await test.gateway.roll_back("guest")
        assert await status_of(test, "/x") == 201
        with pytest.raises(blitz.ConfigError, match="no earlier good version"):
            await test.gateway.roll_back("guest")


# ---------------------------------------------------------------- watching


class Watching:
    """A gateway that watches its plugins; counts its reloads."""

    def __init__(self, test: Rig) -> None:
        self.test = test

    async def generation(self, wanted: int) -> None:
        await until(lambda: self.test.gateway.generation >= wanted)
        assert self.test.gateway.generation == wanted

    @property
    def error(self) -> str:
        return error_of(self.test.gateway)


def error_of(gateway: blitz.Gateway) -> str:
    last = gateway.statistics().last_reload
    return "" if last is None else last.error


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "SETTLE", 0.1)


@pytest.mark.usefixtures("quick")
async def test_watching_notices_what_comes_changes_and_goes(file: Path) -> None:
    pytest.importorskip("watchfiles")
    async with rig(plugin_dir=str(file.parent), watch=True) as test:
        watching = Watching(test)
        put(file, answering(202))
        await watching.generation(2)
        assert await status_of(test) == 202
        put(file.with_name("another.wasm"), answering(203))
        await watching.generation(3)
        assert await status_of(test) == 203
        file.with_name("another.toml").write_text(f"{MANIFEST}[plugin]\norder = 500\n")
        await watching.generation(4)
        assert await status_of(test) == 202
        file.with_name("another.wasm").unlink()
        await watching.generation(5)
        assert set(test.gateway.statistics().plugins) == {"guest"}
        put(file, b"nonsense")
        await until(lambda: "is not WebAssembly" in watching.error)
        assert await status_of(test) == 202
        put(file, answering(204))
        await watching.generation(6)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["blitz.toml", "blitz.yaml"])
async def test_watching_notices_the_configuration_itself(tmp_path: Path, name: str) -> None:
    """The file, what it includes, what comes beside that, and its secrets; nothing that is no part of it."""
    pytest.importorskip("watchfiles")
    main, secret, routes = tmp_path / name, tmp_path / "secret", tmp_path / "routes.d"
    routes.mkdir()
    secret.write_text("first")
    toml = 'include = ["routes.d/*.toml"]\nlisten = ["127.0.0.1:0"]\nwatch = true\n'
    yaml = "include: [routes.d/*.toml]\nlisten: ['127.0.0.1:0']\nwatch: true\n"
    text = toml if name == "blitz.toml" else yaml
    main.write_text(text)
    route = '[[routes]]\npath_prefix = "/{0}"\nanswer = {{ body = "{1}" }}\n'
    (routes / "a.toml").write_text(route.format("a", "${file:../secret}"))

    def again() -> blitz.config.Resolved:
        loaded = blitz.config.read_config(main, {})
        if loaded.problems:
            raise blitz.ConfigError(loaded.problems)
        return loaded.resolved

    async with blitz.open_gateway(again(), again=again) as gateway:

        async def generation(wanted: int) -> None:
            await until(lambda: gateway.generation >= wanted)
            assert gateway.generation == wanted

        async def body(path: str) -> bytes:
            async with await trio.open_tcp_stream(*gateway.addresses[0]) as stream:
                await stream.send_all(b"GET %b HTTP/1.0\r\n\r\n" % path.encode())
                return (b"".join([part async for part in stream])).partition(b"\r\n\r\n")[2]

        assert await body("/a") == b"first"
        secret.write_text("second")
        await generation(2)
        assert await body("/a") == b"second"
        (routes / "b.toml").write_text(route.format("b", "new"))
        await generation(3)
        assert await body("/b") == b"new"
        (tmp_path / "other.toml").write_text("no part of it")
        main.write_text(
            text + ("[timeouts]\nhead = 7\n" if name == "blitz.toml" else "timeouts: {head: 7}\n")
        )
        await generation(4)
        main.write_text("timeouts = ")
        await until(lambda: "not TOML" in error_of(gateway) or "is no table" in error_of(gateway))
        assert await body("/b") == b"new"


@pytest.fixture
def at_looks(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens to the files before the watcher looks at them: one of these each time."""
    changes: list[Callable[[], object]] = []
    really_look = watch_module.look

    def look(watched: watch_module.Places) -> Any:
        if changes:
            changes.pop(0)()
        return really_look(watched)

    monkeypatch.setattr(watch_module, "look", look)
    return changes


@pytest.mark.usefixtures("quick")
async def test_a_file_that_is_still_being_written_is_not_looked_at(
    file: Path, at_looks: list[Callable[[], object]]
) -> None:
    pytest.importorskip("watchfiles")
    wasm = answering(202)
    async with rig(plugins=[Plugin(name="guest", file=str(file))], watch=True) as test:
        watching = Watching(test)
        at_looks += [partial(file.write_bytes, wasm[:end]) for end in range(40, len(wasm) + 40, 40)]
        file.write_bytes(wasm[:20])
        await watching.generation(2)
        assert not at_looks
        assert await status_of(test) == 202
        assert watching.error == ""


@pytest.mark.usefixtures("quick")
async def test_watching_calls_once_for_a_burst(
    file: Path, monkeypatch: pytest.MonkeyPatch, at_looks: list[Callable[[], object]]
) -> None:
    """Without the operating system: only what can be seen of the files counts."""
    resolved = blitz.config.resolve(
        blitz.Config(plugin_dir=str(file.parent), routes=[Route(answer=Answer(status=200))])
    )
    wake = trio.Event()

    async def woken(*args: object) -> None:
        await wake.wait()

    monkeypatch.setattr(watch_module, "_wait_for_event", woken)
    left_at_calls = []

    async def changed() -> None:
        left_at_calls.append(len(at_looks))
        nonlocal wake
        wake = trio.Event()

    async with trio.open_nursery() as nursery:
        seen = look_around(resolved)
        at_looks += [partial(put, file, answering(201 + number)) for number in range(5)]
        nursery.start_soon(watch, lambda: resolved, seen, changed)
        wake.set()
        await until(lambda: left_at_calls)
        await trio.testing.wait_all_tasks_blocked()  # it waits for the next event
        assert left_at_calls == [0]
        nursery.cancel_scope.cancel()


def test_watching_without_its_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[[str], object] = lambda name: None  # noqa: E731
    monkeypatch.setattr(watch_module, "find_spec", find)
    with pytest.raises(
        blitz.ConfigError, match=r"watch: needs the package watchfiles: run '.* -m pip install watchfiles'"
    ):
        check_watching()
