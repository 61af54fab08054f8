"""Waiting on behalf of guests: where a plugin makes the gateway await.

A guest that used up its slice, or could not begin in this pass of the event loop, waits for its turn
(``turns.py``): every other task waits for a few slices of a millisecond at most, however many guests run.
The deadline of a call is looked at after each slice. What a guest waits for outside of the worker
(``outside.py``) does not count there, but has a bound of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientGone, PluginLoadError
from blitz.filters import PENDING, Waited
from blitz.wasm.instance import Instance
from blitz.wasm.kinds import how_to_build_a_reactor
from blitz.wasm.logs import emit_log
from blitz.wasm.pool import PluginPool

from .outside import Client, Fetch, wait_outside
from .turns import GuestTurns

__all__ = ["drive", "finish_leaving", "probe", "smoke", "wait_for_instance"]

# Slices that a call gets before its deadline counts. On a busy machine a call of microseconds may lose the
# processor in its first slice and stand in line behind others until its time is over: that is not its fault.
MIN_SLICES = 2


async def drive(
    run: Waited, turns: GuestTurns, client: Client | None = None, fetch: Fetch | None = None
) -> int:
    """Resume the pending guest until its hook is done or its deadline has passed.

    Args:
        client: when it is reset, nobody waits for the guest any more.
        fetch: sends the requests of guests; None: nobody does, and they fail.
    Returns:
        The next step of the chain. On an exception the guest may be pending; ``run.close()`` unwinds it.
    Raises:
        ClientGone: the client was reset.
        PluginError: a failure policy said so, or the exchange has used up ``run.left``.
    """
    call = _Call(run, turns, client)
    try:
        while True:
            if run.outside is not None:
                step = await call.wait(fetch)
            else:
                step = await call.go_on()
            if step != PENDING:
                return step
            if run.changed:
                run.changed = False
                call.begin()
    finally:
        run.left -= call.took


class _Call:
    """The call that is pending, and what of its times it has used up; after ``begin`` the next one.

    Attributes:
        took: seconds that the exchange has been kept waiting, but for what was waited for outside.
    """

    def __init__(self, run: Waited, turns: GuestTurns, client: Client | None) -> None:
        self._run = run
        self._turns = turns
        self._client = client
        self._left = run.left
        self._now = trio.current_time()
        self._again = False
        self.took = 0.0
        self.begin()

    def begin(self) -> None:
        """Each has a clock of its own."""
        self._deadline = self._now + self._run.timeout
        self._may_wait = self._run.wait_timeout
        self._slices = 0

    def _pass_time(self) -> float:
        before, self._now = self._now, trio.current_time()
        return self._now - before

    async def go_on(self) -> int:
        """Give it a slice, once its turn has come."""
        run = self._run
        due = run.is_due
        try:
            async with self._turns.slice(due=due, again=self._again):
                if self._client is not None and self._client.is_reset():
                    raise ClientGone
                step = run.resume()
                self.took += self._pass_time()
                same = step == PENDING and not run.changed
                self._again = due and same and run.is_due
                self._slices += not self._again
                if same and self._slices >= MIN_SLICES:
                    if self._now >= self._deadline:
                        return run.time_out()
                    if self.took >= self._left:
                        raise run.give_up()
        finally:
            self.took += self._pass_time()
        return step

    async def wait(self, fetch: Fetch | None) -> int:
        """Wait for what it waits for outside; it is pending then, unless its time was over before."""
        in_time = await wait_outside(self._run, self._may_wait, self._client, fetch)
        seconds = self._pass_time()
        self._deadline += seconds
        self._may_wait -= seconds
        self._again = False
        return PENDING if in_time else self._run.wait_out()


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
            for instance in pool.take_ending():
                nursery.start_soon(_finish_end, pool, instance, turns)
            for instance in pool.take_leaving():
                nursery.start_soon(_finish_cleanup, pool, instance, turns)


async def _finish_end(pool: PluginPool, instance: Instance, turns: GuestTurns) -> None:
    rc = await _finish(pool, instance, lib.BLITZ_PENDING, turns)
    pool.ended(instance, rc, trio.current_time())


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
            instance.answer()  # a call that serves no request waits for nothing outside
    except trio.Cancelled:
        instance.cancel()
        pool.end(instance)
        raise
    return rc
