"""What went wrong in plugins: a ring of the recent faults, and a block in the log for each.

A guest must not be able to fill the disk by failing: blocks are bounded per plugin and time, and what
was left out is counted in the next one. The ring holds every fault.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blitz.errors import PluginError

__all__ = ["Fault", "FaultLog"]

_log = logging.getLogger("blitz.plugin")

MAX_FAULTS = 256
MAX_BLOCKS = 20  # of one plugin ...
BLOCK_WINDOW = 10.0  # ... in so many seconds: as many as make a quarantine


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plugin.

    Attributes:
        time: seconds since the epoch.
        version: as its manifest says, or "".
        hook: the export that ran, or "".
        kind: ``trap``, ``timeout``, ``memory``, ``verdict``, ``reroute`` or ``load``.
        message: one sentence.
        frames: guest frames, innermost first: ``function  file:line`` where debug information is there.
        request_id: of the exchange, as its answer and access line say it; "" outside of one.
        route: its name; "" before a route was chosen.
    """

    time: float
    plugin: str
    version: str
    hook: str
    kind: str
    message: str
    frames: tuple[str, ...]
    request_id: str
    route: str


@dataclass(slots=True)
class _Window:
    began: float
    blocks: int = 0
    left_out: int = 0


class FaultLog:
    """The recent faults of one gateway."""

    def __init__(self) -> None:
        self._ring: deque[Fault] = deque(maxlen=MAX_FAULTS)
        self._windows: dict[str, _Window] = {}

    def recent(self) -> tuple[Fault, ...]:
        """The last MAX_FAULTS faults, oldest first."""
        return tuple(self._ring)

    def note(self, error: PluginError, *, request_id: str = "", route: str = "", outcome: str = "") -> None:
        """Keep *error* and log it; *outcome* says in words what it meant for the exchange."""
        fault = Fault(
            time=time.time(),
            plugin=error.plugin,
            version=error.version,
            hook=error.hook,
            kind=error.kind,
            message=error.message,
            frames=error.frames,
            request_id=request_id,
            route=route,
        )
        self._ring.append(fault)
        left_out = self._admit(error.plugin)
        if left_out is not None:
            _log.warning("%s", _block(fault, outcome, left_out))

    def _admit(self, plugin: str) -> int | None:
        """How many faults of *plugin* were not logged before this one; None: leave this one out too."""
        now = time.monotonic()
        window = self._windows.get(plugin)
        left_out = 0
        if window is None or now - window.began > BLOCK_WINDOW:
            left_out = window.left_out if window is not None else 0
            window = self._windows[plugin] = _Window(now)
        if window.blocks >= MAX_BLOCKS:
            window.left_out += 1
            return None
        window.blocks += 1
        return left_out


def _block(fault: Fault, outcome: str, left_out: int) -> str:
    version = f" (version {fault.version})" if fault.version else ""
    where = [f"request {fault.request_id}"] if fault.request_id else []
    where += [f"route {fault.route}"] if fault.route else []
    where += [outcome] if outcome else []
    lines = [f"[WASM Plugin] {fault.message}{version}"]
    if where:
        lines.append(", ".join(where))
    lines += [f"at {frame}" for frame in fault.frames]
    if left_out:
        lines.append(f"{left_out} more faults of {fault.plugin} before this one were not logged")
    return "\n    ".join(lines)
