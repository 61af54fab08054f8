"""A gateway in this process with a recording upstream, served by one driver: plays one case at a time."""

from __future__ import annotations

import itertools
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import trio

import blitz
from blitz.measures.exposition import exposition
from blitz.server.fast_path import FastPath
from tests.http_suite.case import Case
from tests.http_suite.link import certificate, connect
from tests.http_suite.runner import Rig, observe_case
from tests.http_suite.upstream import Upstream

from .drivers import Driver, as_driver
from .filters import credentials, serve_copies
from .record import Play
from .settings import Setting

__all__ = ["DriverRig", "Output", "open_rig", "output", "serve_streams"]

SETTLE = 10.0
PRIME = b" HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n%b\r\n"
_numbers = itertools.count()
_rig: ContextVar[DriverRig | None] = ContextVar("rig", default=None)


class DriverRig:
    """One gateway served by *driver*, with upstream and clients of its own.

    Attributes:
        source: the address its clients come from, which no other rig has.
        plays: of all cases so far.
    """

    gateway: blitz.Gateway
    rig: Rig

    def __init__(self, driver: Driver, source: str) -> None:
        self.driver, self.source = driver, source
        self.plays: list[Play] = []
        self.log: list[str] = []
        self.guests: list[str] = []

    async def play(self, case: Case) -> Play:
        """From a known state: the gateway has one idle connection to its upstream."""
        await self._prime()
        before = self._counters()
        self.log, self.guests = [], []
        token, seen = await observe_case(self.rig, case)
        await self._settle()
        play = Play(case, token, self.source, seen, log=self.log, guests=self.guests)
        play.counters = self._counters()
        play.counters.subtract(before)
        play.links = self._links(seen)
        self.plays.append(play)
        return play

    async def _settle(self) -> None:
        """The gateway has ended what it was asked: whatever it has to say about that is said."""
        with trio.move_on_after(SETTLE):
            while (now := self.gateway.statistics()).in_flight or now.connections:  # noqa: ASYNC110
                await trio.sleep(0.001)

    async def _prime(self) -> None:
        upstream = self.rig.upstream
        with trio.fail_after(20):
            await upstream.retire_links()
            link = await connect(self.rig.address, tls=self.rig.tls, source=self.source)
            try:
                await link.send(b"GET /" + upstream.play.token + b"/probe-prime" + PRIME % self.rig.fields)
                while await link.recv(65536):
                    pass
            finally:
                link.close()

    def _counters(self) -> Counter[str]:
        statistics = self.gateway.statistics()
        counters = Counter({name: int(n) for name, n in msgspec.structs.asdict(statistics.counters).items()})
        counters.pop("mirror_failed")  # of copies, whose ends nobody waits for
        counters.update(_figures(self.gateway))
        for name, plugin in statistics.plugins.items():
            counters[f"{name} calls"] = plugin.calls
            counters[f"{name} faults"] = plugin.faults
        return counters

    def _links(self, seen: Any) -> list[str]:
        """The upstream connections in the order of their first requests: how many; are they still open?"""
        used = Counter(arrival.link for arrival in seen.arrivals)
        still = self.rig.upstream.open_links()
        return [f"{n} requests, {'open' if number in still else 'ended'}" for number, n in used.items()]


# Told once a second, or of a connection: not what one exchange has done.
_NOT_OF_EXCHANGES = (
    "blitz_event_loop",
    "blitz_plugin_instances",
    "blitz_upstream_",
    "blitz_log_lines",
    "blitz_tls_",
    "blitz_mirror_failed",
)


def _figures(gateway: blitz.Gateway) -> Counter[str]:
    """All counters and the counts of all histograms, as ``/metrics`` tells them."""
    text = exposition(gateway._context.measures.shared.merged(), openmetrics=False).decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return Counter(
        {
            series: int(value)
            for series, _, value in lines
            if series.partition("{")[0].endswith(("_total", "_count"))
            and (not series.startswith(_NOT_OF_EXCHANGES) or series.startswith("blitz_upstream_duration"))
        }
    )


class Output(logging.Handler):
    """What gateways of this process write: their access lines on standard output, and their log."""

    def __init__(self, lines: Any) -> None:
        super().__init__()
        self._lines = lines
        self.stray: list[str] = []
        self.access: list[str] = []  # all of them, once they are handed out

    def emit(self, record: logging.LogRecord) -> None:
        rig, text = _rig.get(), record.getMessage()
        if rig is None:
            self.stray.append(text)
        elif record.name == "blitz.plugin":
            if "/probe-" not in text:
                rig.guests.append(text)
        else:
            rig.log.append(f"{record.levelname} {text}")

    def hand_out(self) -> None:
        """Give each play its access lines; the gateways have ended.

        A line that names no case belongs to the one that is named next for the same client.
        """
        self._lines.seek(0)
        waiting: dict[str, list[str]] = {}
        plays = {play.token.decode(): play for rig in RIGS.values() for play in rig.plays}
        self.access = self._lines.read().decode().splitlines()
        for line in self.access:
            source = next((each for each in re.findall(r"127\.\d+\.\d+\.\d+", line) if each in RIGS), "")
            named = next((plays[word] for word in re.findall(r"z[0-9a-z]{4}", line) if word in plays), None)
            waiting.setdefault(source, [])
            if "/probe-" not in line:
                waiting[source].append(line)
            if (named is not None and named.source == source) or (named is not None and not source):
                named.access += waiting.pop(source)


RIGS: dict[str, DriverRig] = {}  # by source
FAST_PATHS: WeakKeyDictionary[FastPath, DriverRig] = WeakKeyDictionary()
_turn = FastPath.after_io_wait


def _turn_of_rig(fast_path: FastPath, timeout: float) -> None:
    """The event loop calls it: what is logged meanwhile belongs to the rig of that fast path."""
    mark = _rig.set(FAST_PATHS.get(fast_path))
    try:
        _turn(fast_path, timeout)
    finally:
        _rig.reset(mark)


@contextmanager
def output() -> Iterator[Output]:
    """Take what is written on descriptor 1 and logged while this is entered; ``hand_out`` comes last."""
    with tempfile.TemporaryFile() as lines:
        handler = Output(lines)
        logger = logging.getLogger("blitz")
        FastPath.after_io_wait = _turn_of_rig  # type: ignore[method-assign]
        before, level, propagate = os.dup(1), logger.level, logger.propagate
        os.dup2(lines.fileno(), 1)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield handler
        finally:
            FastPath.after_io_wait = _turn  # type: ignore[method-assign]
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
            os.dup2(before, 1)
            os.close(before)
        handler.hand_out()
        RIGS.clear()


@asynccontextmanager
async def open_rig(driver: Driver, setting: Setting) -> AsyncIterator[DriverRig]:
    number = next(_numbers)
    source = f"127.9.{number // 200 % 200}.{number % 200 + 1}"
    upstream = Upstream()
    async with trio.open_nursery() as nursery:
        ports = [await nursery.start(upstream.serve) for _ in range(setting.endpoints)]
        (copies,) = await nursery.start(partial(trio.serve_tcp, serve_copies, 0, host="127.0.0.1"))
        config = setting.config(ports, certificate() if driver.tls else "", copies.socket.getsockname()[1])
        with as_driver(driver):
            rig = RIGS[source] = DriverRig(driver, source)
            mark = _rig.set(rig)
            async with blitz.open_gateway(config) as gateway:
                address = gateway.addresses[0]
                if driver.stream:
                    address = await serve_streams(nursery, gateway)
                rig.gateway = gateway
                FAST_PATHS[gateway._context.fast_path] = rig
                rig.rig = Rig(
                    (str(address[0]), address[1]),
                    upstream,
                    _restart,
                    tls=driver.tls,
                    source=source,
                    fields=credentials("jwt"),
                    prefix=b"/up" if "rewrite" in setting.filters else b"",
                )
                try:
                    yield rig
                finally:
                    _rig.reset(mark)
        nursery.cancel_scope.cancel()


async def _restart() -> str:
    raise AssertionError("a gateway of this process is not started again")


async def serve_streams(nursery: trio.Nursery, gateway: blitz.Gateway) -> tuple[str, int]:
    """Serve connections as streams that are not the gateway's own; -> where."""

    async def serve(stream: trio.SocketStream) -> None:
        peer = stream.socket.getpeername()
        await gateway.serve_stream(trio.StapledStream(stream, stream), peer[:2])

    (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return "127.0.0.1", listener.socket.getsockname()[1]
