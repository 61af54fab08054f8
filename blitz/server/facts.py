"""What logs read of an exchange, and nothing that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .body_stream import IncomingBody
    from .endpoint import Endpoint
    from .peer import Peer
    from .runtime import RouteEntry, Runtime

__all__ = ["ExchangeFacts"]


class ExchangeFacts(Protocol):
    """One exchange, to be read: for its access line, its story, the lines about its errors and its end.

    Attributes:
        method, target: of the request as the client sent it.
        began: when its head was complete, in trio's time.
    """

    method: bytes
    target: bytes
    began: float

    @property
    def request(self) -> Any:
        """cffi ``blitz_head *``: the request as plugins have left it."""
        ...

    @property
    def runtime(self) -> Runtime:
        """The configuration that it started with."""
        ...

    @property
    def peer(self) -> Peer:
        """The client that it is for."""
        ...

    @property
    def body(self) -> IncomingBody | None:
        """Of the request; None when it has none."""
        ...

    @property
    def entry(self) -> RouteEntry | None:
        """Its route; None before one was chosen."""
        ...

    @property
    def identity(self) -> str:
        """Who the client is; "": nobody knows."""
        ...

    @property
    def endpoint(self) -> Endpoint | None:
        """The last one that was tried; None: no one was."""
        ...

    @property
    def tries(self) -> int:
        """How many times an endpoint was tried."""
        ...

    @property
    def status(self) -> int:
        """Of the response; 0 while the client has been told none."""
        ...

    @property
    def spent_ns(self) -> tuple[int, int]:
        """Nanoseconds that hooks took so far, and upstreams."""
        ...

    @property
    def request_id(self) -> str:
        """32 hexadecimal digits."""
        ...
