"""A client connection as the fast path sees it, and one that is there now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .client_watch import WatchedConnection
from .handover import CLOSED

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from blitz.builtin.identity import Identity
    from blitz.errors import BlitzError
    from blitz.http.buffer import Buffer

    from .access import AccessLine
    from .handover import Handover
    from .peer import Peer

__all__ = ["Keeper", "Parked", "ParkedConnection"]


class ParkedConnection(WatchedConnection, Protocol):
    """A client connection as the fast path sees it (``connection.py``).

    Attributes:
        buffer: a head with what follows it; the fast path puts it there when it stops.
        line: of the exchange that it stops in, or whose response it has nearly sent.
        served: exchanges that have ended.
    """

    buffer: Buffer | None
    line: AccessLine | None
    served: int

    def fast_path_options_for(self, peer: Peer, told_host: bytes = b"", minor: int = 1) -> Any:
        """cffi ``blitz_write_options *`` for requests of *peer*; alive until the next call."""
        ...

    def client_of(self, request: Any) -> Peer:
        """Who a request from a trusted proxy is for."""
        ...

    def disarm(self) -> None:
        """The fast path looks after deadlines from now on."""
        ...

    def take_back(self, begun: Handover) -> None:
        """The exchange of *begun* is the connection's: it ends as any other does, and goes no further."""
        ...


class Keeper(Protocol):
    """Who has a connection that no task waits for."""

    def go_on(self, stopped: Handover | str, error: int) -> None:
        """The fast path has stopped, in a pass of the event loop: waits for nothing, raises nothing.
        *error*: an errno that ended it."""
        ...

    def abandon(self) -> None:
        """The gateway was cancelled: end it at once."""
        ...


@dataclass(slots=True)
class Parked:
    """A connection on the fast path.

    Attributes:
        peer: the client of its present exchange.
        keeper: who is told when it leaves; None: task, which sleeps meanwhile.
        identity: who the client of its present exchange is, if a filter has let it pass here.
        failed: what the last response of our own that is an error told of.
        stopped, error: why it left; error is an errno.
    """

    connection: ParkedConnection
    peer: Peer
    keeper: Keeper | None
    task: Task | None
    failed: BlitzError | None = None
    identity: Identity | None = None
    stopped: Handover | str = CLOSED
    error: int = 0
