"""The ways through the gateway, and how one is forced: for one test, or for the gateways that a task opens.

A task has a driver (``as_driver``), and the tasks that it starts have it too: gateways with different drivers
run side by side in one process. While ``forcible`` is entered, every connection asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from blitz.server.connection import Connection
from blitz.server.fast_path import FastPath
from blitz.server.resources import Resources

__all__ = ["DRIVERS", "Driver", "as_driver", "forcible"]


@dataclass(frozen=True)
class Driver:
    """
    Attributes:
        fast: the fast path serves what it takes; else the general path everything, with the same scanner.
        tls: clients speak TLS.
        stream: connections are streams that a program has made itself, not the gateway's sockets.
    """

    name: str
    fast: bool = True
    tls: bool = False
    stream: bool = False


DRIVERS = {
    driver.name: driver
    for driver in (
        Driver("fast"),
        Driver("general", fast=False),
        Driver("stream", fast=False, stream=True),
        Driver("fast-tls", tls=True),
        Driver("general-tls", fast=False, tls=True),
    )
}

_driver: ContextVar[Driver | None] = ContextVar("driver", default=None)


@contextmanager
def as_driver(driver: Driver) -> Iterator[None]:
    """Gateways that are opened here are served by *driver*."""
    token = _driver.set(driver)
    try:
        yield
    finally:
        _driver.reset(token)


@contextmanager
def forcible(default: Driver | None = None) -> Iterator[Counter[str]]:
    """Obey ``as_driver``; *default* for those who said nothing.

    Yields how often connections were on the fast path (``entered``) and kept off it (``kept off``).
    """
    counts: Counter[str] = Counter()
    may_be_short, enter, run = Connection.may_be_short, FastPath.enter, FastPath.run
    # The event loop asks for connections without a task, and has no driver: their gateway has.
    of: WeakKeyDictionary[Resources, Driver | None] = WeakKeyDictionary()

    async def running(fast_path: FastPath) -> None:
        of[fast_path._context] = _driver.get()
        await run(fast_path)

    def may(connection: Connection) -> bool:
        driver = of.get(connection.context) or _driver.get() or default
        if driver is not None and not driver.fast:
            counts["kept off"] += 1
            return False
        return may_be_short(connection)

    def entered(fast_path: FastPath, *arguments: Any) -> Any:
        counts["entered"] += 1
        return enter(fast_path, *arguments)

    Connection.may_be_short, FastPath.enter = may, entered  # type: ignore[method-assign]
    FastPath.run = running  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        Connection.may_be_short, FastPath.enter = may_be_short, enter  # type: ignore[method-assign]
        FastPath.run = run  # type: ignore[method-assign]
