"""What workers tell their parent: that they serve and what they run on, or why they cannot.

A message is one packet of a socket that all workers share. What a worker runs on is as large as the
configuration: it comes as the descriptor of a file in memory beside the packet. So the parent reads no
file that could keep it, and knows the last configuration that worked.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass

import msgspec

from blitz.config import Served

__all__ = ["Report", "Reports"]

PACKET = 65536
MAX_ERROR = 16384  # letters; a packet has room for them in any encoding
FULL_PAUSE = 0.01  # seconds; the parent reads at least every second


@dataclass(frozen=True, slots=True)
class Report:
    """What the worker *pid* says: *error*, why it cannot serve; or *served*, what it runs on from now on."""

    pid: int
    error: str = ""
    served: Served | None = None


class Reports:
    """Both ends of the socket, made before the fork."""

    def __init__(self) -> None:
        self._parents, self._workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._parents.setblocking(False)
        self._workers.setblocking(False)

    def only_send(self) -> None:
        """As a worker: the parent's end is the parent's alone."""
        self._parents.close()

    def send(self, error: str = "", served: Served | None = None) -> None:
        """As a worker: say it. Nobody hears it when the parent is gone."""
        packet = json.dumps({"pid": os.getpid(), "error": error[:MAX_ERROR]}).encode()
        fds = [] if served is None else [_write(served)]
        try:
            while True:
                try:
                    socket.send_fds(self._workers, [packet], fds)
                    return
                except BlockingIOError:
                    time.sleep(FULL_PAUSE)
                except ConnectionError:
                    return
        finally:
            for fd in fds:
                os.close(fd)

    def read(self) -> list[Report]:
        """As the parent: what was said since the last look."""
        reports: list[Report] = []
        while True:
            try:
                packet, fds, _, _ = socket.recv_fds(self._parents, PACKET, 1)
            except BlockingIOError:
                return reports
            try:
                said = json.loads(packet)
                reports.append(Report(said["pid"], said["error"], _read(fds[0]) if fds else None))
            finally:
                for fd in fds:
                    os.close(fd)

    def close(self) -> None:
        self._parents.close()
        self._workers.close()


def _write(served: Served) -> int:
    # json and not msgspec's own: names of files may hold surrogates.
    content = json.dumps(msgspec.to_builtins(served)).encode()
    fd = os.memfd_create("blitz-served", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    return fd


def _read(fd: int) -> Served:
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return msgspec.convert(json.loads(file.read()), Served)
