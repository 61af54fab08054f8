"""What all connections of one gateway share: the running configuration, clocks, buffers, counters."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import InternalError
from blitz.http.buffer import (
    HEAD_BUFFER_SIZE,
    PART_HEADROOM,
    PART_SIZE,
    PART_TAILROOM,
    Buffer,
    BufferPool,
)

from .access import AccessLog
from .deadline import DeadlineWheel
from .fast_path import FastPath
from .faults import FaultLog
from .runtime import Runtime
from .shortages import Shortages
from .splice import PipePool
from .story import is_wanted
from .turns import GuestTurns

if TYPE_CHECKING:
    from .connection import Connection
    from .room import Reserve

__all__ = ["Counters", "ServerContext"]

DATE_SIZE = 29  # "Sun, 06 Nov 1994 08:49:37 GMT"
SCRATCH_SIZE = 256 * 1024  # one outgoing head (64 KiB and what we add) with a first part behind it
MAX_IDLE_BUFFERS = 256  # 4 MiB of head buffers ...
MAX_IDLE_PARTS = 16  # ... and 4 MiB of part buffers kept for reuse, per worker


@dataclass(slots=True)
class Counters:
    """Counts since the gateway started.

    Attributes:
        refused: connections closed at once because there were too many; refused_per_address: those of
            them that were too many from one address.
    """

    connections: int = 0
    refused: int = 0
    refused_per_address: int = 0
    exchanges: int = 0
    client_errors: int = 0
    upstream_errors: int = 0
    plugin_faults: int = 0
    internal_errors: int = 0
    timeouts: int = 0
    tls_failures: int = 0


class ServerContext:
    """One per gateway; belongs to one trio run.

    Attributes:
        stories: the log tells the way of each exchange (``story.py``), and the fast path serves none.

    Args:
        reserve: descriptors put by for a listener that always has to answer; connections of such a context
            give way to new ones (``room.py``).
        shortages: of the process, if there is more than one context.
    """

    def __init__(
        self, runtime: Runtime, reserve: Reserve | None = None, shortages: Shortages | None = None
    ) -> None:
        self.reserve = reserve
        self.shortages = shortages or Shortages()
        self.access_log = AccessLog()
        self.access: AccessLog | None = None  # the same, unless it is off
        self.wheel = DeadlineWheel()
        self.buffers = BufferPool(HEAD_BUFFER_SIZE, MAX_IDLE_BUFFERS)
        self.parts = BufferPool(PART_HEADROOM + PART_SIZE + PART_TAILROOM, MAX_IDLE_PARTS)
        self.pipes = PipePool(MAX_IDLE_PARTS)
        self.scratch = Buffer(SCRATCH_SIZE)
        self.unread = Buffer(SCRATCH_SIZE)  # what nobody will look at, of all connections
        self.turns = GuestTurns()
        self.counters = Counters()
        self.faults = FaultLog()
        self.connections: set[Connection] = set()
        self.accepted = 0  # open connections that listeners accepted; per_address: those of each client
        self.per_address: Counter[str] = Counter()
        self.ending = False  # a drain has begun, and may still take connections
        self.draining = False
        self.date = ffi.new("uint8_t[]", DATE_SIZE)  # of the present second, once ``tell_date`` was called
        self._date_second = -1
        self._idle_exchanges: list[Any] = []
        self._empty: trio.Event | None = None
        self.fast_path = FastPath(self)
        self.run_on(runtime)

    def run_on(self, runtime: Runtime) -> None:
        """New exchanges start on *runtime*."""
        self.runtime = runtime
        kind = runtime.resolved.log.access
        self.access_log.set_kind(kind)
        self.access = None if kind == "off" else self.access_log
        self.stories = is_wanted()
        self.fast_path.run_on(runtime)

    def refresh_date(self) -> None:
        """Make ``date`` that of the present second."""
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            ffi.buffer(self.date)[:] = formatdate(second, usegmt=True).encode()

    def tell_date(self, options: Any) -> None:
        """Let the writer add Date to the next head if it has none (RFC 9110 section 6.6.1)."""
        self.refresh_date()
        options.date = self.date
        options.date_len = DATE_SIZE

    @property
    def in_flight(self) -> int:
        """Exchanges that run now."""
        return self.fast_path.in_flight + sum(connection.busy for connection in self.connections)

    def count(self) -> Counters:
        """The counters, with what the fast path has counted since the last time."""
        self.counters.exchanges += self.fast_path.take_exchanges()
        return self.counters

    def closed(self, connection: Connection) -> None:
        """*connection* has ended."""
        self.connections.discard(connection)
        for endpoint in self.runtime.endpoints_by_client:
            endpoint.client_gone(connection)
        if not self.connections and self._empty is not None:
            self._empty.set()

    async def wait_no_connections(self) -> None:
        """Wait until the last connection has ended."""
        if self.connections:
            self._empty = trio.Event()
            await self._empty.wait()

    def take_exchange(self) -> Any:
        """A reset cffi ``blitz_exchange *``."""
        if self._idle_exchanges:
            return self._idle_exchanges.pop()
        exchange = lib.blitz_exchange_new()
        if exchange == ffi.NULL:
            raise InternalError("out of memory for an exchange")
        return ffi.gc(exchange, lib.blitz_exchange_free)

    def give_exchange(self, exchange: Any) -> None:
        lib.blitz_exchange_reset(exchange)
        if len(self._idle_exchanges) < MAX_IDLE_BUFFERS:
            self._idle_exchanges.append(exchange)

    def write_head(self, head: Any, options: Any, first: Any, first_size: int) -> int:
        """Write an outgoing head and its first body part into the scratch buffer.

        Returns: bytes written; use or copy them before the next await.
        """
        scratch = self.scratch
        size: int = lib.blitz_head_write(head, options, first, first_size, scratch.ptr, scratch.size)
        if size == lib.BLITZ_E_SPACE:
            need = lib.blitz_head_write_bound(head, options) + first_size + 64
            scratch = self.scratch = Buffer(need)
            size = lib.blitz_head_write(head, options, first, first_size, scratch.ptr, scratch.size)
        if size < 0:
            raise InternalError(f"writing a head failed with code {size}")
        return size
