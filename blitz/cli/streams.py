"""Standard streams in any state: who starts us may have closed them (cron, daemonizers, ``2>&-``)."""

from __future__ import annotations

import os
import sys

__all__ = ["occupy_standard_streams"]


def occupy_standard_streams() -> None:
    """Let the descriptors 0 to 2 lead to /dev/null where they are closed.

    Else the next socket or file that is opened gets one of them, and what is printed goes there.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, "r", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
