"""Signals before anything of ours can obey them, and the set that parent and workers obey.

What a signal does before somebody has said so is the system's choice: it ends the process, or, if that is
process 1 of a container, does nothing, and a SIGTERM gets lost. So the command holds signals back with its
first instruction, and lets them go again once it is known which command runs.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from types import FrameType

__all__ = ["ENDING", "SIGNALS", "SignalQueue", "end_at_once", "for_command", "hold", "ignore_in_worker"]

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


class SignalQueue:
    """SIGNALS, one at a time, once they are blocked.

    ``sigtimedwait`` alone would do, but Python's returns what happens to be in memory when the process was
    stopped and has gone on after the time was over.
    """

    def __init__(self) -> None:
        mask = (ctypes.c_uint64 * 16)(sum(1 << (number - 1) for number in SIGNALS))  # a sigset_t of libc
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "signalfd: " + os.strerror(ctypes.get_errno()))
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def wake_for(self, fd: int) -> None:
        """``wait`` returns too when *fd* is readable."""
        self._poll.register(fd, select.POLLIN)

    def wait(self, timeout: float) -> signal.Signals | None:
        """The next signal; None when there is none for *timeout* seconds, or something else to see to."""
        self._poll.poll(timeout * 1000)
        info = signal.sigtimedwait(SIGNALS, 0)
        return None if info is None else signal.Signals(info.si_signo)

    def close(self) -> None:
        os.close(self._fd)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def _end_by(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
