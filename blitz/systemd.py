"""What systemd and its likes tell a service, and what they want to hear: sd_notify(3), sd_listen_fds(3)."""

from __future__ import annotations

import os
import socket
import time

__all__ = ["inherited_sockets", "notify", "notify_reloading", "watchdog_interval"]

FIRST_FD = 3


def notify(state: str) -> bool:
    """Send *state*, such as ``READY=1``, to whoever started us and listens. False when nobody does."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), address)
    except OSError:
        return False
    return True


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
