"""Waiting on behalf of guests: the only place where a plugin makes the gateway await.

A guest that used up its slice is resumed in turns: one fair lock is held around each resumed poll, so
that of N busy guests one runs per pass of the event loop, and every other task waits for at most one slice
(1 ms), not N. The deadline of a call is checked between slices.
"""

from __future__ import annotations

import trio

from blitz._native import lib
from blitz.errors import PluginLoadError
from blitz.wasm.chain import PENDING, ChainRun
from blitz.wasm.instance import Instance
from blitz.wasm.logs import emit_log
from blitz.wasm.pool import PluginPool

__all__ = ["drive", "finish_cleanup", "probe", "wait_for_instance"]


async def drive(run: ChainRun, turn: trio.Lock) -> int:
    """Resume the pending guest until its hook is done or its deadline has passed.

    Returns the next step of the chain. On cancellation the guest stays pending; ``run.close()`` unwinds it.
    """
    deadline = trio.current_time() + run.timeout
    while True:
        async with turn:
            if trio.current_time() >= deadline:
                step = run.time_out()
            else:
                step = run.resume()
        if step != PENDING:
            return step
        if run.changed:
            # Another plugin of the chain is pending now: a clock of its own.
            run.changed = False
            deadline = trio.current_time() + run.timeout


async def wait_for_instance(run: ChainRun) -> None:
    """Wait until an instance of the plugin that the chain needs may be free."""
    pool = run.needed
    assert pool is not None
    free = trio.Event()
    pool.waiters.append(free.set)
    try:
        await free.wait()
    except trio.Cancelled:
        if free.is_set():
            pool.wake()  # the turn was ours: pass it on
        else:
            pool.waiters.remove(free.set)
        raise


async def probe(pools: list[PluginPool], turn: trio.Lock) -> None:
    """Start one instance of each plugin, so that one that cannot start is found before it is needed.

    Raises:
        PluginLoadError: init failed, trapped, or ran past the plugin's timeout.
    """
    for pool in pools:
        instance = pool.make()
        assert instance is not None
        rc = await _finish(pool, instance, instance.start(), turn)
        if rc is None:
            limit = f"{pool.plugin.spec.timeout * 1000:g} ms"
            pool.end(instance)
            raise PluginLoadError(
                f"{pool.plugin.spec.source}: init ran longer than {limit}", plugin=pool.name, hook="init"
            )
        if rc < 0:
            fault = pool.drop(instance, trio.current_time())
            raise PluginLoadError(
                f"{pool.plugin.spec.source}: {fault}", plugin=pool.name, hook=fault.hook, frames=fault.frames
            ) from fault
        emit_log(instance)
        pool.give(instance)


async def finish_cleanup(pool: PluginPool, instance: Instance, turn: trio.Lock) -> None:
    """Let a cleanup that yielded come to its end, or to its deadline."""
    await _finish(pool, instance, lib.BLITZ_PENDING, turn)
    pool.end(instance)


async def _finish(pool: PluginPool, instance: Instance, rc: int, turn: trio.Lock) -> int | None:
    """Resume until done. None: the deadline passed, and the call was cancelled."""
    deadline = trio.current_time() + pool.plugin.spec.timeout
    while rc == lib.BLITZ_PENDING:
        async with turn:
            if trio.current_time() >= deadline:
                instance.cancel()
                return None
            rc = instance.resume()
    return rc
