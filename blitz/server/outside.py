"""What a guest waits for outside of the worker: time to pass, or the response to a request of its own.

The guest sees a host function that takes a while. Its instance stays with its exchange meanwhile; nobody
else is kept from anything (``native/waiting.h``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from blitz._native import lib
from blitz.errors import ClientGone
from blitz.filters import Waited

__all__ = ["Client", "Fetch", "wait_outside"]

# Seconds between two looks at a client: how long a guest may go on waiting for somebody who has left.
LOOK_INTERVAL = 0.5

# Sends the request of a cffi ``blitz_instance *`` that waits for one, and keeps the response for it; its body
# may have so many bytes. Returns its status, or BLITZ_FETCH_FAILED.
Fetch = Callable[[Any, int], Awaitable[int]]


class Client(Protocol):
    """Whoever waits for what a guest makes: a stream, or the downstream door."""

    def is_reset(self) -> bool:
        """Nobody waits any more. Does not wait itself."""
        ...


async def wait_outside(run: Waited, seconds: float, client: Client | None, fetch: Fetch | None) -> bool:
    """Wait for what the pending guest of *run* waits for, and tell it; then its next time slice may come.

    Returns: False when it would have to wait for longer than *seconds*.
    Raises:
        ClientGone: the client was reset.
    """
    instance = run.outside
    fetches = lib.blitz_call_waits(instance) == lib.BLITZ_WAITS_FETCH
    wanted = lib.blitz_wait_ms(instance) / 1000
    async with trio.open_nursery() as nursery:
        watch = _Watch(client, nursery.cancel_scope)
        nursery.start_soon(watch.look)
        result = None
        with trio.move_on_after(max(seconds, 0)) as scope:
            if not fetches:
                await trio.sleep(wanted)
                result = 0
            elif fetch is None:
                result = lib.BLITZ_FETCH_FAILED
            else:
                result = await _fetch_in_time(instance, run.max_fetch_size, wanted, fetch)
        nursery.cancel_scope.cancel()
    if watch.gone:
        raise ClientGone
    if result is None:
        assert scope.cancelled_caught
        return False
    lib.blitz_call_answer(instance, result)
    return True


async def _fetch_in_time(instance: Any, most: int, seconds: float, fetch: Fetch) -> int:
    with trio.move_on_after(seconds or float("inf")):
        return await fetch(instance, most)
    late: int = lib.BLITZ_FETCH_LATE
    return late


class _Watch:
    """Looks whether the client is still there, and ends the wait when it is not."""

    def __init__(self, client: Client | None, scope: trio.CancelScope) -> None:
        self._client = client
        self._scope = scope
        self.gone = False

    async def look(self) -> None:
        while self._client is not None and not self.gone:
            await trio.sleep(LOOK_INTERVAL)
            self.gone = self._client.is_reset()
        if self.gone:
            self._scope.cancel()
