"""Instances of one plugin: idle ones, how many may live, when one is replaced, and what went wrong.

Operations wanted: *take* and *give* on the request path (a list pop and an append), *make* when none
is idle, *drop* after a fault. The last used instance is taken first: its memory is warm, and the
others age until ``shrink`` ends them.

A plugin that keeps failing is put in quarantine: for a while it is not run at all and its failure
policy applies at once; the pause doubles with each relapse. Time is a parameter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from blitz._native import lib
from blitz.errors import PluginError

from .instance import Instance
from .logs import emit_log
from .plugin import Plugin

__all__ = ["PluginPool", "PoolStatistics"]

QUARANTINE_FAULTS = 20  # this many faults ...
QUARANTINE_WINDOW = 10.0  # ... within so many seconds say that it is the plugin, not the request
QUARANTINE_FIRST_PAUSE = 1.0  # as Envoy's back-off base for reloading a failed VM
QUARANTINE_MAX_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Counts since the pool was made; ``live`` and ``idle`` are now."""

    live: int
    idle: int
    made: int
    calls: int
    faults: int
    skipped: int
    quarantines: int
    quarantined: bool


class PluginPool:
    """Instances of *plugin*; owns the plugin and everything made from it."""

    __slots__ = (
        "_closed",
        "_fault_times",
        "_last_pause",
        "_quarantined_until",
        "_quick",
        "calls",
        "faults",
        "fresh",
        "holds",
        "idle",
        "leaving",
        "live",
        "made",
        "max_calls",
        "max_live",
        "name",
        "open_on_failure",
        "plugin",
        "quarantines",
        "quick",
        "skipped",
        "suspended",
        "waiters",
    )

    def __init__(self, plugin: Plugin) -> None:
        spec = plugin.spec
        self.plugin = plugin
        self.name = spec.name
        self.open_on_failure = spec.failure == "open"
        self.fresh = spec.instances == "per-request"
        self.max_live = 1 if spec.instances == "single" else spec.max_instances
        self.max_calls = spec.max_requests
        self.holds = plugin.has_response  # an instance stays with its exchange until the answer
        self._quick = plugin.has_request and not plugin.reads_body and not self.fresh and self.max_live > 1
        self.quick = self._quick  # its request hook may run without further questions
        self.suspended = False  # in quarantine, or was when somebody last looked
        self.idle: list[Instance] = []
        self.leaving: list[Instance] = []  # cleanup() is still running; the shell drives these
        self.waiters: deque[Callable[[], object]] = deque()
        self.live = self.made = self.calls = self.faults = self.skipped = self.quarantines = 0
        self._fault_times: deque[float] = deque(maxlen=QUARANTINE_FAULTS)
        self._quarantined_until = 0.0
        self._last_pause = 0.0
        self._closed = False

    def make(self) -> Instance | None:
        """A new instance, not started; None when as many live as may."""
        if self.live >= self.max_live:
            return None
        instance = self.plugin.new_instance()
        self.live += 1
        self.made += 1
        return instance

    def give(self, instance: Instance) -> None:
        """Take back a healthy instance."""
        if self.fresh or self._closed or instance.calls >= self.max_calls:
            self.retire(instance)
        else:
            self.idle.append(instance)
            self.wake()

    def retire(self, instance: Instance) -> None:
        """End a healthy instance: cleanup() first, on the shell's time if it takes long."""
        rc = instance.cleanup()
        if rc == lib.BLITZ_PENDING:
            self.leaving.append(instance)
        else:
            self.end(instance)

    def take_leaving(self) -> list[Instance]:
        """Instances whose cleanup() has yielded: finish it, then ``end`` them."""
        leaving, self.leaving = self.leaving, []
        return leaving

    def end(self, instance: Instance) -> None:
        """Free an instance, whatever its state."""
        emit_log(instance)
        instance.free()
        self.live -= 1
        self.wake()

    def drop(self, instance: Instance, now: float) -> PluginError:
        """End a poisoned instance and return what happened to it."""
        error = instance.fault()
        self.end(instance)
        self.failed(now)
        return error

    def failed(self, now: float) -> None:
        """Count a fault; enough of them in the window start a quarantine."""
        self.faults += 1
        times = self._fault_times
        times.append(now)
        if len(times) == QUARANTINE_FAULTS and now - times[0] <= QUARANTINE_WINDOW:
            relapse = now - self._quarantined_until < QUARANTINE_WINDOW
            pause = min(self._last_pause * 2, QUARANTINE_MAX_PAUSE) if relapse else QUARANTINE_FIRST_PAUSE
            self._last_pause = pause or QUARANTINE_FIRST_PAUSE
            self._quarantined_until = now + self._last_pause
            self.quarantines += 1
            self.suspended = True
            self.quick = False
            times.clear()

    def quarantined(self, now: float) -> bool:
        """Not to be run at present."""
        if self.suspended and now >= self._quarantined_until:
            self.suspended = False
            self.quick = self._quick and not self._closed
        return self.suspended

    def shrink(self, keep: int) -> None:
        """End idle instances beyond *keep*, the longest idle first."""
        while len(self.idle) > keep:
            self.retire(self.idle.pop(0))

    def close(self) -> None:
        """No further exchanges: idle instances end now, taken ones when they are given back."""
        self._closed = True
        self.quick = False
        self.shrink(0)

    @property
    def closed(self) -> bool:
        """Every instance has ended: the plugin may be freed."""
        return self._closed and self.live == 0

    def statistics(self, now: float) -> PoolStatistics:
        return PoolStatistics(
            live=self.live,
            idle=len(self.idle),
            made=self.made,
            calls=self.calls,
            faults=self.faults,
            skipped=self.skipped,
            quarantines=self.quarantines,
            quarantined=self.quarantined(now),
        )

    def wake(self) -> None:
        """A place is free: tell the first who waits."""
        if self.waiters:
            self.waiters.popleft()()
