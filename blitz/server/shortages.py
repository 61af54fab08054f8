"""What the system keeps from this process, so that connections wait: descriptors, memory, a listener.

Each trouble is said once as it begins and once when it is over, and stands in ``/readyz`` between. It is over
when it was not met for a while: descriptors that come and go one at a time are one episode.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
from dataclasses import dataclass

import trio

__all__ = ["SETTLED", "Shortages", "has_no_descriptor", "shortage"]

_log = logging.getLogger("blitz.server")

SETTLED = 3.0  # seconds without a trouble until it is over
SHORT = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))


def shortage(exc: OSError) -> int:
    """The error's number if it is this machine that is short of something; 0: it is something else.

    A resolver that cannot open its files says that there is no such name: then it is looked at.
    """
    if isinstance(exc, socket.gaierror):
        return has_no_descriptor()
    return exc.errno if exc.errno in SHORT else 0


def has_no_descriptor() -> int:
    """0 when one can be had, else the number of the error."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as exc:
        return exc.errno if exc.errno in SHORT else 0
    return 0


@dataclass(slots=True)
class _Trouble:
    sentence: str
    began: float
    met: float


class Shortages:
    """Of one process. Times are trio's.

    Attributes:
        dead: why a listener is dead, "" while all live.
    """

    def __init__(self) -> None:
        self.dead = ""
        self._now: dict[int, _Trouble] = {}
        self._died = trio.Event()

    @property
    def why(self) -> str:
        """Why connections that are given to this process wait; "" when they do not."""
        return "; ".join(filter(None, [self.dead, *(trouble.sentence for trouble in self._now.values())]))

    def meet(self, number: int) -> None:
        """The system refused something with that error just now."""
        now = trio.current_time()
        trouble = self._now.get(number)
        if trouble is None:
            trouble = self._now[number] = _Trouble(_sentence(number), now, now)
            _log.error("%s: new connections wait", trouble.sentence)
        trouble.met = now

    def look(self) -> None:
        """Once a second: what has begun unnoticed, and what is over?"""
        number = has_no_descriptor()
        if number:
            self.meet(number)
        now = trio.current_time()
        for number, trouble in list(self._now.items()):
            if now - trouble.met >= SETTLED:
                del self._now[number]
                _log.warning("over after %.0f s: %s", now - trouble.began, trouble.sentence)

    def listener_died(self, sentence: str) -> None:
        """No connection comes by one of the listeners any more."""
        if not self.dead:
            self.dead = sentence
            _log.error("%s: draining, and ending with a failure", sentence)
        self._died.set()

    async def wait_listener_died(self) -> None:
        await self._died.wait()


def _sentence(number: int) -> str:
    if number == errno.EMFILE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"no descriptor is left of the {most} that this process may have (LimitNOFILE=, ulimit -n)"
    if number == errno.ENFILE:
        return "no descriptor is left on this machine (fs.file-max)"
    return f"the system refuses: {os.strerror(number)} ({errno.errorcode.get(number, number)})"
