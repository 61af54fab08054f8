"""The downstream door (``downstream.py``) for HTTP/1.0 and HTTP/1.1, over any ``ByteStream``: a socket, TLS,
a program's own stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.errors import ClientGone

from .back_pressure import await_taker, send_patiently
from .body_stream import IncomingBody, frame_chunk
from .forwarding import Forwarding
from .splice import SinkBroken, can_splice, send_pipe, splice_body
from .stream import SocketStream
from .tls_stream import TlsStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

    from blitz.http.body import BodyReader
    from blitz.http.buffer import Buffer

    from .deadline import Timer
    from .peer import Peer
    from .rate import MinRate
    from .resources import Resources
    from .stream import ByteStream

__all__ = ["H1Downstream"]

NULL = ffi.NULL
_NONE = lib.BLITZ_BODY_NONE
_CHUNKED = lib.BLITZ_BODY_CHUNKED
_CLOSE = lib.BLITZ_BODY_CLOSE

CONTINUE_HEAD = b"HTTP/1.1 100 Continue\r\n\r\n"


class H1Downstream:
    """Of one connection; made with its first request, which is announced by ``next_request``, as each is.

    Attributes:
        surplus: bytes that came behind the body of the last request, outside of the head's buffer.
        until_close: the response that has begun ends with the connection; cut short, it must not look
            complete.
        must_linger: the client may still be sending: close with a goodbye.
    """

    __slots__ = (
        "_buffer",
        "_nursery",
        "_options",
        "_request",
        "_resources",
        "_runtime",
        "_stream",
        "_unsent",
        "forwarding",
        "keeps",
        "must_linger",
        "owner",
        "peer",
        "served",
        "surplus",
        "timer",
    )

    def __init__(
        self,
        resources: Resources,
        stream: ByteStream,
        peer: Peer,
        timer: Timer,
        nursery: trio.Nursery | None,
        owner: object,
    ) -> None:
        self._resources = resources
        self._runtime = resources.runtime
        self._stream = stream
        self._nursery = nursery
        self._options: Any = ffi.new("blitz_write_options *")
        self._request: Any = None
        self._buffer: Buffer | None = None
        self._unsent = b""
        self.peer = peer
        self.timer = timer
        self.owner = owner
        self.forwarding = Forwarding()
        self.served = 0
        self.surplus = b""
        self.keeps = False
        self.must_linger = False

    def next_request(self, request: Any, buffer: Buffer, served: int) -> None:
        """The head *request* is complete; what follows it is in *buffer*."""
        self._runtime = self._resources.runtime
        self._request = request
        self._buffer = buffer
        self.served = served
        self.keeps = self.must_linger = False

    # -- who and how

    @property
    def may_be_fast(self) -> bool:
        return self._stream.lend() is not None

    def client_of(self, request: Any) -> Peer:
        peer = self.peer
        return self._runtime.trust.client_behind(peer, request) if peer.trusted else peer

    def local_address(self) -> tuple[str, int] | None:
        stream = self._stream
        if isinstance(stream, TlsStream):
            stream = stream.stream
        if not isinstance(stream, SocketStream):
            return None
        here: tuple[Any, ...] = stream.socket.getsockname()
        return (str(here[0]), int(here[1])) if len(here) > 1 else None

    def is_reset(self) -> bool:
        return self._stream.is_reset()

    def start_soon(self, task: Callable[[], Awaitable[object]]) -> None:
        assert self._nursery is not None  # whoever runs an exchange has one
        self._nursery.start_soon(task)

    # -- the request's body

    def body(self, reader: BodyReader, rate: MinRate | None) -> IncomingBody:
        assert self._buffer is not None
        patience = self._runtime.timeouts.body_idle
        return IncomingBody(
            reader,
            self._buffer,
            self._stream,
            self._resources.parts,
            self.timer,
            patience,
            "request body",
            rate,
        )

    def body_ended(self, surplus: bytes) -> None:
        self.surplus = surplus

    async def send_continue(self) -> None:
        if self._request.minor:
            await self._send_all(CONTINUE_HEAD)

    # -- the response

    async def send_interim(self, response: Any) -> None:
        if self._request.minor:
            await self._send_bodiless(response, upgrade=False)

    def frame(self, response: Any, *, request_read: bool) -> bool:
        stays = request_read and not self._resources.draining
        has_content = lib.blitz_frame_response(self._options, self._request, response, stays)
        self._framed(request_read)
        return bool(has_content)

    def frame_local(self, response: Any, size: int, *, request_read: bool) -> int:
        stays = request_read and not self._resources.draining
        sent = lib.blitz_frame_local_response(self._options, self._request, response, size, stays)
        self._framed(request_read)
        return int(sent)

    def _framed(self, request_read: bool) -> None:
        self.keeps = not self._options.close
        self.must_linger = not request_read

    def send_head_nowait(self, response: Any, first: Any, size: int, *, last: bool) -> bool:
        self._options.first_is_last = last
        return self._begin(response, first, size)

    def frame_last(self, cdata: Any) -> int:
        """``frame_local`` for a last response, whatever this connection has carried; in the exchange *cdata*,
        and without a request where none was read."""
        self.keeps = False
        response, size = cdata.response, cdata.new_body.len
        return int(lib.blitz_frame_local_response(self._options, cdata.request, response, size, 0))

    def take_head(self, kind: int, *, keeps: bool) -> None:
        self._options.body = kind
        self.keeps = keeps

    async def send_rest(self, data: bytes) -> None:
        await self._send_rest(memoryview(data))

    async def send_last(self, cdata: Any, size: int) -> None:
        """Send it, with *size* bytes of its body; nothing bounds the time but the caller."""
        if not self._begin(cdata.response, cdata.new_body.ptr, size):
            await self._stream.send_rest(memoryview(self._unsent))

    def _begin(self, response: Any, first: Any, size: int) -> bool:
        resources = self._resources
        resources.tell_date(self._options)
        written = resources.write_head(response, self._options, first, size)
        data = resources.scratch.view[:written]
        sent = self._stream.send_nowait(data)
        if sent < written:
            self._unsent = bytes(data[sent:])
            return False
        return True

    async def flush(self) -> None:
        unsent, self._unsent = self._unsent, b""
        await self._send_rest(memoryview(unsent))

    @property
    def until_close(self) -> bool:
        return bool(self._options.body == _CLOSE)

    async def send_part(self, part: Buffer, start: int, end: int, *, last: bool) -> None:
        chunked = self._options.body == _CHUNKED
        data = frame_chunk(part, start, end, last=last) if chunked else part.view[start:end]
        # The part stays as it is until it is sent: no copy.
        sent = self._stream.send_nowait(data) if data else 0
        if sent < len(data):
            await self._send_rest(data[sent:])

    async def splice(self, body: IncomingBody) -> None:
        stream = self._stream
        if self._options.body == _CHUNKED or not can_splice(body, stream):
            return
        patience = self._runtime.timeouts.send_idle
        try:
            await splice_body(
                body,
                stream,
                self._resources.pipes,
                lambda: await_taker(stream, self.timer, patience, "send"),
            )
        except SinkBroken as exc:
            raise ClientGone from exc

    @property
    def takes_pipes(self) -> bool:
        return isinstance(self._stream, SocketStream) and self._options.body != _CHUNKED

    async def send_pipe(self, read_end: int, size: int) -> None:
        stream, patience = self._stream, self._runtime.timeouts.send_idle
        try:
            await send_pipe(read_end, stream, size, lambda: await_taker(stream, self.timer, patience, "send"))
        except SinkBroken as exc:
            raise ClientGone from exc

    async def switch(self, response: Any) -> tuple[ByteStream, bytes]:
        await self._send_bodiless(response, upgrade=True)
        buffer = self._buffer
        assert buffer is not None
        return self._stream, bytes(buffer.view[buffer.start : buffer.end])

    async def _send_bodiless(self, response: Any, *, upgrade: bool) -> None:
        options = self._options
        options.body = _NONE
        options.close = options.keep_alive_10 = options.keep_length = options.first_is_last = 0
        options.date_len = 0
        options.upgrade = upgrade
        size = self._resources.write_head(response, options, NULL, 0)
        options.upgrade = 0
        await self._send_all(self._resources.scratch.view[:size])

    async def _send_all(self, data: memoryview | bytes) -> None:
        """Send all of *data*; it may be overwritten as soon as this waits."""
        sent = self._stream.send_nowait(data)
        if sent < len(data):
            await self._send_rest(memoryview(bytes(data[sent:])))

    async def _send_rest(self, data: memoryview) -> None:
        """Send *data*, which stays as it is; as long as the client takes some of it."""
        patience = self._runtime.timeouts.send_idle
        await send_patiently(self._stream, data, self.timer, patience, "send")
