"""Computations that would keep the event loop: done in a thread, a few at once, and few wait.

Clients choose how many there are. So what waits is bounded, for each client too, and whatever is over that
is refused at once; the same computation is done once for all who want it at the same time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from blitz.builtin.services import TooBusy

__all__ = ["Workshop"]

T = TypeVar("T")
MAX_WAITING = 64  # at 50 ms each, whoever comes last waits for three seconds
MAX_OF_CLIENT = 4
NICENESS = 10  # of the thread: requests come first where there are more threads than cores


class _Job:
    __slots__ = ("client", "done", "error", "key", "result", "waiters", "work")

    def __init__(self, work: Callable[[], Any], key: bytes, client: str) -> None:
        self.work = work
        self.key = key
        self.client = client
        self.done = trio.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiters = 0


class Workshop:
    """One per gateway. ``run`` works off what ``compute`` brings."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, _Job] = {}  # that wait, and the one in hand
        self._queue: deque[_Job] = deque()
        self._of_client: Counter[str] = Counter()
        self._wanted = trio.Event()

    async def compute(self, work: Callable[[], T], key: bytes, client: str) -> T:
        """See ``Services.compute``. Raises TooBusy, and what *work* raises."""
        job = self._jobs.get(key)
        if job is None:
            if len(self._jobs) >= MAX_WAITING or self._of_client[client] >= MAX_OF_CLIENT:
                raise TooBusy
            job = self._jobs[key] = _Job(work, key, client)
            self._of_client[client] += 1
            self._queue.append(job)
            self._wanted.set()
        job.waiters += 1
        try:
            await job.done.wait()
        finally:
            job.waiters -= 1
            if not job.waiters and job in self._queue:  # nobody wants it any more
                self._queue.remove(job)
                self._forget(job)
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    async def run(self) -> None:
        """Work for ever, one job after the other."""
        limiter = trio.CapacityLimiter(1)
        while True:
            while self._queue:
                await self._do(self._queue.popleft(), limiter)
            self._wanted = trio.Event()
            await self._wanted.wait()

    async def _do(self, job: _Job, limiter: trio.CapacityLimiter) -> None:
        try:
            job.result = await trio.to_thread.run_sync(
                _in_background, job.work, limiter=limiter, abandon_on_cancel=True
            )
        except Exception as error:
            job.error = error
        except BaseException:
            job.error = TooBusy()
            raise
        finally:
            self._forget(job)
            job.done.set()

    def _forget(self, job: _Job) -> None:
        self._jobs.pop(job.key, None)
        self._of_client[job.client] -= 1
        if self._of_client[job.client] <= 0:
            del self._of_client[job.client]


def _in_background(work: Callable[[], T]) -> T:
    """In a thread of its own: one whose niceness was raised keeps it, and trio's threads do other things
    too."""
    found: list[Any] = []

    def run() -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        try:
            found.append((True, work()))
        except BaseException as error:
            found.append((False, error))

    thread = threading.Thread(target=run, name="blitz-compute", daemon=True)
    thread.start()
    thread.join()
    worked, result = found[0]
    if not worked:
        raise result
    value: T = result
    return value
