"""A reload that nobody waits for any more ends at once, with the compiler that it started."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio

import blitz
from blitz.config import Plugin
from tests.wasm.bombs import many_locals

from .harness import Rig, rig, until
from .test_reload import answering, fail, failing, file, put, status_of

__all__ = ["file"]

SOON = 20.0  # seconds; compiling BOMB takes minutes
BOMB = many_locals(100_000)


def compilers() -> list[int]:
    """Processes of ours that compile."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path("/proc", child, "cmdline")
            if command.exists() and b"blitz.wasm.compile" in command.read_bytes():
                found.append(int(child))
    return found


async def begin(test: Rig, path: Path) -> None:
    """Wait until the compiler runs that the reload of *path* has started."""
    await until(compilers, 20.0)
    assert test.gateway.generation == 1


async def test_a_cancelled_reload_kills_the_compiler(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test, trio.open_nursery() as nursery:
        put(file, BOMB)
        nursery.start_soon(test.gateway.reload)
        await begin(test, file)
        with trio.fail_after(SOON):
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await until(lambda: not compilers())


async def test_the_old_plugins_go_on_after_a_cancelled_reload(file: Path) -> None:
    async with rig(plugin_dir=str(file.parent)) as test:
        put(file, BOMB)
        with trio.move_on_after(1.0):
            await test.gateway.reload()
        assert not compilers()
        assert await status_of(test) == 201
        put(file, answering(202))
        await test.gateway.reload()
        assert await status_of(test) == 202


@pytest.mark.parametrize("how", ["drain", "cancel"])
async def test_a_gateway_that_ends_gives_up_its_reload(file: Path, how: str) -> None:
    refused: list[str] = []

    async def reload(gateway: blitz.Gateway) -> None:
        with pytest.raises(blitz.ConfigError) as caught:
            await gateway.reload()
        refused.append(str(caught.value))

    async with trio.open_nursery() as outer:
        with trio.fail_after(60):
            async with rig(plugin_dir=str(file.parent)) as test:
                gateway = test.gateway
                put(file, BOMB)
                outer.start_soon(reload, gateway)
                await begin(test, file)
                began = trio.current_time()
                if how == "cancel":
                    test.nursery.cancel_scope.cancel()
        assert trio.current_time() - began < SOON
    assert not compilers()
    assert refused == ["the gateway is ending; start another one with that configuration"]
    for late in (gateway.reload(), gateway.roll_back("guest")):
        with pytest.raises(blitz.ConfigError, match="the gateway is ending"):
            await late


async def test_a_plugin_that_came_in_vain_is_ended_with_the_others(file: Path, tmp_path: Path) -> None:
    """The first plugin of a reload is loaded already when the second one is given up."""
    async with rig(plugin_dir=str(file.parent)) as test:
        before = test.gateway.statistics().guests.instances_live
        put(file.with_name("a.wasm"), answering(203))
        put(file.with_name("b.wasm"), BOMB)
        with trio.move_on_after(1.5):
            await test.gateway.reload()
        assert test.gateway.statistics().guests.instances_live == before
        os.unlink(file.with_name("b.wasm"))
        await test.gateway.reload()
        assert await status_of(test) == 203


async def test_rolling_back_waits_for_no_reload_and_stands_in_the_way_of_none(file: Path) -> None:
    """The failing version is replaced by the reload that runs; the good one before it is not wanted back."""
    async with rig(plugins=[Plugin(name="guest", file=str(file), rollback=True)]) as test:
        put(file, failing(202))
        await test.gateway.reload()
        await fail(test)
        may_go_on = threading.Event()

        def slowly() -> blitz.Config:
            may_go_on.wait(SOON)
            return test.config

        async with trio.open_nursery() as nursery:
            nursery.start_soon(test.gateway.reload, slowly)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(SOON / 2):
                await test.gateway._housekeeping.look_after()
            assert test.gateway.generation == 2
            put(file, answering(203))
            may_go_on.set()
        assert test.gateway.generation == 3
        for _ in range(2):
            await test.gateway._housekeeping.look_after()
        assert await status_of(test, "/x") == 203
        assert test.gateway.generation == 3
