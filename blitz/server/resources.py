"""What all exchanges of one gateway use: the running configuration, clocks, buffers, counters.

Knows no connection and no exchange. ``context.py`` adds what holds those.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

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
from blitz.measures import Measures
from blitz.measures.counters import Counting

from .access import AccessLog
from .deadline import DeadlineWheel
from .encoder_room import EncoderRoom
from .faults import FaultLog
from .runtime import Runtime
from .shortages import Shortages
from .splice import PipePool
from .static_files import StaticFiles
from .turns import GuestTurns
from .workshop import Workshop

if TYPE_CHECKING:
    from blitz.builtin.services import Keys
    from blitz.wasm.shared import Shared

    from .split import Copies
    from .upstream import Upstreams

__all__ = ["Resources"]

DATE_SIZE = 29  # "Sun, 06 Nov 1994 08:49:37 GMT"
SCRATCH_SIZE = 256 * 1024  # one outgoing head (64 KiB and what we add) with a first part behind it
MAX_IDLE_BUFFERS = 256  # 4 MiB of head buffers ...
MAX_IDLE_PARTS = 16  # ... and 4 MiB of part buffers kept for reuse, per worker


class Resources:
    """One per gateway; belongs to one trio run.

    Attributes:
        runtime: what new exchanges start on.
        access: the access log, unless it is off.
        stories: the log tells the way of each exchange (``story.py``), and the fast path serves none.
        upstreams: where tries begin; mirrors: where copies do. Whoever makes this sets them.
        workshop: where what takes long is computed. keys: of token issuers; whoever makes this
            sets it.
        encoders: what compressed bodies share.
        limits: counts of requests that workers share; whoever makes this sets it.
        files: what is known of those of static routes.
        draining: no connection carries another exchange from now on.
        measures: where its figures are counted; counters: those that have a name of their own.

    Args:
        measures: None: nobody else reads them.
        shortages: of the process, if there is more than one gateway in it.
    """

    def __init__(
        self, runtime: Runtime, shortages: Shortages | None = None, measures: Measures | None = None
    ) -> None:
        self.runtime = runtime
        self.shortages = shortages or Shortages()
        self.measures = measures or Measures()
        self.access_log = AccessLog(measures=self.measures)
        self.access: AccessLog | None = None
        self.stories = False
        self.upstreams: Upstreams
        self.mirrors: Copies
        self.keys: Keys
        self.draining = False
        self.workshop = Workshop()
        self.limits: Shared | None = None
        self.wheel = DeadlineWheel()
        self.files = StaticFiles(self.wheel)
        self.buffers = BufferPool(HEAD_BUFFER_SIZE, MAX_IDLE_BUFFERS)
        self.parts = BufferPool(PART_HEADROOM + PART_SIZE + PART_TAILROOM, MAX_IDLE_PARTS)
        self.pipes = PipePool(MAX_IDLE_PARTS)
        self.scratch = Buffer(SCRATCH_SIZE)
        self.unread = Buffer(SCRATCH_SIZE)  # what nobody will look at, of all connections
        self.turns = GuestTurns()
        self.encoders = EncoderRoom()
        self.counters = Counting(self.measures)
        self.faults = FaultLog(self.measures)
        self.date = ffi.new("uint8_t[]", DATE_SIZE)  # of the present second, once ``tell_date`` was called
        self._date_second = -1
        self._idle_exchanges: list[Any] = []

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
