"""What went wrong in plugins: a ring of the recent faults, and a message in the log for each.

A guest must not be able to fill the disk by failing: messages are bounded per plugin and time, and what
was left out is counted and told. The ring holds every fault.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blitz.flood import Flood
from blitz.measures.figures import PLUGIN_FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from blitz.errors import PluginError
    from blitz.measures import Measures

__all__ = ["Fault", "FaultLog"]

_log = logging.getLogger("blitz.plugin")

MAX_FAULTS = 256
MAX_MESSAGES = 20  # of one plugin in blitz.flood.WINDOW: as many as make a quarantine


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


class FaultLog:
    """The recent faults of one gateway.

    Attributes:
        on_fault: called with each.
    """

    def __init__(self, measures: Measures | None = None) -> None:
        """*measures*: where faults are counted."""
        self._measures = measures
        self._ring: deque[Fault] = deque(maxlen=MAX_FAULTS)
        self._flood = Flood(MAX_MESSAGES)
        self.on_fault: Callable[[Fault], object] = _ignore

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
        self.on_fault(fault)
        if self._measures is not None:
            self._measures.count(PLUGIN_FAULTS, error.plugin, error.kind)
        self.tell_left_out()
        if self._flood.admit(error.plugin, time.monotonic()):
            _tell(fault, outcome)

    def tell_left_out(self, *, early: bool = False) -> None:
        """Log how many faults were not, in windows that have ended; *early*: in all, so far."""
        now = time.monotonic()
        if now < self._flood.due and not early:
            return
        for left_out in self._flood.take_ended(now, early=early):
            _log.warning(
                "[WASM Plugin] %s failed: %s",
                left_out.kind,
                left_out,
                extra={"plugin": left_out.kind, "more": left_out.count, "seconds": left_out.seconds},
            )


def _ignore(fault: Fault) -> None:
    pass


def _tell(fault: Fault, outcome: str) -> None:
    """One line; whoever shows it may take its pieces, ``block``."""
    version = f" (version {fault.version})" if fault.version else ""
    where = [f"request {fault.request_id}"] if fault.request_id else []
    where += [f"route {fault.route}"] if fault.route else []
    where += [outcome] if outcome else []
    block = [f"[WASM Plugin] {fault.message}{version}"]
    if where:
        block.append(", ".join(where))
    block += [f"at {frame}" for frame in fault.frames]
    about = {
        "plugin": fault.plugin,
        "version": fault.version,
        "hook": fault.hook,
        "kind": fault.kind,
        "frames": fault.frames,
        "id": fault.request_id,
        "route": fault.route,
        "outcome": outcome,
    }
    _log.warning("%s", "; ".join(block), extra=about | {"block": tuple(block)})
