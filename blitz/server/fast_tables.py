"""What the Python side of the fast path knows: who is on it, the routes it may come to, what it is lent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.errors import InternalError

from .fast_slots import Slots

if TYPE_CHECKING:
    from blitz.errors import BlitzError

    from .endpoint import Endpoint, UpstreamConnection
    from .open_connection import OpenConnection
    from .parked import Parked
    from .resources import Resources
    from .runtime import RouteEntry

__all__ = ["FastTables"]


class FastTables:
    """Those of one fast path.

    Attributes:
        native: cffi ``blitz_fast_path *``; face: its ``blitz_fast_face *``.
        kept: cffi ``blitz_kept *``: responses of static routes.
        slots: what it is lent for requests.
        parked: the connections on it, by descriptor.
        entries: the routes that its exchanges may have, by the ids of their native routes.
    """

    __slots__ = ("context", "entries", "face", "kept", "native", "parked", "slots")

    def __init__(self, context: Resources) -> None:
        self.context = context
        fast_path = lib.blitz_fast_new()
        if fast_path == ffi.NULL:
            raise InternalError(f"no fast path: {os.strerror(ffi.errno)}")
        self.native = ffi.gc(fast_path, lib.blitz_fast_free)
        self.face = lib.blitz_fast_face_of(fast_path)
        self.face.date = context.date
        self.face.date_len = len(context.date)
        kept = lib.blitz_kept_new()
        if kept == ffi.NULL:
            raise InternalError("out of memory for the fast path")
        self.kept = self.face.kept = ffi.gc(kept, lib.blitz_kept_free)
        self.slots = Slots(self.native, context)
        self.parked: dict[int, Parked] = {}
        self.entries: dict[int, RouteEntry] = {}

    def upstream(self, report: Any, fd: int) -> UpstreamConnection:
        """The connection behind a descriptor taken from the endpoint of the report's route."""
        cluster = self.entries[report.route.id].cluster
        assert cluster is not None
        endpoint: Endpoint = cluster.endpoints[report.endpoint]
        return endpoint.taken(fd)

    def failed(self, report: Any) -> BlitzError | None:
        """What a response of our own tells of."""
        told = report.answered == lib.BLITZ_ANSWERED_WITH_ERROR
        return self.parked[report.fd].failed if told else None

    def in_hand(self, connection: OpenConnection) -> tuple[bytes, bytes, str, float] | None:
        """The exchange of *connection* that runs here: method, target, route, when it began (trio's time).
        None: it has none here."""
        fd = connection.stream.descriptor()
        if connection.exchange is not None or fd not in self.parked:
            return None
        report = ffi.new("blitz_fast_report *")
        lib.blitz_fast_look(self.native, fd, report)
        found = report.line
        if not found.method.len:
            return None
        method, target = (ffi.buffer(text.ptr, text.len)[:] for text in (found.method, found.target))
        route = self.entries[report.route.id].name.decode() if report.route != ffi.NULL else ""
        return method, target, route, found.began
