"""Signals before anything of ours can obey them, and the set that parent and workers obey.

What a signal does before somebody has said so is the system's choice: it ends the process, or, if that is
process 1 of a container, does nothing, and a SIGTERM gets lost. So the command holds signals back with its
first instruction, and lets them go again once it is known which command runs.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["ENDING", "SIGNALS", "end_at_once", "for_command", "hold", "ignore_in_worker"]

ENDING = frozenset((signal.SIGTERM, signal.SIGINT))
ORDERS = frozenset((signal.SIGHUP, signal.SIGUSR2))
SIGNALS = ENDING | ORDERS | {signal.SIGCHLD}  # what the parent obeys
_held = False


def hold() -> None:
    """Nothing happens to this process from now on. What comes waits; SIGUSR1 has no meaning and is forgotten,
    in every process that this one starts, too."""
    global _held
    _held = True
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING | ORDERS)


def for_command(*, serves: bool) -> None:
    """The command is known: let go what it does not obey itself. Does nothing where nothing is held.

    One that serves ends at once with 0 when it is told to before it does: nothing is lost by that. SIGHUP
    and SIGUSR2 wait until it serves.
    """
    if not _held:
        return
    if serves:
        end_at_once()
        return
    if os.getpid() == 1:  # without a handler, signals that would end it are nothing to process 1
        signal.signal(signal.SIGTERM, _end_by)
        signal.signal(signal.SIGHUP, _end_by)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING | ORDERS)


def end_at_once() -> None:
    """SIGTERM and SIGINT end this process with 0, whatever it does."""
    for number in ENDING:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def ignore_in_worker() -> None:
    """As a worker that was just forked, with SIGNALS blocked: forget the parent's handlers.

    Handlers that do nothing, and not SIG_IGN: that would drop what waits. They are what is left when the
    worker's own are gone again, in its last moments.
    """
    for number in SIGNALS - {signal.SIGCHLD}:
        signal.signal(number, _nothing)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def _end_by(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
