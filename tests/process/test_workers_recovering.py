"""Workers that die while what they start from is broken: the parent goes on, and the service returns."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from .test_workers import ANSWER, PLUGIN, Server, put_plugin, serving, serving_workers, wait_until

ADMIN = '[admin]\nlisten = "127.0.0.1:0"\n'


def truncated(plugin: Path) -> None:
    content = plugin.read_bytes()
    plugin.write_bytes(content[: len(content) // 2])


def empty(plugin: Path) -> None:
    plugin.write_bytes(b"")


def missing(plugin: Path) -> None:
    plugin.unlink()


def fifo(plugin: Path) -> None:
    plugin.unlink()
    os.mkfifo(plugin)


def trapping(plugin: Path) -> None:
    trap = "(call $set_body (i32.const 0) (i32.const 3)) (i32.const 1)"
    plugin.write_bytes(wasmtime.wat2wasm(PLUGIN.replace(trap, "unreachable")))


BROKEN = [truncated, empty, missing, fifo, trapping]


def broken(*quick: tuple[Callable[[Path], None], int]) -> list[object]:
    """Every way with one worker and with two; those that are not *quick* are marked slow."""
    return [
        pytest.param(how, workers, marks=() if (how, workers) in quick else pytest.mark.slow)
        for how in BROKEN
        for workers in (1, 2)
    ]


class Site:
    def __init__(self, directory: Path) -> None:
        self.plugin = directory / "plugins" / "guest.wasm"
        self.plugin.parent.mkdir()
        self.file = directory / "blitz.toml"
        put_plugin(self.plugin, "one")
        self.cache = directory / "cache"
        self.cache.mkdir(mode=0o700)
        self.file.write_text(
            f'listen = ["127.0.0.1:0"]\nplugin_dir = "plugins"\ncache_dir = "cache"\n{ADMIN}'
            '[[routes]]\nplugins = ["guest"]\nanswer = { body = "none" }\n'
        )

    def keep_nothing(self) -> None:
        """The cache is one that others could write to: it is not used."""
        self.cache.chmod(0o777)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def served(server: Server) -> bytes:
    """The body of the answer; nothing when the connection was reset or refused."""
    try:
        return server.get()
    except ConnectionError:
        return b""


def kill_all(server: Server, workers: int) -> None:
    wait_until(lambda: len(serving_workers(server)) == workers)
    children = server.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)  # so that none sees the others go
    for pid in children:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("how", "workers"), broken((truncated, 2), (fifo, 1)))
def test_what_served_last_returns_from_the_cache(
    site: Site, how: Callable[[Path], None], workers: int
) -> None:
    with serving(site.file, "--workers", str(workers)) as server:
        assert server.get() == b"one"
        how(site.plugin)
        kill_all(server, workers)
        assert server.get() == b"one"
        wait_until(lambda: len(serving_workers(server)) == workers)
        assert server.status()["lost"] == []
        if how is fifo:
            site.plugin.unlink()
        put_plugin(site.plugin, "two")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: {server.get() for _ in range(8)} == {b"two"})
        assert server.stop() == 0


@pytest.mark.parametrize(("how", "workers"), broken((truncated, 1)))
def test_without_a_cache_it_returns_once_the_file_is_whole(
    site: Site, how: Callable[[Path], None], workers: int
) -> None:
    site.keep_nothing()
    with serving(site.file, "--workers", str(workers)) as server:
        wait_until(lambda: len(serving_workers(server)) == workers)
        assert server.get() == b"one"
        how(site.plugin)
        kill_all(server, workers)
        line = server.wait_for("cannot start: ")
        assert "none is left, and nobody is served until then; replacing it in" in line
        if how is fifo:
            site.plugin.unlink()
        put_plugin(site.plugin, "two")
        assert server.get() == b"two"
        wait_until(lambda: len(serving_workers(server)) == workers)
        server.wait_for("serves again, after")
        assert server.stop() == 0


def test_one_of_two_is_missing_and_the_other_says_so(site: Site) -> None:
    site.keep_nothing()
    with serving(site.file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        truncated(site.plugin)
        victim = serving_workers(server)[1]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_until(lambda: any(lost["failures"] > 3 for lost in server.status()["lost"]))
        (lost,) = server.status()["lost"] or [None]
        assert lost is None or (lost["place"], lost["retry_in"] < 15) == (1, True)
        assert lost is None or "guest.wasm is cut short" in lost["reason"]
        assert server.admin("/readyz") == (200, b"ok\n")
        for _ in range(20):
            assert server.get() == b"one"
        said = [line for line in server.lines if "replacing it in" in line]
        assert len(said) == 2  # killed, and cannot start; the rest is counted
        assert "1 of 2 serves" in said[1]
        put_plugin(site.plugin, "two")
        wait_until(lambda: len(serving_workers(server)) == 2)
        assert server.status()["lost"] == []
        wait_until(lambda: {server.get() for _ in range(20)} == {b"one", b"two"})  # its queue is in use again
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_configuration_that_turned_bad_is_not_what_they_start_on(site: Site, workers: int) -> None:
    with serving(site.file, "--workers", str(workers)) as server:
        assert server.get() == b"one"
        for text in ("nonsense = 1\n", "[[", ""):
            site.file.write_text(text)
            if text:
                server.process.send_signal(signal.SIGHUP)
                server.wait_for("reload refused")
            kill_all(server, workers)
            assert server.get() == b"one"
        assert server.stop() == 0


def test_they_start_on_what_the_last_reload_brought(site: Site) -> None:
    with serving(site.file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        put_plugin(site.plugin, "two")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: [worker["generation"] for worker in serving_workers(server)] == [2, 2])
        time.sleep(1.2)  # the parent reads what they report within a second
        truncated(site.plugin)
        kill_all(server, 2)
        wait_until(lambda: len(serving_workers(server)) == 2)
        assert {server.get() for _ in range(8)} == {b"two"}
        assert server.stop() == 0


def test_sighup_starts_what_waits_on_what_the_file_says_now(site: Site) -> None:
    site.keep_nothing()
    with serving(site.file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        missing(site.plugin)
        kill_all(server, 2)
        server.wait_for("cannot start: ")
        site.file.write_text('listen = ["127.0.0.1:0"]\n' + ADMIN + ANSWER.format(body="new"))
        server.process.send_signal(signal.SIGHUP)
        # Who waits in the queue of a place that is left empty is reset: the next attempt is served.
        wait_until(lambda: served(server) == b"new")
        wait_until(lambda: len(serving_workers(server)) == 2)
        kill_all(server, 2)
        assert server.get() == b"new"
        assert server.stop() == 0


def test_they_return_where_paths_are_no_text(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    site = Site(odd)
    with serving(site.file) as server:
        assert server.get() == b"one"
        missing(site.plugin)
        kill_all(server, 1)
        assert server.get() == b"one"
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_the_end_does_not_wait_for_the_next_start(site: Site, number: int) -> None:
    site.keep_nothing()
    with serving(site.file) as server:
        missing(site.plugin)
        kill_all(server, 1)
        server.wait_for("cannot start: ")
        time.sleep(0.5)  # some pauses
        server.process.send_signal(number)
        assert server.process.wait(10) == 0


@pytest.mark.slow
def test_workers_that_die_as_soon_as_they_start_do_not_end_the_parent(site: Site) -> None:
    with serving(site.file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        deadline, killed = time.monotonic() + 2.0, 0
        while time.monotonic() < deadline:
            for pid in server.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            time.sleep(0.01)
        assert server.process.poll() is None
        assert killed > 4
        assert server.get() == b"one"
        wait_until(lambda: len(serving_workers(server)) == 2)
        said = [line for line in server.lines if "replacing it in" in line]
        assert len(said) <= 6  # two places; killed as they served and before they did
        assert server.stop() == 0


def test_a_signal_to_a_worker_that_has_just_begun_is_not_its_end(site: Site) -> None:
    with serving(site.file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        kill_all(server, 2)
        for _ in range(100):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.005)
        assert server.get() == b"one"
        assert not [line for line in server.lines if "SIGHUP" in line and "ended" in line]
        assert server.stop() == 0


@pytest.mark.parametrize(
    "name",
    [
        "blitz.toml",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("plugins/guest.wasm", "plugins/guest.toml")
        ),
    ],
)
def test_a_fifo_at_a_reload_keeps_neither_worker_nor_parent(site: Site, name: str) -> None:
    path = site.file.parent / name
    with serving(site.file, "--workers", "2") as server:
        wait_until(lambda: len(serving_workers(server)) == 2)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: sum("is a FIFO, wanted a regular file" in line for line in server.lines) == 2)
        server.process.send_signal(signal.SIGUSR2)
        assert "is a FIFO, wanted a regular file" in server.wait_for("failed to start")
        assert {server.get() for _ in range(8)} == {b"one"}
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
