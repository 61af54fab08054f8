"""What systemd and its likes tell a service, and what they want to hear: sd_notify(3), sd_listen_fds(3)."""

from __future__ import annotations

import logging
import os
import socket
import time

from blitz.trouble import Trouble, reason_of

__all__ = ["inherited_sockets", "notify", "notify_again", "notify_reloading", "watchdog_interval"]

FIRST_FD = 3
WATCHDOG = "WATCHDOG=1"
MAX_UNTOLD = 16  # more than a reload, a start and an end


_log = logging.getLogger("blitz.workers")
_trouble = Trouble(_log, "telling systemd how it goes", "it takes the service for what it was told last")
_untold: list[str] = []  # newest last


def notify(state: str) -> bool:
    """Send *state*, such as ``READY=1``, to whoever started us and listens. False when nobody does, or takes
    it now: then ``notify_again`` sends it. Never waits: who listens may be stopped, with its queue full."""
    if not _address():
        return False
    if state != WATCHDOG or not _untold:  # the next one says the same
        _untold.append(state)
        del _untold[:-MAX_UNTOLD]
    return notify_again()


def notify_again() -> bool:
    """Send what was not taken, in order. False: something is left."""
    try:
        while _untold:
            flags = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            with socket.socket(socket.AF_UNIX, flags) as sock:
                sock.sendto(_untold[0].encode(), _address())
            del _untold[0]
    except OSError as exc:
        _trouble.begins(reason_of(exc))
        return False
    _trouble.ends()
    return True


def _address() -> str:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address.startswith("@"):
        return "\0" + address[1:]  # abstract namespace
    return address if address.startswith("/") else ""


def notify_reloading() -> None:
    """Say that a reload begins; systemd wants the monotonic time with it. End it with ``READY=1``."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float:
    """Seconds between two ``WATCHDOG=1``: half of what systemd allows; 0.0 when it does not watch us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    except ValueError:
        return 0.0


def inherited_sockets() -> list[socket.socket]:
    """Listening sockets that were passed to this process (socket activation); [] when none were.

    The variables are removed: children must not take the sockets for theirs.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    sockets = []
    for fd in range(FIRST_FD, FIRST_FD + int(count)):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets
