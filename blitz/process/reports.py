"""What workers tell their parent: that they serve and what they run on, or why they cannot.

A message is one packet of a socket that all workers share. What a worker runs on is as large as the
configuration: it comes as the descriptor of a file in memory beside the packet. So the parent reads no
file that could keep it, and knows the last configuration that worked. Nobody waits for the other side: a
worker whose report is not taken serves on, and sends what it runs on by then again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from dataclasses import dataclass

import msgspec

from blitz.config import Served
from blitz.gateway import Change
from blitz.trouble import Trouble, reason_of

__all__ = ["Report", "Reports"]

PACKET = 65536
MAX_ERROR = 16384  # letters; a packet has room for them in any encoding
LAST_TRIES, LAST_PAUSE = 30, 0.1  # seconds; the parent reads at least every second

_log = logging.getLogger("blitz.workers")
_reading = Trouble(_log, "reports of workers", "what they run on by now is not known")


@dataclass(frozen=True, slots=True)
class Report:
    """What the worker *pid* says: *error*, why it cannot serve; *served*, what it runs on from now on;
    *leaving*: somebody else told it to end; *drained*: exchanges in flight when it began to drain, and
    cut off; *change*: an operator has asked it for that."""

    pid: int
    error: str = ""
    served: Served | None = None
    leaving: bool = False
    drained: tuple[int, int] | None = None
    change: Change | None = None


class Reports:
    """Both ends of the socket, made before the fork."""

    def __init__(self) -> None:
        self._parents, self._workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._parents.setblocking(False)
        self._workers.setblocking(False)
        self._unsent: Served | None = None

    def only_send(self) -> None:
        """As a worker: the parent's end is the parent's alone."""
        self._parents.close()

    def send(
        self,
        error: str = "",
        served: Served | None = None,
        *,
        leaving: bool = False,
        drained: tuple[int, int] | None = None,
        change: Change | None = None,
    ) -> None:
        """As a worker: say it, without waiting. Nobody hears it when the parent is gone.

        Raises:
            OSError: it is not taken now (BlockingIOError), or there is no descriptor or memory for it.
        """
        said = {
            "pid": os.getpid(),
            "error": error[:MAX_ERROR],
            "served": served is not None,
            "leaving": leaving,
            "drained": drained,
            "change": change,
        }
        fds = [] if served is None else [_write(served)]
        try:
            socket.send_fds(self._workers, [json.dumps(msgspec.to_builtins(said)).encode()], fds)
        except ConnectionError:
            return
        finally:
            for fd in fds:
                os.close(fd)

    def ask(self, change: Change) -> None:
        """As a worker: have all workers do it. Raises OSError."""
        self.send(change=change)

    def ask_to_leave(self) -> None:
        """As a worker: somebody else tells it to end. Not said again: without an answer it ends by itself."""
        with contextlib.suppress(OSError):
            self.send(leaving=True)

    def send_last(self, error: str = "", *, drained: tuple[int, int] | None = None) -> None:
        """As a worker that ends: say why, or what was in flight; waits a little for the parent to take it."""
        for _ in range(LAST_TRIES):
            try:
                self.send(error, drained=drained)
                return
            except OSError:
                time.sleep(LAST_PAUSE)

    def fileno(self) -> int:
        """As the parent: readable when there is something to read."""
        return self._parents.fileno()

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
                served = _read(fds[0]) if said["served"] else None
                drained = tuple(said["drained"]) if said["drained"] is not None else None
                change = msgspec.convert(said["change"], Change | None)
                reports.append(Report(said["pid"], said["error"], served, said["leaving"], drained, change))
                _reading.ends()
            except (OSError, MemoryError, ValueError, LookupError) as exc:  # no descriptor was left, say
                _reading.begins(reason_of(exc))
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
