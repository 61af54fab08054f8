"""A soak: good and hostile plugins under load, reloads all the while, and the worker's memory looked at.

Theory of operation. The gateway is a process as a user starts it, with one worker; clients and upstream are
tasks here. Beside the load, a change happens every few seconds: another version of a plugin, another
manifest, other settings, a file more or less, a file that cannot run; some with a SIGHUP, the others seen by
``watch``. Memory is sampled every second. What must come of it (``Report.problems``): every well-behaved
request was answered rightly, every hostile one was answered, every change was taken up or refused as it
should be, the gateway drained in the end, and the medians of the worker's resident memory in the first and
the last quarter after the warm-up differ by at most 5 %.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from . import memory
from .guests import BROKEN, hostile_guests
from .site import GOOD, Site, hostile_path
from .traffic import Tally, cancelled, hostile, keep_trying, serve_upstream, well_behaved

__all__ = ["Report", "soak"]

GOOD_CLIENTS, HOSTILE_CLIENTS, LEAVING_CLIENTS = 6, 4, 2
FLAT = 0.05
CHANGE_PAUSE = 1.5  # seconds between two changes
FURTHER = 1_000_000  # from one series of versions to the next
TAKEN_UP = 60.0  # seconds until a change must have happened, beside guests that loop
LOOPS = ("loop_request", "loop_of_host_calls", "loop_allocator", "memory_touched", "log_bomb")
MIB = 1 << 20


@dataclass
class Report:
    """What was seen. warm_up: seconds after which memory has to be flat."""

    warm_up: float
    samples: list[memory.Sample] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    taken_up: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    said: int = 0

    @property
    def growth(self) -> float:
        """Of resident memory, as a fraction."""
        first, last = memory.change(self.samples, "rss", self.warm_up)
        return last / first - 1

    def judge(self) -> None:
        """Fill ``problems`` with what the numbers say."""
        self.problems += self.tally.wrong[:20]
        if abs(self.growth) > FLAT:
            self.problems.append(f"resident memory changed by {100 * self.growth:+.1f} % after the warm-up")
        first, last = memory.change(self.samples, "files", self.warm_up)
        if last > first + 30:
            self.problems.append(f"open descriptors went from {first:.0f} to {last:.0f}")

    def lines(self) -> list[str]:
        """The figures, for people."""
        tally, plugins = self.tally, self.status.get("plugins", {}).values()
        after = [f"{name} {_pair(self.samples, name, self.warm_up)}" for name in ("rss", "pss", "anonymous")]
        return [
            f"memory of the worker, first and last quarter after {self.warm_up:.0f} s: {'; '.join(after)}",
            f"resident memory changed by {100 * self.growth:+.2f} %",
            f"well-behaved requests: {tally.good}, failed: {len(tally.wrong)}, "
            f"slowest: {tally.slowest * 1e3:.0f} ms",
            f"hostile requests: {dict(sorted(tally.hostile.items()))}; clients that left: {tally.cancelled}",
            f"changes taken up: {self.taken_up}, refused: {self.refused}; "
            f"generation {self.status.get('generation')}",
            f"faults of the present plugins: {sum(one['faults'] for one in plugins)}, "
            f"quarantines: {sum(one['quarantines'] for one in plugins)}",
            f"the gateway wrote {self.said / MIB:.1f} MiB of log",
        ]


def _pair(samples: list[memory.Sample], name: str, warm_up: float) -> str:
    first, last = memory.change(samples, name, warm_up)
    return f"{first / MIB:.1f} -> {last / MIB:.1f} MiB"


def soak(
    directory: Path, seconds: float, warm_up: float, *, seed: int = 1, say: Callable[[str], None] = print
) -> Report:
    """Run for *seconds*; *directory* is empty. -> what was seen, judged."""
    report = Report(warm_up)
    trio.run(partial(_soak, directory, seconds, report, random.Random(seed), say))
    report.judge()
    return report


async def _soak(
    directory: Path, seconds: float, report: Report, chance: random.Random, say: Callable[[str], None]
) -> None:
    guests = hostile_guests()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve_upstream, 0)
        upstream = listeners[0].socket.getsockname()[1]
        site = await trio.to_thread.run_sync(Site, directory, upstream, guests)
        try:
            paths = [hostile_path(guest, policy) for guest in guests for policy in ("closed", "open")]
            for _ in range(GOOD_CLIENTS):
                nursery.start_soon(keep_trying, well_behaved, site.port, report.tally, GOOD)
            for _ in range(HOSTILE_CLIENTS):
                nursery.start_soon(keep_trying, hostile, site.port, report.tally, paths, chance)
            leaving = [path for path in paths if path.split("/")[3] in LOOPS]
            for _ in range(LEAVING_CLIENTS):
                nursery.start_soon(keep_trying, cancelled, site.port, report.tally, leaving, chance)
            nursery.start_soon(_change_for_ever, site, report)
            await _sample(site, report, seconds, say)
            report.status = await trio.to_thread.run_sync(site.status)
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                code = await trio.to_thread.run_sync(site.stop)
                report.said = site.said
                if code != 0:
                    report.problems.append(f"the gateway ended with {code}: {list(site.lines)[-5:]}")


async def _sample(site: Site, report: Report, seconds: float, say: Callable[[str], None]) -> None:
    began = trio.current_time()
    told = 0.0
    while (now := trio.current_time() - began) < seconds:
        try:
            report.samples.append(memory.sample(site.worker, now))
        except OSError as error:
            report.problems.append(
                f"the worker is gone after {now:.0f} s ({error}): {list(site.lines)[-20:]}"
            )
            return
        if now >= told:
            told += max(seconds / 60, 5)
            one, tally = report.samples[-1], report.tally
            say(
                f"{now:6.0f} s  rss {one.rss / MIB:6.1f}  anonymous {one.anonymous / MIB:6.1f} MiB  "
                f"files {one.files}"
                f"  good {tally.good}  hostile {sum(tally.hostile.values())}  wrong {len(tally.wrong)}"
                f"  changes {report.taken_up}+{report.refused}"
            )
        await trio.sleep(1)


# ---------------------------------------------------------------- changes


async def _change_for_ever(site: Site, report: Report) -> None:
    broken = itertools.cycle(BROKEN)
    for number in itertools.count(1):
        changes: list[tuple[Callable[[], None], bool]] = [
            (partial(site.put_version, number), False),
            (partial(site.put_version, number + FURTHER), True),
            (partial(site.put_manifest, number), False),
            (partial(site.put_settings, number), True),
            (partial(site.add_another, number), True),
            (site.remove_another, False),
        ]
        for change, hang_up in changes:
            await _take_up(site, report, change, hang_up=hang_up)
            await trio.sleep(CHANGE_PAUSE)
        await _be_refused(site, report, *next(broken))
        await _take_up(site, report, partial(site.put_version, number + 2 * FURTHER), hang_up=False)


async def _take_up(site: Site, report: Report, change: Callable[[], None], *, hang_up: bool) -> None:
    """A change that a reload takes up: ``watch`` sees plugins by itself, settings need the signal."""
    before = (await _status(site))["generation"]
    change()
    if hang_up:
        site.hang_up()
    if await _comes(lambda status: status["generation"] > before, site):
        report.taken_up += 1
    else:
        report.problems.append(f"{change} was not taken up: {(await _status(site))['last_reload']}")


async def _be_refused(site: Site, report: Report, wasm: bytes, word: str) -> None:
    site.put("versioned.wasm", wasm)
    if await _comes(lambda status: word in status["last_reload"]["error"], site):
        report.refused += 1
    else:
        report.problems.append(
            f"a file with {word!r} was not refused: {(await _status(site))['last_reload']}"
        )


async def _status(site: Site) -> dict[str, Any]:
    return await trio.to_thread.run_sync(site.status)


async def _comes(true: Callable[[dict[str, Any]], bool], site: Site) -> bool:
    deadline = time.monotonic() + TAKEN_UP
    while time.monotonic() < deadline:
        status = await _status(site)
        if status["last_reload"] is not None and true(status):
            return True
        await trio.sleep(0.2)
    return False
