"""The upstream door: one try of an exchange at one endpoint, whatever is spoken there.

An exchange knows this and no connection. HTTP/1.1 over kept connections is ``h1_upstream.py``; which endpoint
is tried, and when again, is ``blitz/routing/balance.py``.

The order of calls::

    send_head  (splice | send_part)*      the request; its body may still be sent ...
    read_head+  body | switch             ... while the response is read
    release

What is sent to an upstream that is gone is lost without an error: it may have responded before it went, and
reading tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from blitz.errors import UpstreamError

if TYPE_CHECKING:
    from blitz.http.body import BodyReader
    from blitz.http.buffer import Buffer

    from .body_stream import IncomingBody
    from .deadline import Timer
    from .endpoint import Endpoint, UpstreamConnection
    from .forwarding import Forwarding
    from .stream import ByteStream

__all__ = ["SENDING", "Upstream", "Upstreams", "reset_in_body"]

SENDING = "send to upstream"  # what a wait for the upstream to take more is called (``Timer.what``)


def reset_in_body() -> UpstreamError:
    """It broke off in the body of its response."""
    return UpstreamError("connection reset in the answer's body", cause="upstream_reset")


class Upstream(Protocol):
    """Heads are cffi ``blitz_head *`` and are borrowed for the call, as are bytes. *timer* is armed for each
    wait; whoever owns it ends the wait when it expires."""

    @property
    def endpoint(self) -> Endpoint:
        """Who is asked."""
        ...

    @property
    def used(self) -> int:
        """Exchanges that its connection has served before: it may have ended since the last one."""
        ...

    async def send_head(
        self,
        request: Any,
        forwarding: Forwarding,
        kind: int,
        content_length: int,
        first: Any,
        size: int,
        *,
        last: bool,
        timer: Timer,
    ) -> int:
        """Send the head as ``forwarding`` says, and with it the first part of the body.

        Args:
            kind, content_length: framing of the body: NONE, LENGTH or CHUNKED.
            first, size: (cffi ``uint8_t *``) the first part.
            last: that is all of it.
        Returns: bytes of head and first part.
        """
        ...

    async def send_rest(self, data: bytes, timer: Timer) -> None:
        """Send what another driver has written of head and body and could not send."""
        ...

    async def send_part(self, part: Buffer, start: int, end: int, *, last: bool, timer: Timer) -> bool:
        """Send ``part.data[start:end]``; the part may be written around that. False: the upstream takes no
        more."""
        ...

    async def splice(self, body: IncomingBody, timer: Timer) -> bool:
        """Send what is left of *body* without looking at it, as far as that is possible. False: as above.

        Raises: what *body* raises, and trio.BrokenResourceError of its stream.
        """
        ...

    async def read_head(self, response: Any, method: bytes) -> None:
        """Read the next head, interim or final, into *response*. No deadline but the caller's.

        Raises:
            UpstreamError: what came is no response. ``retryable``: nothing came at all, and the connection
                ended.
            trio.ClosedResourceError: ``abort`` was called.
        """
        ...

    def body(self, reader: BodyReader, timer: Timer) -> IncomingBody:
        """The body of the final response; what came of it with the head is there."""
        ...

    def switch(self) -> tuple[ByteStream, bytes]:
        """After a 101: the link, and what came on it behind the head already. ``release`` closes it."""
        ...

    def abort(self) -> None:
        """Nothing will come of it: whoever waits for it wakes up."""
        ...

    def release(self, *, clean: bool, keep_alive: bool = False) -> bool:
        """The exchange needs it no more. True: its connection serves another one.

        Args:
            clean: request and response came to their proper ends; else the connection closes.
            keep_alive: the upstream keeps it open (BLITZ_HEAD_KEEP_ALIVE of the final response).
        """
        ...


class Upstreams(Protocol):
    """Where tries begin."""

    def take_idle(self, endpoint: Endpoint, owner: object) -> Upstream | None:
        """A connection that is open already and clean as far as anybody can see, or None. Does not wait.

        Args:
            owner: of the connection, where each client has its own (``Downstream.owner``).
        """
        ...

    async def connect(self, endpoint: Endpoint, timeout: float, owner: object, preface: bytes) -> Upstream:
        """A new connection, in *timeout* seconds (0: any number).

        Args:
            preface: sent before anything else: a PROXY header.
        Raises:
            UpstreamError: 502, 503 or 504; ``retryable`` where no request was sent.
            ShortageError: it cannot be made here; that says nothing about the endpoint.
        """
        ...

    def adopt(
        self, connection: UpstreamConnection, received: Buffer | None, head_size: int, *, chunked: bool
    ) -> Upstream:
        """Go on where the fast path stopped, on *connection*.

        Args:
            received: what came of the response; None: nothing was read. Belongs to the result.
            head_size: bytes of its final head, if that has been read.
            chunked: what is left of the request's body goes in chunked coding.
        """
        ...
