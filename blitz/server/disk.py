"""Threads that wait for a disk, a few for each root of files, so that the event loop does not.

A disk that does not answer (a network file system whose server is gone) keeps its threads, and whatever asks
it fails after PATIENCE, at once while all of its threads are kept. Other disks have threads of their own, and
the rest of the gateway waits for none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio

from blitz.errors import FileError

__all__ = ["MAX_THREADS", "MAX_WAITING", "PATIENCE", "Disk"]

T = TypeVar("T")
MAX_THREADS = 4  # of a root: disks do no more than a few things at once
MAX_WAITING = 256  # names that wait for one: at a tenth of a millisecond each, 25 ms
PATIENCE = 5.0  # seconds that a request waits for a disk; a spun-down one needs them


def _nothing() -> None:
    return


class Job(Generic[T]):
    """*work* for a thread.

    Attributes:
        done: it is, or is given up. began: in trio's time, when a thread took it; 0: none has.
        took: gets its result in any case. unused: called instead if it is given up before it has begun.
    """

    __slots__ = ("began", "done", "error", "given_up", "result", "took", "unused", "work")

    def __init__(
        self, work: Callable[[], T], took: Callable[[T], object], unused: Callable[[], object]
    ) -> None:
        self.work = work
        self.took = took
        self.unused = unused
        self.done = trio.Event()
        self.began = 0.0
        self.given_up = False
        self.result: T | None = None
        self.error: BaseException | None = None


class Disk:
    """Of one root. Everything but the work itself runs in trio's thread."""

    def __init__(self, name: str) -> None:
        """*name*: the root, for messages."""
        self.name = name
        self._queue: deque[Job[Any]] = deque()
        self._running: dict[Job[Any], None] = {}  # the oldest first
        self._token: Any = None

    @property
    def threads(self) -> int:
        """How many are at work, or kept."""
        return len(self._running)

    def begin(
        self,
        work: Callable[[], T],
        took: Callable[[T], object],
        unused: Callable[[], object] = _nothing,
        *,
        always: bool = False,
    ) -> Job[T]:
        """Have *work* done, by a thread of ours as soon as one is free.

        Args:
            took: called with its result in trio's thread, before anybody who waits goes on; later, if the
                job was given up; not if the work raises.
            unused: called if it is given up before a thread has begun it.
            always: however many wait: a response that has begun, of which there is one for each connection.
        Raises:
            FileError: too many wait, or the disk does not answer.
        """
        if len(self._running) >= MAX_THREADS:
            if trio.current_time() - next(iter(self._running)).began > PATIENCE:
                raise self._stalled()
            if len(self._queue) >= MAX_WAITING and not always:
                raise FileError(f"more than {MAX_WAITING} names wait for the disk of {self.name}")
        job = Job(work, took, unused)
        self._queue.append(job)
        self._next()
        return job

    async def wait(self, job: Job[T]) -> T:
        """Its result. Raises FileError (504) when it takes too long, and what its work raises."""
        with trio.move_on_after(PATIENCE):
            await job.done.wait()
        if not job.done.is_set():
            self.give_up(job)
            raise self._stalled()
        if job.given_up:
            raise self._stalled()
        if job.error is not None:
            raise job.error
        result: T = job.result  # type: ignore[assignment]
        return result

    def _stalled(self) -> FileError:
        return FileError(f"the disk of {self.name} has not answered for {PATIENCE:g} s", status=504)

    def give_up(self, job: Job[Any]) -> None:
        """Nobody is to wait for it any longer: whoever does fails."""
        if job.done.is_set():
            return
        job.given_up = True
        if job in self._queue:
            self._queue.remove(job)
            job.unused()
        job.done.set()

    def _next(self) -> None:
        while self._queue and len(self._running) < MAX_THREADS:
            job = self._queue.popleft()
            job.began = trio.current_time()
            self._running[job] = None
            if self._token is None:
                self._token = trio.lowlevel.current_trio_token()
            trio.lowlevel.start_thread_soon(job.work, self._deliver(job), "blitz-file")

    def _deliver(self, job: Job[Any]) -> Callable[[Any], None]:
        token = self._token

        def in_thread(outcome: Any) -> None:
            found = error = None
            try:
                found = outcome.unwrap()
            except BaseException as exc:
                error = exc
            try:
                token.run_sync_soon(self._ended, job, found, error)
            except trio.RunFinishedError:
                if error is None:
                    job.took(found)  # nobody else will close it

        return in_thread

    def _ended(self, job: Job[Any], result: Any, error: BaseException | None) -> None:
        self._running.pop(job, None)
        self._next()
        if error is None:
            job.took(result)
        if not job.given_up:
            job.result, job.error = result, error
            job.done.set()
