"""Where figures are counted: memory that the workers of a service share, a slot for each.

Counters never go back: a worker that comes after one that has ended, or crashed, gets its slot as it is and
counts on. Gauges are what a worker says of itself, and go with it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import InternalError

from . import figures
from .figures import FIGURES, Figure

__all__ = ["Measures", "Merged", "SharedMeasures", "labels_of"]

NORESERVE = 0x4000  # MAP_NORESERVE of Linux: a slot takes memory as it is used
_HOW = bytes(figure.merge for figure in FIGURES)
_ROUTE = ffi.new(
    "blitz_route_figures *",
    {
        "requests": figures.REQUESTS.number,
        "total": figures.REQUEST_SECONDS.number,
        "gateway": figures.GATEWAY_SECONDS.number,
        "plugins": figures.PLUGINS_SECONDS.number,
        "upstream": figures.UPSTREAM_SECONDS.number,
        "received": figures.REQUEST_BYTES.number,
        "sent": figures.RESPONSE_BYTES.number,
    },
)
_CUSTOM = ffi.new(
    "blitz_plugin_figures *",
    {
        "count": figures.CUSTOM_COUNT.number,
        "gauge": figures.CUSTOM_GAUGE.number,
        "observed": figures.CUSTOM_OBSERVED.number,
        "refused": figures.CUSTOM_REFUSED.number,
    },
)
_HOOKS = ("process_request", "process_response")
_VERDICTS = {"passed": "continue", "stopped": "stop", "failed": "error", "faulted": "fault", "cut": "cut"}
Told = tuple[Figure, float, tuple[str, ...]]


class SharedMeasures:
    """Memory for *slots* writers, numbered from 0; made before the fork."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self._size = lib.blitz_measures_slot_size()
        self._memory = mmap.mmap(-1, slots * self._size, flags=mmap.MAP_SHARED | NORESERVE)
        self._bytes: Any = ffi.from_buffer("uint8_t[]", self._memory)

    def slot(self, number: int) -> Any:
        """cffi ``uint8_t *``; keep this object."""
        if not 0 <= number < self.slots:
            raise IndexError(f"slot {number} of {self.slots}")
        return self._bytes + number * self._size

    def forget_gauges(self, number: int) -> None:
        """The writer of a slot is gone; its counts stay."""
        lib.blitz_measures_forget_gauges(self.slot(number))

    def merged(self) -> Merged:
        """All slots as one, as they are now."""
        return Merged(lib.blitz_measures_merge(self._bytes, self.slots, _HOW, len(_HOW)))


class Merged:
    """What all workers have counted, at one moment; valid while the memory is there."""

    def __init__(self, native: Any) -> None:
        if native == ffi.NULL:
            raise InternalError("out of memory for merging figures")
        self.native = ffi.gc(native, lib.blitz_merged_free)

    @property
    def refused(self) -> int:
        """Series that found no room."""
        return int(lib.blitz_merged_refused(self.native))

    def value(self, figure: Figure, *labels: str) -> float:
        """A count, a gauge, or how many values a histogram has; 0.0 when nobody has told any."""
        text = labels_of(figure, labels)
        value = float(lib.blitz_merged_value(self.native, figure.number, text, len(text)))
        return value if value == value else 0.0


class Measures:
    """What one process counts: the writing side of one slot, of which there may be one at a time.

    Every call takes the declaration of a figure and the values of its labels, in their order. A series that
    has no room is not kept, and that is counted; nothing is raised.

    Args:
        shared: with the other workers; None: memory of its own.
    """

    def __init__(self, shared: SharedMeasures | None = None, slot: int = 0) -> None:
        self.shared = shared or SharedMeasures()
        native = lib.blitz_measures_open(self.shared.slot(slot))
        if native == ffi.NULL:
            raise InternalError("out of memory for figures")
        self.native: Any = ffi.gc(native, lib.blitz_measures_close)
        self._cells: dict[tuple[int, tuple[str, ...]], Any] = {}
        self._routes: dict[str, Any] = {}
        self._plugins: dict[str, Any] = {}
        self._gauges: dict[tuple[int, tuple[str, ...]], Any] = {}
        self._followed: dict[tuple[int, int], tuple[object, int]] = {}

    def cells(self, figure: Figure, *labels: str) -> Any:
        """The cells of a series, cffi ``uint64_t *``, for C to count; valid as long as this object."""
        key = figure.number, labels
        cells = self._cells.get(key)
        if cells is None:
            text = labels_of(figure, labels)
            cells = lib.blitz_measures_series(self.native, figure.number, figure.kind, text, len(text))
            self._cells[key] = cells
        return cells

    def count(self, figure: Figure, *labels: str, n: int = 1) -> None:
        """A counter grows by *n*."""
        lib.blitz_measures_add(self.cells(figure, *labels), n)

    def observe(self, figure: Figure, value: float, *labels: str) -> None:
        """A histogram gets *value*, seconds for durations."""
        lib.blitz_measures_observe(self.cells(figure, *labels), figure.kind, value)

    # -- what is looked at now and then

    def tell(self, gauges: Iterable[Told]) -> None:
        """These are all gauges of this process now, each with its value and labels; others are told no
        more."""
        told: dict[tuple[int, tuple[str, ...]], Any] = {}
        for figure, value, labels in gauges:
            cell = told[figure.number, labels] = self.cells(figure, *labels)
            lib.blitz_measures_set(cell, value)
        for key in self._gauges.keys() - told.keys():
            lib.blitz_measures_set(self._gauges[key], float("nan"))
        self._gauges = told

    def follow(self, sources: Iterable[tuple[object, Figure, int, tuple[str, ...]]]) -> None:
        """These are all counts that others keep: each with whose it is, the figure, what it has counted
        since it was made, and the labels. The figure grows by what has come since the last time."""
        followed: dict[tuple[int, int], tuple[object, int]] = {}
        for source, figure, value, labels in sources:
            key = id(source), figure.number
            before = followed.get(key) or self._followed.get(key)
            if value > (before[1] if before is not None else 0):
                self.count(figure, *labels, n=value - (before[1] if before is not None else 0))
            followed[key] = source, value  # held, so that its id is its own
        self._followed = followed

    def follow_one(self, figure: Figure, value: int) -> None:
        """A count without labels that somebody keeps has come to *value*."""
        cells = self.cells(figure)
        if value > cells[0]:
            lib.blitz_measures_add(cells, value - cells[0])

    # -- what C counts

    def route(self, name: str) -> Any:
        """cffi ``blitz_route_measures *`` of the route of that name; "": of requests that none has
        matched."""
        route = self._routes.get(name)
        if route is None:
            text = labels_of(figures.REQUEST_SECONDS, (name,))
            native = lib.blitz_route_measures_new(self.native, _ROUTE, text, len(text))
            if native == ffi.NULL:
                raise InternalError("out of memory for figures")
            route = self._routes[name] = ffi.gc(native, lib.blitz_route_measures_free)
        return route

    def plugin(self, name: str) -> Any:
        """cffi ``blitz_plugin_measures *``: where the plugin of that name counts what it likes."""
        plugin = self._plugins.get(name)
        if plugin is None:
            text = labels_of(figures.CUSTOM_REFUSED, (name,))
            native = lib.blitz_plugin_measures_new(self.native, _CUSTOM, text, len(text))
            if native == ffi.NULL:
                raise InternalError("out of memory for figures")
            plugin = self._plugins[name] = ffi.gc(native, lib.blitz_plugin_measures_free)
        return plugin

    def watch_hooks(self, plugin: str, measured: Any) -> None:
        """Have C count the hooks of *plugin*; *measured*: cffi ``blitz_hook_measures[2]``."""
        for hook, cells in zip(_HOOKS, measured, strict=True):
            cells.seconds = self.cells(figures.PLUGIN_SECONDS, plugin, hook)
            for member, verdict in _VERDICTS.items():
                setattr(cells, member, self.cells(figures.PLUGIN_CALLS, plugin, hook, verdict))


def labels_of(figure: Figure, values: tuple[str, ...]) -> bytes:
    """NAME="VALUE",.. with the escapes of the exposition formats; what is no UTF-8 is replaced."""
    pairs = (f'{name}="{_escape(value)}"' for name, value in zip(figure.labels, values, strict=True))
    return ",".join(pairs).encode("utf-8", "replace")


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
