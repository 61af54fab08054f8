"""A soak in which the helpers fail in turn, under load (``python -m tests.soak --helpers``).

Theory of operation. The gateway is a process as a user starts it, with two workers; well-behaved clients ask
all the while, over connections that they keep and over new ones. One moment of ``moments.py`` after the other
happens. After each the gateway has to be as before: a new version of a plugin is taken up by both workers
without any signal. What must come of it (``Report.problems``): no well-behaved request was lost, each moment
was said in the log, and the memory of all workers together stays within a bound.

How requests are counted. A request is well-behaved if its client sends it whole and waits up to 20 s. It is
lost if it gets no answer, or a wrong one. One exception: a worker that is stopped for so long that the parent
replaces it takes what it was doing with it. Where a moment ended with other workers than it began with, each
client may lose the one request that it waited for then; those are counted as ``cut`` and not as lost, and any
further one is lost.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from tests.server.harness import Client

from . import memory
from .moments import MOMENTS, Moment, Skip, small_disk
from .site import GOOD, Site
from .traffic import Tally, keep_trying, serve_upstream, well_behaved

__all__ = ["Report", "soak_helpers"]

CLIENTS = 8
PATIENCE = 60.0  # seconds until all is as before
SURE = 12  # new connections that all reach the new version: both workers have it
# Of memory: the last quarter may be so many times the first one after the warm-up, and so much more.
BOUND, WARMING = 1.15, 16 << 20
LENGTH, STOP = 4.0, 1.2  # seconds that a moment lasts; that a process is stopped
MIB = 1 << 20


@dataclass
class Report:
    """What was seen. moments: how often each happened; healed: the longest time until all was as before."""

    tally: Tally = field(default_factory=Tally)
    cut: int = 0
    moments: dict[str, int] = field(default_factory=dict)
    healed: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    rss: list[int] = field(default_factory=list)
    replaced: int = 0
    problems: list[str] = field(default_factory=list)

    def judge(self) -> None:
        self.problems += self.tally.wrong[:20]
        after = self.rss[len(self.rss) // 5 :]
        quarter = max(len(after) // 4, 1)
        first, last = (sorted(part)[len(part) // 2] for part in (after[:quarter], after[-quarter:]))
        if last > BOUND * first + WARMING:
            self.problems.append(f"resident memory went from {first / MIB:.1f} to {last / MIB:.1f} MiB")

    def lines(self) -> list[str]:
        """The figures, for people."""
        return [
            f"well-behaved requests: {self.tally.good}, lost: {len(self.tally.wrong)}, cut with a worker: "
            f"{self.cut}, slowest: {self.tally.slowest:.1f} s",
            *(
                f"{name}: {count} times, as before within {self.healed.get(name, 0):.1f} s"
                for name, count in self.moments.items()
            ),
            *(f"skipped: {name}: {why}" for name, why in self.skipped.items()),
            f"workers replaced: {self.replaced}; resident memory of all workers: "
            f"{self.rss[0] / MIB:.1f} MiB at first, {max(self.rss) / MIB:.1f} at most, "
            f"{self.rss[-1] / MIB:.1f} at last",
        ]


def soak_helpers(directory: Path, seconds: float, *, say: Callable[[str], None] = print) -> Report:
    """Let every moment happen at least once, and again until *seconds* have passed; *directory* is empty."""
    report = Report()
    with small_disk(directory / "cache") as mounted:
        access = directory / "cache" / ".access" if mounted else None
        trio.run(partial(_soak, directory, access, seconds, report, say))
    report.judge()
    return report


async def _soak(
    directory: Path, access: Path | None, seconds: float, report: Report, say: Callable[[str], None]
) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve_upstream, 0)
        upstream = listeners[0].socket.getsockname()[1]
        start = partial(Site, directory, upstream, [], workers=2, access=access)
        site = await trio.to_thread.run_sync(start)
        try:
            for _ in range(CLIENTS):
                nursery.start_soon(keep_trying, well_behaved, site.port, report.tally, GOOD)
            nursery.start_soon(_sample, site, report)
            end = trio.current_time() + seconds
            for number, (name, (moment, words)) in enumerate(itertools.cycle(MOMENTS.items())):
                if number >= len(MOMENTS) and trio.current_time() >= end:
                    break
                if name not in report.skipped:
                    await _happen(site, report, name, moment, words, number)
                    say(f"{report.tally.good:8d} good  {len(report.tally.wrong)} lost  {name}")
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                code = await trio.to_thread.run_sync(site.stop)
            if code != 0:
                report.problems.append(f"the gateway ended with {code}: {list(site.lines)[-5:]}")


async def _happen(
    site: Site, report: Report, name: str, moment: Moment, words: tuple[str, ...], number: int
) -> None:
    workers, lost = set(site.children()), len(report.tally.wrong)
    site.lines.clear()
    try:
        with trio.fail_after(PATIENCE):
            await moment(site, STOP if "stopped" in name else LENGTH)
    except Skip as skip:
        report.skipped[name] = str(skip)
        return
    report.moments[name] = report.moments.get(name, 0) + 1
    began = time.monotonic()
    await _as_before(site, report, name, number + 1)
    report.healed[name] = max(report.healed.get(name, 0.0), time.monotonic() - began)
    gone = workers - set(site.children())
    report.replaced += len(gone)
    if gone:
        cut = report.tally.wrong[lost : lost + CLIENTS]
        report.cut += len(cut)
        del report.tally.wrong[lost : lost + len(cut)]
        if "worker stopped" not in name:
            report.problems.append(f"{name}: a worker ended: {list(site.lines)[-10:]}")
    for word in words:
        if not any(word in line for line in site.lines):
            report.problems.append(f"{name}: the log does not say {word!r}: {list(site.lines)[-10:]}")


async def _as_before(site: Site, report: Report, name: str, number: int) -> None:
    """Both workers take up a new version of a plugin, and nobody tells them to."""
    wanted = f"v{number:08}"
    site.put_version(number)
    with trio.move_on_after(PATIENCE):
        sure = 0
        while sure < SURE:
            sure = sure + 1 if await _version(site) == wanted else 0
            await trio.sleep(0.02 if sure else 0.2)
        return
    report.problems.append(f"{name}: {wanted} was not taken up: {list(site.lines)[-20:]}")


async def _version(site: Site) -> str:
    """What answers on a new connection; "" when nothing does."""
    with contextlib.suppress(OSError, EOFError, trio.BrokenResourceError), trio.move_on_after(10):
        client = Client(await trio.open_tcp_stream("127.0.0.1", site.port))
        try:
            await client.send(b"GET /versioned/ HTTP/1.1\r\nHost: soak.example\r\nConnection: close\r\n\r\n")
            return (await client.answer())[1].get("x-version", "")
        finally:
            await trio.aclose_forcefully(client.stream)
    return ""


async def _sample(site: Site, report: Report) -> None:
    while True:
        with contextlib.suppress(OSError):  # one has just ended
            report.rss.append(sum(memory.sample(pid, 0.0).rss for pid in site.children()))
        await trio.sleep(1)
