"""Play cases over drivers, and say what is not the same.

What is seen may depend on the moment (a client that leaves, a body that is cut): what differs is played
again, alone, and counts only if the two drivers never come to the same.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import trio

from tests.http_suite.case import AwaitClientGone, Case, Close, Reset

from .drivers import DRIVERS, forcible
from .record import Record, record
from .rig import DriverRig, Output, open_rig, output
from .settings import Setting

__all__ = ["Difference", "compare", "play", "plays_and_differences"]

AGAIN = 4  # times, before two drivers are said to differ
RIGS = 3
# Where a client leaves: whether the gateway hears of it before it has sent the response is a race.
OF_THE_MOMENT = frozenset(("access", "counters", "links", "log"))
# And whether it has begun with the next request of that client.
OF_WHAT_FOLLOWS = OF_THE_MOMENT | {"guests", "upstream"}


@dataclass(frozen=True)
class Difference:
    """*section* of the record of *case* is not the same over two drivers."""

    case: Case
    section: str
    left: str
    right: str
    text: str

    def __str__(self) -> str:
        return f"{self.case.id}: {self.section} differs ({self.left} -, {self.right} +)\n{self.text}"


def compare(
    cases: Sequence[Case],
    setting: Setting,
    drivers: tuple[str, str] = ("fast", "general"),
    rigs: int = RIGS,
) -> list[Difference]:
    """Play *cases* over both *drivers*; return what is not the same."""
    return plays_and_differences(cases, setting, drivers, rigs)[1]


def plays_and_differences(
    cases: Sequence[Case], setting: Setting, drivers: tuple[str, str], rigs: int
) -> tuple[list[Difference], list[Difference]]:
    """-> what was not the same at the first play, and what never was."""
    played = play(cases, setting, drivers, rigs)
    seen = {name: {case: [each] for case, each in of.items()} for name, of in played.items()}
    first = differences = _all_differences(cases, seen, drivers)
    for _ in range(AGAIN):
        for case in {each.case.id: each.case for each in differences}.values():
            for name, records in play([case], setting, drivers).items():
                seen[name][case.id].append(records[case.id])
        differences = _all_differences(cases, seen, drivers) if differences else []
    return first, differences


def _all_differences(
    cases: Sequence[Case], seen: dict[str, dict[str, list[Record]]], drivers: tuple[str, str]
) -> list[Difference]:
    left, right = drivers
    return [
        Difference(
            case, section, left, right, _diff(seen[left][case.id][0], seen[right][case.id][0], section)
        )
        for case in cases
        for section in _differences(case, seen[left], seen[right])
    ]


def _differences(case: Case, left: dict[str, list[Record]], right: dict[str, list[Record]]) -> Iterator[str]:
    """The sections in which no play over one driver was like any over the other."""
    mine, theirs = left[case.id], right[case.id]
    races = _races(case)
    for section in mine[0]:
        if section in races:
            continue
        if not {each[section] for each in mine} & {each[section] for each in theirs}:
            yield section


def _races(case: Case) -> frozenset[str]:
    """The sections that depend on when the gateway hears that the client has left.

    A reset is heard of at once, and no race where the upstream answers behind it. A client that has closed
    has said all, until what is sent to it brings a reset: that races with whatever is done next.
    """
    waits = any(isinstance(step, AwaitClientGone) for script in case.upstream for step in script.steps)
    if waits:
        return OF_WHAT_FOLLOWS if any(isinstance(step, Close) for step in case.send) else frozenset()
    return OF_THE_MOMENT if any(isinstance(step, Reset) for step in case.send) else frozenset()


def _diff(left: Record, right: Record, section: str) -> str:
    lines = difflib.ndiff([repr(each) for each in left[section]], [repr(each) for each in right[section]])
    return "\n".join(lines)


def play(
    cases: Sequence[Case], setting: Setting, drivers: Sequence[str], rigs: int = RIGS
) -> dict[str, dict[str, Record]]:
    """-> by driver and case id, what was seen."""
    with forcible() as counts, output() as lines:
        made = trio.run(_play, cases, setting, drivers, rigs)
    _check(lines)
    if "fast" in drivers and setting.may_be_fast:
        assert counts["entered"], "nothing was on the fast path"
    if any(not DRIVERS[name].fast for name in drivers):
        assert counts["kept off"], "nothing was kept off the fast path"
    return {
        name: {each.case.id: record(each) for rig in made[name] for each in rig.plays} for name in drivers
    }


def _check(lines: Output) -> None:
    errors = [line for line in lines.stray if "internal error" in line]
    assert not errors, errors


async def _play(
    cases: Sequence[Case], setting: Setting, drivers: Sequence[str], rigs: int
) -> dict[str, list[DriverRig]]:
    made: dict[str, list[DriverRig]] = {name: [] for name in drivers}

    async def serve(name: str, waiting: Iterator[Case]) -> None:
        async with open_rig(DRIVERS[name], setting) as rig:
            made[name].append(rig)
            for case in waiting:
                await rig.play(case)

    async with trio.open_nursery() as nursery:
        for name in drivers:
            waiting = iter(cases)
            for _ in range(min(rigs, len(cases))):
                nursery.start_soon(serve, name, waiting)
    return made
