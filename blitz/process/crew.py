"""The workers that there are, each in a place from 0: who serves, who is to end, who has ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from blitz.process.child import ChildProcess

__all__ = ["Crew"]

LEAVING_TIMEOUT = 10.0  # seconds a worker that somebody told to end stays for its successor to serve


class Crew:
    """
    Attributes:
        children: process id -> worker, of every generation, until it was reaped.
    """

    def __init__(self) -> None:
        self.children: dict[int, ChildProcess] = {}

    def of(self, generation: int) -> list[ChildProcess]:
        return [child for child in self.children.values() if child.generation == generation]

    def staying(self, which: Callable[[ChildProcess], bool]) -> dict[int, ChildProcess]:
        """Those of *which* that nobody has told to end."""
        return {pid: child for pid, child in self.children.items() if which(child) and not child.told_to_end}

    def taken_places(self, generation: int, *, ready: bool = False) -> set[int]:
        """Places of *generation* whose worker goes on; *ready*: and serves."""
        mine = [child for child in self.of(generation) if not child.told_to_end]
        return {child.place for child in mine if child.ready or not ready}

    def serving(self) -> int:
        """How many serve, those included that were told to end."""
        return sum(child.ready for child in self.children.values())

    def changing(self) -> bool:
        """One of them starts, or waits to leave: there is something to look for often."""
        return any(not child.ready or child.leaving_since for child in self.children.values())

    def silent(self) -> bool:
        """One of them has sent no heartbeat for too long."""
        return any(child.silent_since for child in self.children.values())

    def may_leave(self, now: float) -> dict[int, ChildProcess]:
        """Those that somebody told to end and whose successors serve, or whose time is over."""
        here = {child.place for child in self.children.values() if child.ready and not child.leaving_since}
        return self.staying(
            lambda child: (
                child.leaving_since > 0
                and (child.place in here or now - child.leaving_since > LEAVING_TIMEOUT)
            )
        )

    def order_end(self, children: dict[int, ChildProcess], *, alone: bool, delay: bool = False) -> None:
        """Order a drain; alone, delay: see ``Order``. Those that do not serve yet need the signal too."""
        for child in children.values():
            child.told_to_end = True
            child.orders.say("end", alone=alone, delay=delay)

    def send(self, number: signal.Signals, children: dict[int, ChildProcess]) -> None:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                if number == signal.SIGTERM:
                    os.kill(pid, signal.SIGCONT)  # a stopped one would not hear it

    def reap(self) -> Iterator[tuple[int, ChildProcess, int]]:
        """Process id, worker and exit code (negative: the signal) of each that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return  # there is none
            if not pid:
                return
            child = self.children.pop(pid, None)
            if child is None:
                continue  # as process 1 of a container we get everybody's orphans
            child.orders.close()
            yield pid, child, os.waitstatus_to_exitcode(status)

    def who_is_left(self, of: int) -> str:
        """For the log: how many of *of* serve now."""
        left = len(self.staying(lambda child: child.ready))
        if not left:
            return "none is left, and nobody is served until then"
        return f"{left} of {of} serve{'s' if left == 1 else ''}"
