"""The run: settings, the origin, contenders that stand side by side, slices that take turns.

All contenders of a question are started first and stay up; then each is loaded for one short slice,
round after round. So whatever the machine does in the meantime (a neighbour, a clock that changes
its mind) meets all of them alike, and the median over the rounds is compared. A slice during which
something else took more than a tenth of one of our cores is measured again, as long as there are
repeats left; what was kept nevertheless is counted in the report.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .check import CHECKS
from .compile import program
from .errors import BenchError
from .load import Load, Outcome, Shape
from .machine import Cores, busy_seconds
from .peer import Peer
from .places import PYTHON, ROOT
from .process import Server, free_port
from .table import Row, Slice, Table

__all__ = ["HEADERS", "Bench", "Contender", "Settings"]

# Every proxied request carries this, with and without a plugin that reads it.
HEADERS = ("x-user: 0123456789abcdef",)

# One process with one port: several endpoints for who wants them.
ORIGIN_ADDRESSES = "127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4"

_FOREIGN = 0.10
_READY_TIMEOUT = 3.0  # some servers listen before they have read their routes
_START_ATTEMPTS = 3  # a port that was free may be taken by the time the server binds it


@dataclass(frozen=True)
class Settings:
    seconds: float = 1.0  # a slice
    rounds: int = 5
    repeats: int = 2  # disturbed slices measured again, per contender and question
    smoke: bool = False
    only: tuple[str, ...] = ()  # peers whose name contains one of these; Blitz always


@dataclass(frozen=True)
class Contender:
    name: str
    port: int
    server: Server


@dataclass
class Bench:
    settings: Settings
    cores: Cores
    peers: Sequence[Peer]
    absent: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    disturbed: int = 0
    slices: int = 0
    _folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="blitz-bench-")))
    _origin: Contender | None = None

    # ------------------------------------------------------------ servers

    @property
    def origin(self) -> Contender:
        """The upstream of everything, started when first asked for."""
        if self._origin is None:
            self._origin = self._start_origin()
        return self._origin

    @contextlib.contextmanager
    def polling_origin(self) -> Iterator[None]:
        """Until its end, the origin is one that never sleeps, for slices whose shape says *poll*."""
        with self._instead(self._start_origin("poll")):
            yield

    @contextlib.contextmanager
    def faulty_origin(self) -> Iterator[None]:
        """Until its end, the origin is the one of tests/faults, which misbehaves by path."""
        port = free_port()
        command = [PYTHON, "-m", "tests.faults.origin", str(port)]
        with self._instead(self._start_upstream(command, port, {"PYTHONPATH": str(ROOT)})):
            yield

    @contextlib.contextmanager
    def _instead(self, origin: Contender) -> Iterator[None]:
        before, self._origin = self._origin, origin
        try:
            yield
        finally:
            origin.server.stop()
            self._origin = before

    def _start_origin(self, *words: str) -> Contender:
        port = free_port()
        return self._start_upstream(
            [str(program("load/origin.c")), ORIGIN_ADDRESSES, str(port), *words], port, {}
        )

    def _start_upstream(self, command: list[str], port: int, env: dict[str, str]) -> Contender:
        server = Server("origin", command, self.scratch("origin"), cores=[self.cores.load], env=env)
        server.wait_listening(port)
        return Contender("direct", port, server)

    def scratch(self, name: str) -> Path:
        """A fresh folder for one process."""
        return Path(
            tempfile.mkdtemp(prefix="".join(c if c.isalnum() else "-" for c in name), dir=self._folder)
        )

    def start(self, peer: Peer, job: str, cores: Sequence[int] | None = None) -> Contender:
        """Start a peer for a job, make sure it does it. BenchError when it does not."""
        for attempt in range(_START_ATTEMPTS):
            port = free_port()
            folder = self.scratch(peer.name)
            command = peer.lay_out(job, folder, port, self.origin.port)
            server = Server(
                peer.name, command, folder, cores=cores or [self.cores.server], env=peer.environment(folder)
            )
            try:
                server.wait_listening(port)
                _wait_for_the_job(CHECKS[peer.checks or job], port)
                server.check_alive()  # or it was another program that answered on its port
                return Contender(peer.name, port, server)
            except BenchError:
                server.stop()
                if attempt == _START_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def contenders(
        self,
        table: Table,
        job: str,
        *,
        peers: Sequence[Peer] | None = None,
        listed: bool = True,
        cores: Sequence[int] | None = None,
    ) -> Iterator[list[Contender]]:
        """All peers that can do the job, running. Who is missing is written into the table; with
        *listed*, who has no part in this job is, too."""
        started: list[Contender] = []
        try:
            for peer in self.peers if peers is None else peers:
                if job not in peer.jobs:
                    if job in peer.cannot and listed:
                        table.left_out[peer.name] = peer.cannot[job]
                    continue
                if not self._wanted(peer):
                    table.left_out[peer.name] = "not asked for (--only)"
                elif reason := peer.missing():
                    table.left_out[peer.name] = reason
                else:
                    try:
                        started.append(self.start(peer, job, cores))
                        self.versions.setdefault(peer.name, peer.read_version())
                    except BenchError as exc:
                        table.broken[peer.name] = str(exc)
                        say(f"    {peer.name} is broken: {exc}")
            if listed:
                table.left_out.update(self.absent)
            yield started
        finally:
            for contender in started:
                contender.server.stop()

    def _wanted(self, peer: Peer) -> bool:
        only = self.settings.only
        return not only or peer.name.startswith("blitz") or any(part in peer.name for part in only)

    def rounds_of_blitz(
        self, table: Table, job: str, one_round: Callable[[Contender], Iterator[tuple[str, float]]]
    ) -> None:
        """A row for each Blitz that can do the job, of the values by column that *one_round* yields in every
        round; one that fails is out, by name."""
        peers = [peer for peer in self.peers if peer.name.startswith("blitz") and job in peer.jobs]
        with self.contenders(table, job, peers=peers) as contenders:
            for contender in contenders:
                row = Row(contender.name)
                try:
                    for _ in range(self.settings.rounds):
                        for key, value in one_round(contender):
                            row.values.setdefault(key, []).append(value)
                except (BenchError, OSError) as exc:
                    table.broken[contender.name] = str(exc)
                    say(f"    {contender.name} is broken: {exc}")
                table.rows.append(row)

    # ------------------------------------------------------------ slices

    def interleave(
        self, table: Table, contenders: Sequence[Contender], shape: Shape, *, seconds: float | None = None
    ) -> dict[str, list[Slice]]:
        """Slices of every contender in turns, ``rounds`` of each; one that fails is out, by name."""
        seconds = seconds or self.settings.seconds
        result: dict[str, list[Slice]] = {c.name: [] for c in contenders}
        repeats = dict.fromkeys(result, self.settings.repeats)
        for number in range(-1 if not self.settings.smoke else 0, self.settings.rounds):
            for contender in contenders:
                if contender.name in table.broken:
                    continue
                try:
                    some = self._undisturbed(contender, shape, seconds, repeats)
                except BenchError as exc:
                    table.broken[contender.name] = str(exc)
                    result.pop(contender.name, None)
                    say(f"    {contender.name} is broken: {exc}")
                    continue
                if number >= 0:  # the round before the first warms caches and just-in-time compilers
                    result[contender.name].append(some)
        return result

    def _undisturbed(
        self, contender: Contender, shape: Shape, seconds: float, repeats: dict[str, int]
    ) -> Slice:
        while True:
            one = self.slice(contender, shape, seconds)
            if one.foreign <= _FOREIGN or self.settings.smoke:
                break
            if not repeats[contender.name]:
                self.disturbed += 1
                break
            repeats[contender.name] -= 1
        self.slices += 1
        return one

    def slice(self, contender: Contender, shape: Shape, seconds: float) -> Slice:
        """One run of the load generator. BenchError when a request failed."""
        with Load(contender.port, shape, seconds, cores=[self.cores.load]) as load:
            meter = _Meter(self, contender.server)
            load.go()
            outcome = load.wait()
            one = meter.read(outcome)
        if outcome.failed:
            raise BenchError(outcome.complaint())
        if not outcome.requests:
            raise BenchError(f"not one answer within {seconds:g} s")
        return one

    # ------------------------------------------------------------ end

    def close(self) -> None:
        if self._origin is not None:
            self._origin.server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Meter:
    """CPU of the server and of everything else, from now until read()."""

    def __init__(self, bench: Bench, server: Server) -> None:
        self._bench = bench
        self._server = server
        self._origin = bench.origin.server
        self._start = self._now()

    def _now(self) -> tuple[float, float, float, float, float]:
        cores = self._bench.cores
        return (
            time.monotonic(),
            self._server.cpu_seconds(),
            self._origin.cpu_seconds(),
            busy_seconds(cores.server),
            busy_seconds(cores.load),
        )

    def read(self, outcome: Outcome) -> Slice:
        wall, server, origin, server_core, load_core = (
            b - a for a, b in zip(self._start, self._now(), strict=True)
        )
        if self._server is self._origin:
            server_core = server = 0.0
            ours = origin
        else:
            ours = server
        load = origin + outcome.cpu
        foreign = (
            max(server_core - server, load_core - load)
            if self._bench.cores.apart
            else server_core - server - load
        )
        return Slice(
            requests_per_second=outcome.requests / outcome.seconds,
            cpu_us=ours / max(outcome.answered, 1) * 1e6,
            server_busy=ours / wall,
            load_busy=load / wall,
            foreign=max(0.0, foreign / wall),
            latency_us=outcome.latency_us,
            bytes_per_second=(outcome.bytes_in + outcome.bytes_out) / outcome.seconds,
        )


def _wait_for_the_job(check: Callable[[int], None], port: int) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT
    while True:
        try:
            return check(port)
        except BenchError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def say(text: str) -> None:
    """Progress, for whoever waits; the report is a file."""
    print(text, file=sys.stderr, flush=True)
