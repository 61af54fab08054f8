"""A helper's failure is not the gateway's: whatever it raises, traffic goes on, and it heals by itself."""

from __future__ import annotations

import ast
import errno
import itertools
import logging
import os
import random
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import blitz
from blitz import housekeeping
from blitz.config import Answer, Config, Route, Upstream
from blitz.server import helper
from blitz.server.access import AccessLog
from blitz.server.deadline import DeadlineWheel, Timer
from blitz.server.helper import keep_going
from blitz.server.tls import ServerTls
from blitz.trouble import Trouble, may_pass, reason_of
from blitz.wasm import cache as cache_module
from blitz.wasm import compile_process as apart_module
from blitz.wasm.cache import CompileCache
from blitz.wasm.cachedir import CacheDirectory
from blitz.wasm.engine import Engine

from .harness import Rig, localhost_certificate, rig, until
from .test_reload import answering, put

ROOT = Path(__file__).resolve().parents[2]

# ---------------------------------------------------------------- nobody forgets it

# Tasks that are started and do not go through keep_going: (file, what runs) -> why.
CONNECTION = "part of a connection, which ends with what it raises: serving.py lets nothing out"
OTHERWISE: dict[tuple[str, str], str] = {
    ("server/accepted.py", "serve"): CONNECTION,
    ("server/outside.py", "watch.look"): CONNECTION,
    ("server/tunnel.py", "up.run"): CONNECTION,
    ("server/tunnel.py", "down.run"): CONNECTION,
    ("server/send_request.py", "exchange.upload.run"): CONNECTION,
    ("server/h1_downstream.py", "task"): CONNECTION,
    ("server/guests.py", "_finish_cleanup"): "part of housekeeping, or of the end",
    ("server/guests.py", "_finish_end"): "part of housekeeping, or of the end",
    ("server/helper.py", "_end_of"): "the mechanism itself; it waits and says a line",
    ("server/names.py", "self._ask"): "one question to the resolver; whatever it raises is the answer",
    ("server/loading.py", "_stop_when_cancelled"): "waits for its cancellation, and kills a process then",
    ("server/health_checks.py", "self._check"): "part of health checks, which begin anew",
    ("server/mirror.py", "self._send"): "lets nothing out, and is part of what begins anew",
    ("server/resolving.py", "name.follow"): "part of following names, which begins anew",
    ("gateway.py", "context.fast_path.run"): "the traffic itself: nothing is served without it",
    ("gateway_context.py", "_serve_with"): "the gateway itself, for an embedder",
    ("process/worker.py", "_serve"): "the gateway itself",
    (
        "process/obey.py",
        "self._gateway.reload_as_asked",
    ): "Gateway.reload raises nothing but BlitzError, which is expected there",
    ("process/obey.py", "self._lose_patience"): "waits, and begins the drain",
    ("process/obey.py", "self._gateway.drain"): "the end of the worker",
    (
        "process/obey.py",
        "partial(listeners.give_up, sockets, alone=order.alone)",
    ): "closes sockets, whatever is raised",
    ("cli/log_handler.py", "threading.Thread"): "the log's writer, which must not log",
    ("process/worker.py", "obey"): "waits for signals while the worker starts",
    ("server/keys.py", "self._fetch"): "within one that is kept going, and ends the fetch whatever is raised",
    ("server/disk.py", "job.work"): "hands what is raised to whoever waits for it",
    ("server/workshop.py", "threading.Thread"): "hands what is raised to whoever waits for it",
    ("cli/demo.py", "serve_upstream"): "the demo",
    ("cli/demo.py", "serve"): "the demo",
    ("cli/stderr.py", "threading.Thread"): "the log's writer, which must not log",
}
STARTS = ("start_soon", "start", "spawn_system_task", "run_process", "start_thread_soon", "Thread")


def started() -> set[tuple[str, str]]:
    """(file, what runs) of every task and thread that is started in blitz/."""
    found = set()
    for path in sorted((ROOT / "blitz").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            if name not in STARTS or (name == "start" and id(node) not in awaited):
                continue  # Thread.start and its likes: the thread was found where it is made
            what = ast.unparse(node.func if name == "Thread" else node.args[0])
            found.add((str(path.relative_to(ROOT / "blitz")), what))
    return found


def test_every_task_is_kept_going_or_has_a_reason_not_to_be() -> None:
    tasks = started()
    others = {(file, what) for file, what in tasks if what != "keep_going"}
    assert others - OTHERWISE.keys() == set(), "run it by keep_going, or say here why not"
    assert OTHERWISE.keys() - others == set(), "there is no such task any more"
    assert {file for file, what in tasks if what == "keep_going"} >= {
        "gateway.py",
        "process/worker.py",
        "admin/api.py",
    }


# ---------------------------------------------------------------- the mechanism


class Panic(BaseException):
    """As the panics of Rust's extensions: no Exception."""


FAILURES: list[Callable[[], BaseException]] = [
    lambda: OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    lambda: OSError("no number"),
    MemoryError,
    lambda: RuntimeError("can't start new thread"),
    lambda: UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"),
    lambda: KeyError("x\n\x1b[31m"),
    lambda: Panic("a panic"),
    lambda: ExceptionGroup("many", [ValueError("one"), OSError(errno.EIO, "two")]),
    lambda: BaseExceptionGroup("many", [Panic("one"), ValueError("two")]),
    RecursionError,
    StopAsyncIteration,
    AssertionError,
]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_it_raises_is_said_once_and_it_heals(
    seed: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    make = chance.choice(FAILURES)
    left = total = chance.randrange(1, 12)
    after = trio.Event()
    deep = chance.random() < 0.5

    async def work() -> None:
        nonlocal left
        await trio.sleep(chance.random() * 0.1)
        if left:
            left -= 1
            if deep:
                async with trio.open_nursery():
                    raise make()
            raise make()
        after.set()
        await trio.sleep_forever()

    with caplog.at_level(logging.WARNING, "blitz"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_going, "looking", "nothing is seen", work)
            await after.wait()
            begun = [record.getMessage() for record in caplog.records]
            await trio.sleep(2 * helper.STEADY)
            nursery.cancel_scope.cancel()
    said = [record.getMessage() for record in caplog.records]
    assert left == 0 < total
    assert len(begun) == 1
    assert begun[0].startswith("looking: ")
    assert begun[0].endswith("; until that is over, nothing is seen")
    assert begun[0].isprintable()
    assert said == [*begun, "looking: works again"]


async def test_its_pauses_grow_and_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    times = []

    async def work() -> None:
        times.append(trio.current_time())
        raise ValueError

    with trio.move_on_after(600):
        await keep_going("looking", "nothing is seen", work)
    pauses = [later - before for before, later in itertools.pairwise(times)]
    assert all(later > before - 1e-6 for before, later in itertools.pairwise(pauses))
    assert pauses[0] == pytest.approx(helper.FIRST_PAUSE)
    assert pauses[-1] == pytest.approx(helper.MAX_PAUSE)
    assert len(times) < 40


async def test_what_ends_it_passes() -> None:
    async def works() -> None:
        await trio.lowlevel.checkpoint()

    await keep_going("looking", "nothing is seen", works)  # it is done
    for end in (KeyboardInterrupt, SystemExit):

        async def ends(end: type[BaseException] = end) -> None:
            raise end

        with pytest.raises(end):
            await keep_going("looking", "nothing is seen", ends)


async def test_a_cancellation_beside_a_failure_passes(caplog: pytest.LogCaptureFixture) -> None:
    async def fails_as_it_ends() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError(errno.EIO, "late")

    with trio.fail_after(20), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_going, "looking", "nothing is seen", fails_as_it_ends)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert "looking: late" in caplog.text


def test_reasons_are_bounded_in_number_and_length(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(logging.getLogger("blitz.server"), "looking", "nothing is seen")
    with caplog.at_level(logging.WARNING, "blitz"):
        for number in range(100):
            trouble.begins(f"reason {number} " + 10_000 * "x")
    assert len(caplog.records) < 10
    assert max(len(record.getMessage()) for record in caplog.records) < 700
    trouble.ends()
    assert not trouble.there


@pytest.mark.parametrize("make", FAILURES)
def test_a_reason_is_a_few_words(make: Callable[[], BaseException]) -> None:
    assert reason_of(make())


def test_what_may_pass() -> None:
    full = OSError(errno.ENOSPC, "full")
    wrapped = blitz.ConfigError("cannot")
    wrapped.__cause__ = full
    assert may_pass(full)
    assert may_pass(wrapped)
    assert may_pass(MemoryError())
    assert not may_pass(OSError(errno.ENOENT, "gone"))
    assert not may_pass(blitz.ConfigError("wrong"))


# ---------------------------------------------------------------- in a gateway

ANSWERED = Route(answer=Answer(status=200, body="here"))


async def works(test: Rig) -> bool:
    return (await test.get())[::2] == (200, b"here")


def failing(real: Any, failures: list[int], make: Callable[[], BaseException]) -> Any:
    def fail(self: Any, *args: Any, **options: Any) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise make()
        return real(self, *args, **options)

    return fail


# The helper, and what it calls in every round.
CALLED = {
    "housekeeping": (housekeeping.Housekeeping, "_note_unsaid"),
    "deadlines": (DeadlineWheel, "_look"),
    "looking after certificates": (ServerTls, "read_changes"),
    "the access log": (AccessLog, "_write_out"),
}


@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize("make", [MemoryError, Panic, lambda: OSError(errno.EMFILE, "none left")])
async def test_traffic_goes_on_when_it_fails(
    name: str,
    make: Callable[[], BaseException],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(helper, "STEADY", 0.1)
    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_INTERVAL", 0.02)
    owner, method = CALLED[name]
    failures = [2]
    monkeypatch.setattr(owner, method, failing(getattr(owner, method), failures, make))
    options: dict[str, Any] = {"routes": [ANSWERED]}
    if name == "the access log":
        options["log"] = blitz.config.Log(access="json")
    if "certificates" in name:
        options["tls"] = blitz.config.Tls(certs=[blitz.config.Certificate(cert=localhost_certificate())])
    with caplog.at_level(logging.WARNING, "blitz"):
        async with rig(**options) as test:
            with trio.fail_after(20):
                while failures[0] or f"{name}: works again" not in caplog.text:
                    Timer(test.gateway._context.wheel, bool).arm(0.01, "nothing")
                    assert await works(test)
                    await trio.sleep(0.01)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith(name)]
    assert lines[-1] == f"{name}: works again"
    assert len(lines) == 2


RAISED: list[Callable[[], BaseException]] = [
    MemoryError,
    lambda: OSError(errno.EMFILE, "none left"),
    lambda: RuntimeError("can't start new thread"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    RecursionError,
    ZeroDivisionError,
]


@pytest.mark.parametrize("make", RAISED)
async def test_whatever_a_reload_raises_what_runs_goes_on(make: Callable[[], BaseException]) -> None:
    def source() -> Config:
        raise make()

    async with rig(routes=[ANSWERED]) as test:
        with pytest.raises(blitz.BlitzError, match=r"loading failed: .*; load again"):
            await test.gateway.reload(source)
        last = test.gateway.statistics().last_reload
        assert last is not None
        assert "loading failed" in last.error
        assert await works(test)
        await test.gateway.reload(test.config)


async def test_a_reload_that_nobody_waits_for_is_tried_again_until_it_works(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blitz.server import reload_again

    monkeypatch.setattr(reload_again, "FIRST_PAUSE", 0.01)
    left = 4

    def source() -> Config:
        nonlocal left
        if left:
            left -= 1
            raise OSError(errno.EMFILE, "none left")
        return config

    config = Config(listen=["127.0.0.1:0"], routes=[ANSWERED])
    async with blitz.open_gateway(config, again=source) as gateway:
        with pytest.raises(blitz.BlitzError, match="none left"):
            await gateway.reload(reason="signal")
        await until(lambda: gateway.generation == 2)
    assert caplog.text.count("reload refused (signal)") == 1
    assert "it is tried again" in caplog.text


async def test_what_is_wrong_is_not_tried_again() -> None:
    asked = 0

    def source() -> Config:
        nonlocal asked
        asked += 1
        return Config(listen=["127.0.0.1:0"], routes=[Route(upstream="nobody")])

    config = Config(listen=["127.0.0.1:0"], routes=[ANSWERED])
    async with blitz.open_gateway(config, again=source) as gateway:
        with pytest.raises(blitz.ConfigError):
            await gateway.reload(reason="signal")
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert asked == 1
        assert not gateway._versions.again_later.is_due


# ---------------------------------------------------------------- compiling


async def test_a_compiler_that_was_killed_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody changes the file again, and nobody sends a signal."""
    from blitz.server import reload_again

    monkeypatch.setattr(reload_again, "FIRST_PAUSE", 0.05)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    put(plugins / "guest.wasm", answering(201))
    count = tmp_path / "left"
    compiler = tmp_path / "compiler.sh"
    compiler.write_text(
        f"#!/bin/sh\nif [ -s {count} ]; then sed -i 1d {count}; echo ready; kill -KILL $$; fi\n"
        f'exec {sys.executable} "$@"\n'
    )
    compiler.chmod(0o755)
    async with rig(plugin_dir=str(plugins)) as test:
        assert (await test.get())[0] == 201
        monkeypatch.setattr(apart_module.sys, "executable", str(compiler))
        count.write_text("1\n2\n")
        put(plugins / "guest.wasm", answering(202))
        with pytest.raises(blitz.BlitzError, match="does not compile within"):
            await test.gateway.reload(reason="files")
        assert (await test.get())[0] == 201
        await until(lambda: test.gateway.generation == 2, patience=30)
        assert (await test.get())[0] == 202


def test_a_cache_that_takes_nothing_is_said_once_and_so_is_its_return(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "blitz")
    directory = tmp_path / "cache"
    for number, gone in enumerate((True, True, False)):
        cache = CompileCache(directory)
        if gone:
            directory.rmdir()
        file = put(tmp_path / "guest.wasm", answering(200 + number))
        module, _ = cache.load(engine, str(file))
        module.close()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert lines[0].startswith(f"the compile cache: {directory}: no such file or directory; until that is")
    assert lines[1] == "the compile cache: works again"
    assert not cache_module._keeping.there


@pytest.mark.parametrize("late", ["never", "afterwards"])
async def test_a_cache_that_does_not_answer_holds_up_neither_traffic_nor_the_end(
    late: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blitz.server import reading

    plugins = tmp_path / "plugins"
    plugins.mkdir()
    put(plugins / "guest.wasm", answering(201))
    answers, hangs = threading.Event(), threading.Event()
    real = CacheDirectory.read_note

    def read_note(self: CacheDirectory, name: str) -> dict[str, Any]:
        if name.endswith(".json"):
            hangs.set()
            answers.wait(60)
        return real(self, name)

    try:
        async with rig(plugin_dir=str(plugins)) as test:
            monkeypatch.setattr(CacheDirectory, "read_note", read_note)
            if late == "never":
                monkeypatch.setattr(reading, "READ_TIMEOUT", 0.2)
            put(plugins / "guest.wasm", answering(202))
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(refused, test.gateway)
                    while not hangs.is_set():  # noqa: ASYNC110
                        await trio.sleep(0.01)
                    assert (await test.get())[0] == 201
                    if late == "afterwards":  # the end does not wait
                        assert await test.gateway.drain(5)
            engine = test.gateway._engine
        assert engine._ptr is not None  # the thread may still use it
    finally:
        answers.set()
    with trio.fail_after(20):
        while engine._ptr is not None:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def refused(gateway: blitz.Gateway) -> None:
    with pytest.raises(blitz.BlitzError, match=r"not read within|is ending"):
        await gateway.reload()


# ---------------------------------------------------------------- names


async def test_a_resolver_that_hangs_over_one_name_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, done = socket.getaddrinfo, threading.Event()

    def resolve(host: str, *args: Any, **options: Any) -> Any:
        flags = options.get("flags", args[4] if len(args) > 4 else 0)  # trio looks for a number first, too
        numeric = flags & socket.AI_NUMERICHOST
        if host == "hangs.test" and not numeric:
            done.wait(60)
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    routes = [Route(path_prefix="/hangs", upstream="hangs"), Route(upstream="good")]
    upstreams = {"hangs": Upstream(endpoints=["http://hangs.test:1"])}
    try:
        async with rig(
            routes=routes, upstreams=upstreams | {"good": Upstream(endpoints=["http://x:1"])}
        ) as test:
            good = Upstream(endpoints=[f"http://localhost:{test.upstream.port}"])
            await test.gateway.reload(
                Config(listen=["127.0.0.1:0"], routes=routes, upstreams=upstreams | {"good": good})
            )
            async with trio.open_nursery() as nursery:
                for _ in range(100):  # more than trio has threads by default
                    nursery.start_soon(test.get, "/hangs")
                await trio.sleep(0.5)
                with trio.fail_after(20):
                    assert (await test.get("/good"))[0] == 200
                nursery.cancel_scope.cancel()
            done.set()
    finally:
        done.set()
