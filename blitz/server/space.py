"""How many guests fit where this process may have little address space or data (RLIMIT_AS, RLIMIT_DATA).

As a rule wasmtime reserves 4 GiB of address space for each memory, so that no access to it needs a check, and
8 GiB for each slot, which has two. Nothing of that is used. Under a limit there are fewer slots, and where
even few of those do not fit, smaller ones, with a check at each access. One half of what is free is for
guests, the other for what else grows: buffers, threads, compiled code.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blitz._native import ffi, lib
from blitz.config.resolved import ResolvedPlugin
from blitz.config.units import format_size
from blitz.errors import ConfigError
from blitz.wasm.engine import MAX_INSTANCES, MAX_MEMORY_SIZE, Engine

__all__ = ["Limit", "Slots", "engine_for", "engine_to_look", "fit", "limits_here"]

KIB = 1024
MIB = 1024 * KIB

PAGE = 64 * KIB  # of a linear memory
GUARD = 64 * KIB
USUAL_MEMORY = 16 * MIB  # the default of plugin_defaults.memory: a reload may bring such a plugin
ENOUGH = 128  # so many instances of a worker are as good as any number
HEADROOM = 256 * MIB  # what the rest of a worker needs at least


@dataclass(frozen=True, slots=True)
class Limit:
    """Of this process, in bytes. what: in words, with the shell's command; used: how much of it is taken."""

    what: str
    size: int
    used: int

    def room(self, least: int) -> int:
        """Bytes for guests: a half of what is free; more only if *least* needs it."""
        free = self.size - self.used
        return free // 2 if free // 2 >= least else free - HEADROOM


@dataclass(frozen=True, slots=True)
class Slots:
    """The engine's slots for guests. said: in one line, what was chosen; "": nothing is limited."""

    max_instances: int = MAX_INSTANCES
    max_memory_size: int = MAX_MEMORY_SIZE
    reservation_size: int = 0
    guard_size: int = 0
    said: str = ""

    def engine(self) -> Engine:
        return Engine(
            self.max_instances,
            self.max_memory_size,
            self.reservation_size,
            self.guard_size,
            is_small=bool(self.said),
        )


def engine_for(plugins: Sequence[ResolvedPlugin]) -> tuple[Engine, str]:
    """An engine that has room for *plugins*, and what the operator should know of it, or "".

    Raises:
        ConfigError: the limits leave no room for one instance of each.
    """
    slots = fit(plugins, *limits_here())
    return slots.engine(), slots.said


def engine_to_look() -> Engine:
    """An engine for a module of which nothing is known, to look at it and not to run it.

    Raises:
        ConfigError: the limits leave no room for it.
    """
    address_space, _ = limits_here()
    if address_space is None:
        return Engine(1)
    free = address_space.room(_slot_size().address_space)
    if free >= _slot_size().address_space:
        return Engine(1)
    memory = (free - _slot_size(PAGE).address_space) // 2 // PAGE * PAGE
    return Engine(1, memory, memory, GUARD) if memory >= PAGE else Engine(1, PAGE, PAGE, GUARD)


def fit(plugins: Sequence[ResolvedPlugin], address_space: Limit | None, data: Limit | None) -> Slots:
    """The slots for *plugins* under these limits; None: there is none.

    Raises:
        ConfigError: they leave no room for one instance of each.
    """
    least = max(1, len(plugins))
    most = max([plugin.memory for plugin in plugins], default=PAGE)
    usual = max(most, USUAL_MEMORY)
    wanted = 2 * sum(1 if one.instances == "single" else one.max_instances for one in plugins)
    enough = least if address_space is None else max(least, min(wanted, ENOUGH))
    chosen = _count(MAX_MEMORY_SIZE, usual, enough, address_space, data, whole=True)
    if chosen is not None:
        return chosen
    for memory in (usual, most):
        memory = -(-memory // PAGE) * PAGE
        for count in (2 * least, least):  # a reload has the old instances and the new ones
            chosen = _count(memory, memory, count, address_space, data, whole=False)
            if chosen is not None:
                return chosen
    raise ConfigError(_refusal(least, most, address_space, data))


def _count(
    memory: int, in_use: int, least: int, address_space: Limit | None, data: Limit | None, *, whole: bool
) -> Slots | None:
    """As many slots for *memory* bytes as fit, or None if those are not *least*.

    Args:
        in_use: bytes of a slot that a guest may have as its memory. whole: nothing needs a check.
    """
    slot = _slot_size() if whole else _slot_size(memory)
    count, limit = MAX_INSTANCES, None
    for one, size in ((address_space, slot.address_space), (data, slot.data + in_use)):
        if one is not None and one.room(least * size) // size < count:
            count, limit = one.room(least * size) // size, one
    if limit is None and whole:
        return Slots()
    if count < least:
        return None
    limit = limit or address_space or data
    assert limit is not None
    said = (
        f"{limit.what} is limited to {format_size(limit.size)}: {count} instances of {format_size(in_use)} "
        f"per worker instead of {MAX_INSTANCES}"
    )
    if whole:
        return Slots(count, said=said)
    return Slots(count, memory, memory, GUARD, f"{said}, and every access to their memory is checked")


def _refusal(plugins: int, memory: int, address_space: Limit | None, data: Limit | None) -> str:
    slot = _slot_size(-(-memory // PAGE) * PAGE)
    for limit, size in ((address_space, slot.address_space), (data, slot.data + memory)):
        if limit is not None and limit.room(plugins * size) < plugins * size:
            needed = -(-(limit.used + HEADROOM + plugins * size) // MIB) * MIB
            return (
                f"{limit.what} is limited to {format_size(limit.size)}, and one instance of "
                f"{format_size(memory)} for each of {plugins} plugin{'s' * (plugins != 1)} needs "
                f"{format_size(needed)}: raise the limit or lower the memory of plugins"
            )
    raise AssertionError("there is room")


def limits_here() -> tuple[Limit | None, Limit | None]:
    """Address space and data of this process."""
    pages = [int(word) for word in Path("/proc/self/statm").read_text().split()]
    page = os.sysconf("SC_PAGE_SIZE")
    return (
        _limit(resource.RLIMIT_AS, "address space (ulimit -v)", pages[0] * page),
        _limit(resource.RLIMIT_DATA, "data (ulimit -d)", pages[5] * page),
    )


def _limit(which: int, what: str, used: int) -> Limit | None:
    size, _ = resource.getrlimit(which)
    return None if size == resource.RLIM_INFINITY else Limit(what, size, used)


def _slot_size(memory: int = 0) -> Any:
    """cffi ``blitz_slot_size``, of a slot for *memory* bytes, or for as much as there may be."""
    options = ffi.new("blitz_engine_options *")
    options.reservation_size = memory
    options.guard_size = GUARD
    return lib.blitz_engine_slot_size(options)
