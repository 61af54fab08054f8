"""The engine: compiles and runs guests, owns the slots they live in and the tick that preempts them.

One per process and event loop. It is made after fork, never before: a child has no tick thread and
its inherited locks are in an unknown state.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import ConfigError, InternalError
from blitz.wasm.library import find_library

__all__ = ["MAX_INSTANCES", "MAX_MEMORY_SIZE", "Engine", "EngineStatistics"]

KIB = 1024
MIB = 1024 * KIB

MAX_INSTANCES = 1024
MAX_MEMORY_SIZE = 4096 * MIB  # all that 32 bits reach

# Bytes of a slot that stay mapped between two uses, and are cleared between them. Less costs page faults
# per fresh instance (16 KiB: 11 µs for a guest that needs 20, instead of 5). More costs clearing, and is
# resident in every slot that was ever used: with 64 KiB a live instance takes 76 KB, with 32 it takes 44.
KEEP_RESIDENT_SIZE = 32 * KIB
# The epoch tick: how long a busy guest may hold the event loop.
TICK_US = 1000
ERROR_SIZE = 1024
# Raise it when native/engine.c or sections.py changes what the engine makes of a module: it names entries of
# the compile cache.
SETTINGS = 4


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Counters since the engine was made; ``instances_live``, ``memory_size`` and ``parked`` are as of now.

    Attributes:
        ticks: epoch ticks so far.
        calls: guest calls started.
        pended: time slices that ended before the guest did.
        instances_live: instances that exist.
        instances_made: instances ever made.
        memory_size: bytes of linear memory of all live instances.
        parked: the tick thread sleeps, because no guest runs.
    """

    ticks: int
    calls: int
    pended: int
    instances_live: int
    instances_made: int
    memory_size: int
    parked: bool


class Engine:
    """Owns the native engine.

    Args:
        max_instances: slots for guests, of all plugins together. Costs address space (8 GiB each), no memory.
        max_memory_size: bytes; the largest linear memory any plugin may have.
        reservation_size, guard_size: bytes of address space for a memory and behind it, when there is little
            (``blitz.wasm.space``); 0: so much that no access needs a check. Compiled code depends on both.

    Attributes:
        is_small: address space or data of this process are limited, and the numbers above follow from that.

    Raises:
        ConfigError: the library is missing or of another version, or the address space is limited.
    """

    def __init__(
        self,
        max_instances: int = MAX_INSTANCES,
        max_memory_size: int = MAX_MEMORY_SIZE,
        reservation_size: int = 0,
        guard_size: int = 0,
        *,
        is_small: bool = False,
    ) -> None:
        options = ffi.new("blitz_engine_options *")
        options.max_instances = max_instances
        options.max_memory_size = max_memory_size
        options.reservation_size = reservation_size
        options.guard_size = guard_size
        options.keep_resident_size = KEEP_RESIDENT_SIZE
        options.tick_us = TICK_US
        error = ffi.new("char[]", ERROR_SIZE)
        self.max_instances = max_instances
        self.max_memory_size = max_memory_size
        self.is_small = is_small
        self.compiles_for = f"{max_memory_size}:{reservation_size}:{guard_size}"
        self._modules = 0  # alive; they must go first
        self._users = 0  # threads that may be left behind, and use it still
        self._ending = False
        self._lock = threading.Lock()  # modules may be compiled in other threads
        self._process = os.getpid()
        self._ptr: Any = lib.blitz_engine_new(os.fsencode(find_library()), options, error, ERROR_SIZE)
        self._last: EngineStatistics | None = None
        if self._ptr == ffi.NULL:
            raise ConfigError(ffi.string(error).decode("utf-8", "replace"))

    @property
    def ptr(self) -> Any:
        """The native engine. InternalError after close() or in a forked child."""
        if self._ptr is None:
            raise InternalError("the engine is closed")
        if self._process != os.getpid():
            raise InternalError("the engine was made before fork: each process makes its own")
        return self._ptr

    def count_module(self, change: int) -> None:
        """A module came (1) or went (-1). Any thread."""
        with self._lock:
            self._modules += change

    @property
    def settings(self) -> str:
        """What compiled code depends on besides the module, wasmtime and the processor."""
        return f"{SETTINGS} {self.compiles_for}"

    def share(self, plugins: int) -> int:
        """How many instances each of *plugins* may have at most: where there are few, none may have all of
        them, and a reload has the old ones and the new ones for a while."""
        return max(1, self.max_instances // (2 * max(1, plugins))) if self.is_small else self.max_instances

    @classmethod
    def to_compile_for(cls, compiles_for: str) -> Engine:
        """One that compiles what an engine whose ``compiles_for`` that is will load."""
        return cls(1, *map(int, compiles_for.split(":")))

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """For a thread that nobody may wait for: ``close`` takes effect once it has left this.

        Raises:
            InternalError: it is closed.
        """
        with self._lock:
            if self._ending:
                raise InternalError("the engine is closed")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                last = self._ending and not self._users
            if last:
                self.close()

    def close(self) -> None:
        """Stop the tick thread and free everything. All modules must be closed before."""
        if self._ptr is None or self._process != os.getpid():
            return
        with self._lock:
            self._ending = True
            if self._users:
                return
        if self._modules:
            raise InternalError(f"the engine is closed while {self._modules} modules are in use")
        self._last = self.statistics()
        lib.blitz_engine_free(self._ptr)
        self._ptr = None

    def statistics(self) -> EngineStatistics:
        """Counts since the engine was made; after close() those of its end."""
        if self._last is not None:
            return self._last
        raw = ffi.new("blitz_engine_stats *")
        lib.blitz_engine_statistics(self.ptr, raw)
        return EngineStatistics(
            ticks=raw.ticks,
            calls=raw.calls,
            pended=raw.pended,
            instances_live=raw.instances_live,
            instances_made=raw.instances_made,
            memory_size=raw.memory_bytes,
            parked=bool(raw.parked),
        )
