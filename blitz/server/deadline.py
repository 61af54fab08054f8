"""One deadline wheel for all connections of a gateway, instead of a cancel scope per wait.

Operations wanted, by frequency: *arm* (several times a request: must cost two attribute stores),
*expire* (rare), *add* and *forget* a timer (once a connection).

So arming only stores the new deadline. A timer sits in the slot of the earliest moment it must be
looked at; when that slot comes up and the deadline has moved on, the timer is put into a later slot.
Only a deadline that comes *before* the next look needs a new entry. Resolution is one tick: timeouts
fire up to ``TICK`` seconds late (two, behind a pass that took longer than one), and not early.

Armed deadlines are relative to ``now``, which is read once in each pass of the event loop, before its tasks
run (by the fast path, which needs it then as well; where there is none, once a tick). So a deadline is early
by no more than its pass has lasted when it is armed: a process that was held up for a second does not take
that second off the waits that begin behind it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DRAIN_IDLE", "MAX_AT_ONCE", "TICK", "DeadlineWheel", "Timer", "sleep_until"]

_log = logging.getLogger("blitz.server")

MAX_LOOKS = 1000  # timers that are looked at in one pass
MAX_AT_ONCE = 8  # connections that end in one pass of the event loop: each costs some 200 us
DRAIN_IDLE = 1.0  # seconds an idle client keeps at a drain: a request on its way must not be lost
TICK = 0.05  # seconds: far below the shortest sane timeout, far above the cost of a wake-up

NEVER = math.inf


async def sleep_until(moment: float) -> None:
    """Sleep, and a tick more if the loop was held up meanwhile: what has come came in time, and so does what
    peers say at once that were held up as well."""
    await trio.sleep_until(moment)
    if trio.current_time() - moment > TICK:
        await trio.sleep(TICK)


class Timer:
    """A deadline with what to do when it passes. ``what`` names the present wait for the error text.

    Attributes:
        limit: no deadline is later than this moment; ``bound`` sets it.
    """

    __slots__ = (
        "_limit_what",
        "_moves",
        "_next_look",
        "deadline",
        "expire",
        "expired",
        "limit",
        "what",
        "wheel",
    )

    def __init__(self, wheel: DeadlineWheel, expire: Callable[[], object]) -> None:
        self.wheel = wheel
        self.expire = expire
        self.deadline = NEVER
        self.expired = False
        self.what = ""
        self.limit = NEVER
        self._limit_what = ""
        self._next_look = NEVER
        self._moves: tuple[str, float, Callable[[], bool]] | None = None

    def arm(self, seconds: float, what: str) -> None:
        """Expire *seconds* from now unless armed again or disarmed; 0: when ``limit`` says, or never."""
        self.what = what
        deadline = self.wheel.now + seconds if seconds else NEVER
        if self.limit < deadline:
            deadline = self.limit
            self.what = self._limit_what
        self.deadline = deadline
        if deadline < self._next_look:
            self.wheel.look_at(self, deadline)

    def arm_while(self, seconds: float, what: str, moves: Callable[[], bool]) -> None:
        """The same, but when the time has passed in a wait for *what*, another *seconds* begin if *moves*
        says that something has moved since it was asked last."""
        self.arm(seconds, what)
        self._moves = (what, seconds, moves)

    def go_on(self) -> bool:
        """The deadline has passed; True when it is put off."""
        if self._moves is None:
            return False
        what, seconds, moves = self._moves
        if self.what != what or not moves():
            return False
        self.arm(seconds, what)
        return True

    def bound(self, seconds: float, what: str) -> None:
        """Let all waits together, from now on, last *seconds* at most; 0: as long as each may."""
        self.limit = NEVER
        self.arm(seconds, what)
        self.limit = self.deadline
        self._limit_what = what

    def disarm(self) -> None:
        self.deadline = NEVER


class DeadlineWheel:
    """Start ``run`` once in the gateway's nursery."""

    def __init__(self) -> None:
        self.now = trio.current_time()
        self._slots: dict[int, list[Timer]] = {}
        self._tick = int(self.now / TICK)
        self._wanted = trio.Event()

    def look_at(self, timer: Timer, when: float) -> None:
        if not self._slots:
            # The wheel was parked: its clock stood still.
            late = trio.current_time() - self.now
            self.now += late
            self._tick = int(self.now / TICK)
            timer.deadline += late
            when += late
            self._wanted.set()
        tick = max(int(when / TICK) + 1, self._tick + 1)
        timer._next_look = tick * TICK
        self._slots.setdefault(tick, []).append(timer)

    async def run(self) -> None:
        """Turn for ever; parked while no timer waits."""
        while True:
            if not self._slots:
                self._wanted = trio.Event()
                await self._wanted.wait()
            await sleep_until((self._tick + 1) * TICK)
            self.now = trio.current_time()
            target = max(int(self.now / TICK), self._tick + 1)  # 0.35 / 0.05 is less than 7
            if target - self._tick > len(self._slots):
                due = sorted(tick for tick in self._slots if tick <= target)
            else:
                due = [tick for tick in range(self._tick + 1, target + 1) if tick in self._slots]
            self._tick = target
            for tick in due:
                await self._look(self._slots.pop(tick), tick)

    async def _look(self, timers: list[Timer], tick: int) -> None:
        expired = 0
        for looked, timer in enumerate(timers, 1):
            if looked % MAX_LOOKS == 0:
                await self._pause()
            if timer._next_look != tick * TICK:
                continue  # a nearer look replaced this one
            timer._next_look = NEVER
            if timer.deadline <= self.now:
                if timer.go_on():
                    continue
                timer.deadline = NEVER
                timer.expired = True
                try:
                    timer.expire()
                except Exception:  # of one connection, and not of those behind it
                    _log.exception("internal error at a deadline")
                expired += 1
                if expired % MAX_AT_ONCE == 0:
                    await self._pause()
            elif timer.deadline != NEVER:
                self.look_at_later(timer)

    async def _pause(self) -> None:
        """Let others run: clients choose how many deadlines pass in the same moment."""
        await trio.lowlevel.checkpoint()
        self.now = trio.current_time()

    def look_at_later(self, timer: Timer) -> None:
        tick = max(int(timer.deadline / TICK) + 1, self._tick + 1)
        timer._next_look = tick * TICK
        self._slots.setdefault(tick, []).append(timer)
