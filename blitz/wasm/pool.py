"""Instances of one plugin: idle ones, how many may live, when one is replaced, and what went wrong.

Operations wanted: *take* and *give* on the request path (a list pop and an append), *make* when none
is idle, *drop* after a fault. The last used instance is taken first: its memory is warm, and the
others age until ``look_after`` ends them.

A plugin that keeps failing is put in quarantine: for a while it is not run at all and its failure
policy applies at once; the pause doubles with each relapse. It keeps failing when at least half of its
calls do: one client that knows how to make it trap must not switch it off for everybody else. Time is
a parameter.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from blitz._native import ffi, lib
from blitz.errors import InternalError, PluginError, PluginTimeout

from .engine import MAX_INSTANCES
from .instance import Instance
from .logs import emit_log, tell_dropped
from .plugin import Plugin

__all__ = ["PluginPool", "PoolStatistics"]

_log = logging.getLogger("blitz.plugin")

_BODIES = lib.BLITZ_PARTS_REQUEST | lib.BLITZ_PARTS_RESPONSE
QUARANTINE_FAULTS = 20  # this many faults ...
QUARANTINE_WINDOW = 10.0  # ... within so many seconds say that it is the plugin, not the request
QUARANTINE_FIRST_PAUSE = 1.0  # as Envoy's back-off base for reloading a failed VM
QUARANTINE_MAX_PAUSE = 60.0
MAX_UNSAID = 16  # faults in cleanup() that are kept until somebody asks; more of them say nothing new
QUIET_LOOKS = 10  # with a look a second: nginx and Envoy shrink their idle pools in the same order of time


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
    """Instances of *plugin*, *most* at once; owns the plugin and everything made from it.

    Attributes:
        native: cffi ``blitz_pool *``: what ``native/chain.c`` knows of it, the idle instances among it.
        instances: all that live, by id.
        held: an operator keeps it in quarantine.
    """

    __slots__ = (
        "_largest_memory",
        "_last_pause",
        "_name_text",
        "_quarantined_until",
        "_record",
        "ending",
        "faults",
        "fresh",
        "held",
        "instances",
        "leaving",
        "live",
        "made",
        "max_calls",
        "max_live",
        "name",
        "native",
        "open_on_failure",
        "plugin",
        "quarantines",
        "skipped",
        "unsaid",
        "waiters",
        "warm",
    )

    def __init__(self, plugin: Plugin, most: int = MAX_INSTANCES) -> None:
        spec = plugin.spec
        self.plugin = plugin
        self.name = spec.name
        self.open_on_failure = spec.failure == "open"
        # Memory that a body has gone through is its own: another one gets it where somebody has said so only.
        by_default = "per-request" if plugin.parts & _BODIES else "pooled"
        self.fresh = (spec.instances or by_default) == "per-request"
        self.max_live = 1 if spec.instances == "single" else min(spec.max_instances, most)
        self.max_calls = spec.max_requests
        self.warm = 0 if self.fresh else min(spec.warm, self.max_live)
        native = lib.blitz_pool_new(self.max_live)
        if native == ffi.NULL:
            raise InternalError("out of memory for a pool")
        self.native = ffi.gc(native, lib.blitz_pool_free)
        self._name_text = ffi.from_buffer("uint8_t[]", spec.name.encode())
        self.native.name.ptr = self._name_text
        self.native.name.len = len(self._name_text)
        self.native.max_calls = self.max_calls
        self.native.fresh = self.fresh
        self.native.has_request = plugin.has_request
        self.native.reads_body = plugin.reads_body
        self.native.has_response = plugin.has_response
        self.native.needs_response_body = plugin.needs_response_body
        self.native.writes_body = plugin.writes_body
        self.native.max_body = spec.max_body
        self.native.parts = plugin.parts
        self.native.changes = plugin.changes
        self.instances: dict[int, Instance] = {}
        self.leaving: list[Instance] = []  # cleanup() is still running; the shell drives these
        self.ending: list[Instance] = []  # the same of process_end()
        self.unsaid: deque[PluginError] = deque(maxlen=MAX_UNSAID)
        self.waiters: deque[Callable[[], object]] = deque()
        self.live = self.made = self.faults = self.skipped = self.quarantines = 0
        self._record: deque[tuple[float, int]] = deque(maxlen=QUARANTINE_FAULTS)  # faults: when, calls so far
        self._quarantined_until = 0.0
        self._last_pause = 0.0
        self.held = False
        self._largest_memory = 0

    @property
    def suspended(self) -> bool:
        """In quarantine, or was when somebody last looked."""
        return bool(self.native.suspended)

    @suspended.setter
    def suspended(self, suspended: bool) -> None:
        self.native.suspended = suspended

    @property
    def idle(self) -> int:
        """Instances that wait for their next call."""
        return int(self.native.n)

    @property
    def calls(self) -> int:
        """Hooks that came to an end since the pool was made."""
        return int(self.native.calls)

    def take(self) -> Instance | None:
        """The idle instance that was used last, or None."""
        key = lib.blitz_pool_take(self.native)
        return self.instances[key] if key else None

    def make(self) -> Instance | None:
        """A new instance, not started; None when as many live as may."""
        if self.live >= self.max_live:
            return None
        instance = self.plugin.new_instance()
        self.instances[instance.id] = instance
        self.live += 1
        self.made += 1
        return instance

    def give(self, instance: Instance) -> None:
        """Take back a healthy instance."""
        if lib.blitz_pool_give(self.native, instance.ptr):
            self.see_to_returned()

    def see_to_returned(self) -> None:
        """Instances have come back: end those that are worn, and tell those who wait for one."""
        while key := lib.blitz_pool_take_worn(self.native):
            self.retire(self.instances[key])
        for _ in range(min(self.idle, len(self.waiters))):
            self.wake()

    def wait(self, waiter: Callable[[], object]) -> None:
        """Call *waiter* once a place is free, or an instance; in the order of coming."""
        self.waiters.append(waiter)
        self.native.waiting = len(self.waiters)

    def wait_no_more(self, waiter: Callable[[], object]) -> None:
        self.waiters.remove(waiter)
        self.native.waiting = len(self.waiters)

    def retire(self, instance: Instance) -> None:
        """End a healthy instance: cleanup() first, on the shell's time if it takes long."""
        rc = instance.cleanup()
        if rc == lib.BLITZ_PENDING:
            self.leaving.append(instance)
        else:
            self.cleaned(instance, rc)

    def was_late(self, hook: str, where: PluginError, what: str) -> PluginTimeout:
        """What to say of a call that ``Instance.time_out`` has ended with *where*; *what* it did."""
        spec = self.plugin.spec
        return PluginTimeout(
            f"{self.name} failed in {hook}: it {what}",
            plugin=self.name,
            version=spec.version,
            hook=hook,
            frames=where.frames,
        )

    def cleaned(self, instance: Instance, rc: int | None) -> None:
        """The cleanup() of an instance came to its end, with None at its deadline: end it. A fault matters to
        no exchange: it is kept for the shell."""
        if rc is None:
            self.unsaid.append(self.was_late("cleanup", instance.fault(), self.plugin.spec.too_long()))
        elif rc < 0:
            self.unsaid.append(instance.fault())
        self.end(instance)

    def end_failed(self, instance: Instance, now: float) -> None:
        """process_end() of an instance failed. That matters to no exchange: it is kept for the shell."""
        self.unsaid.append(self.drop(instance, now))

    def ended(self, instance: Instance, rc: int | None, now: float) -> None:
        """The process_end() of an instance came to its end, with None at its deadline: it is free again."""
        if rc is None:
            self.unsaid.append(self.was_late("process_end", instance.fault(), self.plugin.spec.too_long()))
            self.end(instance)
            self.failed(now)
        elif rc < 0:
            self.end_failed(instance, now)
        else:
            emit_log(instance, "process_end")
            self.give(instance)

    def take_unsaid(self) -> list[PluginError]:
        """Faults that happened outside of any exchange since the last time."""
        unsaid, self.unsaid = list(self.unsaid), deque(maxlen=self.unsaid.maxlen)
        return unsaid

    def take_leaving(self) -> list[Instance]:
        """Instances whose cleanup() has yielded: finish it, then ``end`` them."""
        leaving, self.leaving = self.leaving, []
        return leaving

    def take_ending(self) -> list[Instance]:
        """Instances whose process_end() has yielded: finish it, then ``ended``."""
        ending, self.ending = self.ending, []
        return ending

    def end(self, instance: Instance) -> None:
        """Free an instance, whatever its state."""
        emit_log(instance)
        self._largest_memory = max(self._largest_memory, instance.memory_size())
        del self.instances[instance.id]
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
        record = self._record
        record.append((now, self.calls))
        began, calls = record[0]
        healthy = self.calls - calls
        if len(record) == QUARANTINE_FAULTS and now - began <= QUARANTINE_WINDOW and healthy <= len(record):
            relapse = now - self._quarantined_until < QUARANTINE_WINDOW
            pause = min(self._last_pause * 2, QUARANTINE_MAX_PAUSE) if relapse else QUARANTINE_FIRST_PAUSE
            self._last_pause = pause or QUARANTINE_FIRST_PAUSE
            self._quarantined_until = now + self._last_pause
            self.quarantines += 1
            _log.error(
                "[WASM Plugin] %s failed %d times in %.1f s: it is not run for %g s, and its requests %s",
                self.name,
                len(record),
                now - began,
                self._last_pause,
                "go on without it" if self.open_on_failure else "are answered with 503",
                extra={"plugin": self.name},
            )
            self.suspended = True
            record.clear()

    def quarantined(self, now: float) -> bool:
        """Not to be run at present."""
        if self.suspended and not self.held and now >= self._quarantined_until:
            self.suspended = False
        return self.suspended

    def hold(self) -> None:
        """An operator puts it in quarantine: until ``release`` it is not run."""
        if not self.held:
            self.held = self.suspended = True
            _log.warning(
                "[WASM Plugin] %s is in quarantine until it is released",
                self.name,
                extra={"plugin": self.name},
            )

    def release(self) -> None:
        """End its quarantine, whoever began it; it starts with a clean record."""
        if self.suspended:
            _log.warning("[WASM Plugin] %s is released", self.name, extra={"plugin": self.name})
        self.held = self.suspended = False
        self._record.clear()
        self._quarantined_until = self._last_pause = 0.0

    def look_after(self) -> None:
        """Once in a while: end idle instances that were not called for QUIET_LOOKS looks, but keep ``warm``.

        The instance used last is taken first, so a pool that needs fewer than it has leaves the rest
        untouched, and those are the ones that end.
        """
        tell_dropped(self.plugin)
        spare = self.idle - self.warm
        for instance in self._take_all():
            calls = instance.calls
            instance.quiet = instance.quiet + 1 if calls == instance.seen else 0
            instance.seen = calls
            if instance.quiet >= QUIET_LOOKS and spare > 0:
                spare -= 1
                self.retire(instance)
            else:
                lib.blitz_pool_give(self.native, instance.ptr)

    def _take_all(self) -> list[Instance]:
        """All idle instances, the one used last at the end."""
        idle = []
        while (instance := self.take()) is not None:
            idle.append(instance)
        return idle[::-1]

    def close(self) -> None:
        """No further exchanges: idle instances end now, taken ones when they are given back."""
        self.native.closed = True
        for instance in self._take_all():
            self.retire(instance)

    @property
    def closed(self) -> bool:
        """Every instance has ended: the pool may be freed."""
        return bool(self.native.closed) and self.live == 0

    def reopen(self) -> None:
        """Serve again after ``close``, with a clean record."""
        self.native.closed = False
        self.suspended = self.held
        self._record.clear()
        self._quarantined_until = self._last_pause = 0.0

    def free(self) -> None:
        """Free plugin and module. Every instance must have ended."""
        tell_dropped(self.plugin, 0.0)
        self.plugin.close()
        self.plugin.module.close()

    def memory_high_water(self) -> int:
        """Bytes of the largest linear memory that an instance was seen with, since the pool was made."""
        sizes = (instance.memory_size() for instance in self.instances.values())
        self._largest_memory = max(self._largest_memory, *sizes, 0)
        return self._largest_memory

    def statistics(self, now: float) -> PoolStatistics:
        return PoolStatistics(
            live=self.live,
            idle=self.idle,
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
            waiter = self.waiters.popleft()
            self.native.waiting = len(self.waiters)
            waiter()
