"""The heartbeat of workers: a stopped one, or one whose event loop spins, is killed and replaced.

Each writes its number into a pipe that all share, once a second, from its event loop. The parent counts how
long it has heard nothing of each, and only time in which it was awake itself: on a suspended machine,
or in a frozen container, everybody was silent and nobody hung. Loading plugins does not run on the event
loop, so a worker that compiles for minutes beats all the while.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import struct
import time
from collections.abc import Mapping

from blitz.process.child import ChildProcess

__all__ = ["BEAT", "Heartbeat", "Pulse"]

_log = logging.getLogger("blitz.workers")

BEAT = 1.0  # seconds between two beats of a worker
LATE = 5.0  # seconds of silence after which it is not counted on
MIN_PATIENCE = 3 * BEAT
MAX_STEP = 2.0  # seconds between two looks; the parent takes at most one, unless it was not awake
_PID = struct.Struct("=i")  # written whole, or not at all
_READ = 4096 * _PID.size


class Heartbeat:
    """Both ends of the pipe, made before the fork. A full one (the parent is stopped) loses beats."""

    def __init__(self) -> None:
        self._in, self._out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def only_beat(self) -> None:
        """As a worker: the parent's end is the parent's alone."""
        os.close(self._in)

    def beat(self) -> None:
        """As a worker: say that the event loop runs."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._out, _PID.pack(os.getpid()))

    def read(self) -> set[int]:
        """As the parent: who beat since the last look."""
        heard: set[int] = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._in, _READ):
                heard.update(pid for (pid,) in _PID.iter_unpack(data))
        return heard

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)


class Pulse:
    """What the parent makes of it.

    Args:
        most: seconds of silence that a starting worker is allowed at least. now: monotonic.
    """

    def __init__(self, most: float, now: float) -> None:
        self.heartbeat = Heartbeat()
        self._most = most
        self._looked = now

    def look(self, children: Mapping[int, ChildProcess], patience: float, now: float) -> bool:
        """Count the silence of *children*; kill those that were silent for *patience* seconds.

        Returns:
            True when another one is late than before.
        """
        step = now - self._looked
        if step > MAX_STEP:
            step = 0.0
        self._looked = now
        heard = self.heartbeat.read()
        late = min(LATE, patience / 2)
        changed = False
        for pid, child in children.items():
            before = child.silent_since
            if pid in heard:
                _note_beat(pid, child)
            else:
                child.silent += step
                if child.silent >= late and not before:
                    child.silent_since = time.time() - child.silent
                if child.silent >= (patience if child.ready else max(patience, self._most)):
                    _kill(pid, child)
            changed |= child.silent_since != before
        return changed

    def kill_late(self, children: Mapping[int, ChildProcess]) -> None:
        """Nobody waits for those that are late any longer."""
        for pid, child in children.items():
            if child.silent_since:
                _kill(pid, child)


def _note_beat(pid: int, child: ChildProcess) -> None:
    if child.silent_since and not child.hung:
        _log.warning(
            "worker %d (process %d) is back: it was stopped, or its event loop held up, for %.0f s",
            child.place,
            pid,
            child.silent,
        )
    child.silent = child.silent_since = 0.0


def _kill(pid: int, child: ChildProcess) -> None:
    if child.hung:
        return  # it was, and is on its way
    child.hung = True
    _log.error(
        "worker %d (process %d) has said nothing for %.0f s: it is stopped, or its loop spins; killing it",
        child.place,
        pid,
        child.silent,
    )
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # a stopped process takes no other
