"""Who takes from the queue of a place whose own worker does not serve: the one of the others that has least
to take. Connections in it are served at once, and none is reset when the place stays empty.
"""

from __future__ import annotations

from collections import Counter

from blitz.process.child import ChildProcess
from blitz.process.queues import Queues

__all__ = ["Takers"]


class Takers:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._of: dict[int, int] = {}  # place -> pid of the worker that takes from its queue

    def look(self, places: int, children: dict[int, ChildProcess]) -> None:
        """Give the orders that follow from how *children* (by pid) are now."""
        if not self._queues.own:
            return  # everybody takes from the one there is
        serving = {
            pid: child
            for pid, child in children.items()
            if child.ready and not child.told_to_end and not child.silent_since
        }
        served = {child.place for child in serving.values()}
        for place in range(places):
            taker = self._of.get(place)
            if place in served:
                if taker in serving:
                    serving[taker].orders.say("give_up", place=place)
                self._of.pop(place, None)
            elif taker not in serving:
                self._take(place, {pid: child for pid, child in serving.items() if not child.leaving_since})

    def _take(self, place: int, serving: dict[int, ChildProcess]) -> None:
        self._of.pop(place, None)
        if not serving:
            return
        load = Counter(self._of.values())
        pid = min(serving, key=lambda pid: (load[pid], serving[pid].place))
        serving[pid].orders.say("take", place=place, sockets=self._queues.of(place))
        self._of[place] = pid

    def shrink(self, places: int, children: dict[int, ChildProcess]) -> None:
        """The places beyond so many are no more: what waits there is served, and their queues close."""
        for place in [place for place in self._of if place >= places]:
            child = children.get(self._of.pop(place))
            if child is not None:
                child.orders.say("give_up", place=place, alone=True)
