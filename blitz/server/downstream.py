"""The downstream door: one exchange's way to its client, whatever the client speaks and however it came.

An exchange and all that works on it (``exchange.py``, ``send_request.py``, ``send_response.py``,
``upload.py``, ``tunnel.py``) knows this and no connection. HTTP/1.1 over a socket, over TLS and over a
program's own stream is ``h1_downstream.py``.

The order of calls, each of them for one exchange::

    (send_continue | send_interim)*
    send_head_nowait [flush]  (splice | send_part | send_rest | send_pipe)*   the final response
    | switch                                              or 101: the link is the exchange's

All that sends or receives raises trio.BrokenResourceError when the client is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blitz.http.body import BodyReader
    from blitz.http.buffer import Buffer

    from .body_stream import IncomingBody
    from .deadline import Timer
    from .forwarding import Forwarding
    from .peer import Peer
    from .rate import MinRate
    from .stream import ByteStream

__all__ = ["Downstream"]


class Downstream(Protocol):
    """The client's side of the exchanges of one connection, one at a time.

    Heads are cffi ``blitz_head *`` and are borrowed for the call, as are bytes.
    """

    # -- who and how

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        ...

    @property
    def forwarding(self) -> Forwarding:
        """How requests are written for upstreams, with what they are told about this client."""
        ...

    @property
    def timer(self) -> Timer:
        """The deadline of the exchange's present wait. When it passes the exchange is cancelled."""
        ...

    @property
    def owner(self) -> object:
        """Whom upstream connections belong to that only this client may use again (``reuse = "client"``)."""
        ...

    @property
    def served(self) -> int:
        """Exchanges that it has carried before this one."""
        ...

    @property
    def may_be_fast(self) -> bool:
        """Its bytes can be read and written by the fast path."""
        ...

    def client_of(self, request: Any) -> Peer:
        """The client that *request* is for: behind a trusted proxy each request may have another one."""
        ...

    def local_address(self) -> tuple[str, int] | None:
        """Host and port at which the client reached us; None: it came without (a program's own stream)."""
        ...

    def is_reset(self) -> bool:
        """Nobody waits for the response any more. Reads nothing, does not wait."""
        ...

    def start_soon(self, task: Callable[[], Awaitable[object]]) -> None:
        """Run *task* beside the exchange; it is cancelled when the connection ends."""
        ...

    # -- the request's body

    def body(self, reader: BodyReader, rate: MinRate | None) -> IncomingBody:
        """The body of the request whose head was read last; what came of it with the head is there.

        Args:
            reader: its framing.
            rate: what the client owes; None: nothing.
        """
        ...

    def body_ended(self, surplus: bytes) -> None:
        """Nobody reads the body any more; *surplus* came behind it and begins the next request."""
        ...

    async def send_continue(self) -> None:
        """Ask for the body that the client holds back (RFC 9110 section 10.1.1); a client that knows no such
        thing (HTTP/1.0) is not asked."""
        ...

    # -- the response

    async def send_interim(self, response: Any) -> None:
        """Send a 1xx head; a client that knows none does not get it (RFC 9110 section 15.2)."""
        ...

    def frame(self, response: Any, *, request_read: bool) -> bool:
        """Settle how the final response, which is passed on, goes to this client. True: its body follows;
        False: nothing of it is sent.

        Args:
            request_read: nothing of the request will come any more; else the connection cannot go on.
        """
        ...

    def frame_local(self, response: Any, size: int, *, request_read: bool) -> int:
        """The same for a local response with a body of *size* bytes. Returns how many of them go out."""
        ...

    def send_head_nowait(self, response: Any, first: Any, size: int, *, last: bool) -> bool:
        """Begin the final response, which has been framed. True when the client has taken it all; else
        ``flush`` sends the rest.

        Args:
            first, size: (cffi ``uint8_t *``) the first part of the body, which leaves with the head.
            last: that is all of it.
        Raises:
            trio.BrokenResourceError: the client has been told nothing.
        """
        ...

    def take_head(self, kind: int, *, keeps: bool) -> None:
        """Another driver has sent the head of a final response with a body of that *kind*; parts follow.
        *keeps*: as the head has told the client."""
        ...

    async def send_rest(self, data: bytes) -> None:
        """Send bytes of the response as they are: what another driver has written of it, or a part of a body
        of known length."""
        ...

    async def flush(self) -> None:
        """Send what ``send_head_nowait`` could not; as long as the client takes some of it."""
        ...

    @property
    def keeps(self) -> bool:
        """After the head: the connection carries another exchange if this one comes to its proper end."""
        ...

    async def send_part(self, part: Buffer, start: int, end: int, *, last: bool) -> None:
        """Send ``part.data[start:end]``, as long as the client takes some of it; the part may be written
        around that (its headroom and tailroom). *last*: the body is complete; may come with no data."""
        ...

    async def splice(self, body: IncomingBody) -> None:
        """Send what is left of *body* without looking at it, as far as that is possible: perhaps nothing.

        Raises:
            ClientGone: the client takes no more.
            trio.BrokenResourceError, trio.ClosedResourceError: of *body*'s stream.
            what the body's reader raises.
        """
        ...

    @property
    def takes_pipes(self) -> bool:
        """``send_pipe`` works, for a body of known length."""
        ...

    async def send_pipe(self, read_end: int, size: int) -> None:
        """Send *size* bytes of the body that stand in a pipe, as long as the client takes some of it.

        Raises: ClientGone: it takes no more; some may be left in the pipe.
        """
        ...

    async def switch(self, response: Any) -> tuple[ByteStream, bytes]:
        """Send a 101; the link's bytes belong to the exchange from now on, and it carries no other.

        Returns: the link, and what came on it behind the request already.
        """
        ...
