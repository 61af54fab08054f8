"""Whose guest gets the next time slice.

All guests of a worker share its event loop. In one pass of the loop they have a budget together
(``native/turn.h``); a call that would begin when it is used up is pending before its first instruction. So
there are two kinds of calls that wait: those that are due and have not begun, and those that have used up a
slice. Each kind stands in a line of its own, and the first ones of both lines are let go in turn: a request
whose hook takes microseconds does not wait for a second round of all that loop. While somebody stands in the
first line, no new call begins past it.

Requests that run no guest meet none of this: between two passes of guests everything else has its turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

__all__ = ["GuestTurns"]

MAX_AT_ONCE = 64  # due calls that are let go in one pass, if their guests are quick


class GuestTurns:
    """One per gateway; ``FastPath`` tells it of every pass of the event loop.

    Where nobody does (an embedder's chain, a plugin that is tried out), one fair lock is enough.
    """

    def __init__(self) -> None:
        self._due: OrderedDict[Task, None] = OrderedDict()  # a queue that its members may leave
        self._begun: OrderedDict[Task, None] = OrderedDict()
        self._at_once = 1
        self._begun_is_next = False
        self._lock = trio.Lock()
        self._told = False
        self._keep_awake: Callable[[], object] = bool

    @property
    def held(self) -> bool:
        """Calls that have not begun stand in line: no other may begin."""
        return bool(self._due)

    @property
    def waiting(self) -> bool:
        return bool(self._due or self._begun)

    def start(self, keep_awake: Callable[[], object]) -> None:
        """From now on ``next_pass`` is called in every pass of the event loop.

        Args:
            keep_awake: makes the next pass come at once.
        """
        self._told = True
        self._keep_awake = keep_awake

    def stop(self) -> None:
        """It is not called any more: whoever waits goes on at once."""
        self._told = False
        for line in (self._due, self._begun):
            _let_go(line, len(line))

    def next_pass(self, *, used_up: bool) -> None:
        """Let some of those in line have their slice in this pass.

        Args:
            used_up: guests had their whole budget in the pass before.
        """
        self._at_once = max(self._at_once // 2, 1) if used_up else min(self._at_once * 2, MAX_AT_ONCE)
        begun = bool(self._begun) and (self._begun_is_next or not self._due)
        if begun:
            _let_go(self._begun, 1)
        else:
            _let_go(self._due, self._at_once)
        self._begun_is_next = not begun

    @asynccontextmanager
    async def slice(self, *, due: bool, again: bool = False) -> AsyncIterator[None]:
        """Wait for one's turn; give the guest its slice inside.

        Args:
            due: the call has not begun yet.
            again: it could not begin in its turn, because nothing was left of the budget: it goes first.
        """
        if self._told:
            self._keep_awake()
            await _stand_in(self._due if due else self._begun, first=again)
            yield
        else:
            async with self._lock:
                yield


async def _stand_in(line: OrderedDict[Task, None], *, first: bool) -> None:
    task = current_task()
    line[task] = None
    if first:
        line.move_to_end(task, last=False)

    def abort(_: RaiseCancelT) -> Abort:
        del line[task]
        return Abort.SUCCEEDED

    await wait_task_rescheduled(abort)


def _let_go(line: OrderedDict[Task, None], count: int) -> None:
    for _ in range(min(count, len(line))):
        task, _ = line.popitem(last=False)
        reschedule(task)
