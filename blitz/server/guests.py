"""Waiting on behalf of guests: the only place where a plugin makes the gateway await.

A guest that used up its slice, or could not begin in this pass of the event loop, waits for its turn
(``turns.py``): every other task waits for a few slices of a millisecond at most, however many guests run.
The deadline of a call is looked at after each slice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientGone, PluginLoadError
from blitz.filters import PENDING, Waited
from blitz.wasm.instance import Instance
from blitz.wasm.kinds import how_to_build_a_reactor
from blitz.wasm.logs import emit_log
from blitz.wasm.pool import PluginPool

from .turns import GuestTurns

__all__ = ["drive", "finish_leaving", "probe", "smoke", "wait_for_instance"]

# Slices that a call gets before its deadline counts. On a busy machine a call of microseconds may lose the
# processor in its first slice and stand in line behind others until its time is over: that is not its fault.
MIN_SLICES = 2


class Client(Protocol):
    """Whoever waits for what a guest makes: a stream, or the downstream door."""

    def is_reset(self) -> bool:
        """Nobody waits any more. Does not wait itself."""
        ...


async def drive(run: Waited, turns: GuestTurns, client: Client | None = None) -> int:
    """Resume the pending guest until its hook is done or its deadline has passed.

    Args:
        client: when it is reset, nobody waits for the guest any more.
    Returns:
        The next step of the chain. On an exception the guest may be pending; ``run.close()`` unwinds it.
    Raises:
        ClientGone: the client was reset.
        PluginError: a failure policy said so, or the exchange has used up ``run.left``.
    """
    now = began = trio.current_time()
    deadline = began + run.timeout
    last = began + run.left
    slices = 0
    due, again = run.is_due, False
    try:
        while True:
            async with turns.slice(due=due, again=again):
                if client is not None and client.is_reset():
                    raise ClientGone
                step = run.resume()
                now = trio.current_time()
                again = due and step == PENDING and not run.changed and run.is_due
                slices += not again
                if step == PENDING and not run.changed and slices >= MIN_SLICES:
                    if now >= deadline:
                        step = run.time_out()
                    elif now >= last:
                        raise run.give_up()
            if step != PENDING:
                return step
            if run.changed:
                # Another plugin of the chain is pending now: a clock of its own.
                run.changed = False
                deadline = now + run.timeout
                slices = 0
            due = run.is_due
    finally:
        run.left -= now - began


async def wait_for_instance(run: Waited) -> None:
    """Wait until an instance of the plugin that the chain needs may be free.

    Raises:
        PluginSuspended: none became free in the time that the exchange has left.
    """
    pool = run.needed
    assert pool is not None
    free = trio.Event()
    began = trio.current_time()
    pool.wait(free.set)
    try:
        with trio.move_on_after(run.left):
            await free.wait()
    except trio.Cancelled:
        if free.is_set():
            pool.wake()  # the turn was ours: pass it on
        else:
            pool.wait_no_more(free.set)
        raise
    run.left -= trio.current_time() - began
    if not free.is_set():
        pool.wait_no_more(free.set)
        raise run.give_up()


async def probe(pool: PluginPool, turns: GuestTurns) -> None:
    """Start the instances that are to be warm, at least one: a plugin that cannot start is found here.

    Raises:
        PluginLoadError: init failed, trapped, or ran past the plugin's timeout.
    """
    started = []
    try:
        for _ in range(min(max(pool.warm, 1), pool.max_live - pool.live)):
            started.append(await _start(pool, turns))
    finally:
        for instance in started:
            pool.give(instance)


async def smoke(pool: PluginPool, turns: GuestTurns) -> None:
    """Call process_request once, on an instance that is thrown away; any verdict is fine.

    Raises:
        PluginLoadError: init or the call trapped, or ran past the plugin's timeout.
    """
    instance = await _start(pool, turns, quiet=True)
    if pool.plugin.has_request:
        exchange = _synthetic_request()
        rc = await _finish(pool, instance, instance.request(exchange), turns)
        _check(pool, instance, rc, "process_request", "its trial call failed: ")
    instance.take_log()  # what it says about a request that nobody sent
    rc = instance.cleanup()
    pool.cleaned(instance, await _finish(pool, instance, rc, turns))


async def _start(pool: PluginPool, turns: GuestTurns, *, quiet: bool = False) -> Instance:
    instance = pool.make()
    assert instance is not None
    rc = await _finish(pool, instance, instance.start(), turns)
    _check(pool, instance, rc, "init", "")
    if not quiet:
        emit_log(instance)
    return instance


def _check(pool: PluginPool, instance: Instance, rc: int | None, hook: str, what: str) -> None:
    """Raise for a call that ended in a fault or, None, at its deadline; the instance is gone then."""
    source = pool.plugin.spec.source
    if rc is None:
        frames = instance.fault().frames
        pool.end(instance)
        said = f"{source}: {what}{hook} {pool.plugin.spec.too_long()}"
        raise PluginLoadError(said, plugin=pool.name, hook=hook, frames=frames)
    if rc < 0:
        fault = pool.drop(instance, trio.current_time())
        advice = ""
        if pool.plugin.is_command and fault.hook == "init":
            what = f"it is a command, whose _start runs before its hooks, and {what}"
            advice = "; " + how_to_build_a_reactor(
                (one.module, one.name) for one in pool.plugin.module.imports
            )
        raise PluginLoadError(
            f"{source}: {what}{fault.message}{advice}",
            plugin=pool.name,
            hook=fault.hook,
            frames=fault.frames,
        ) from fault


def _synthetic_request() -> Any:
    """GET / of http://localhost, from nobody."""
    exchange = ffi.gc(lib.blitz_exchange_new(), lib.blitz_exchange_free)
    request = exchange.request
    lib.blitz_head_start_request(request, b"GET", 3, b"/", 1, 1)
    lib.blitz_head_add(request, b"host", 4, b"localhost", 9)
    lib.blitz_head_check(request, ffi.NULL, 0)
    return exchange


async def finish_leaving(pools: Iterable[PluginPool], turns: GuestTurns) -> None:
    """Let every cleanup that yielded come to its end, side by side: all take as long as the slowest may."""
    async with trio.open_nursery() as nursery:
        for pool in pools:
            for instance in pool.take_leaving():
                nursery.start_soon(_finish_cleanup, pool, instance, turns)


async def _finish_cleanup(pool: PluginPool, instance: Instance, turns: GuestTurns) -> None:
    pool.cleaned(instance, await _finish(pool, instance, lib.BLITZ_PENDING, turns))


async def _finish(pool: PluginPool, instance: Instance, rc: int, turns: GuestTurns) -> int | None:
    """Resume until done. None: the deadline passed, and the call was cancelled; its fault says where.

    When the task is cancelled, the instance is ended: nobody else knows of it.
    """
    deadline = trio.current_time() + pool.plugin.spec.timeout
    slices = 0
    again = False
    try:
        while rc == lib.BLITZ_PENDING:
            due = instance.is_due
            async with turns.slice(due=due, again=again):
                if slices >= MIN_SLICES and trio.current_time() >= deadline:
                    instance.time_out()
                    return None
                rc = instance.resume()
                again = due and rc == lib.BLITZ_PENDING and instance.is_due
                slices += not again
    except trio.Cancelled:
        instance.cancel()
        pool.end(instance)
        raise
    return rc
