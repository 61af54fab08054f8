"""The request on its way to an upstream: a connection, the head with the first part, the rest behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientError, ShortageError, UpstreamError
from blitz.http.rules import part_size

from .back_pressure import send_patiently
from .heads import span_bytes
from .proxy_protocol import write_header
from .send_response import DeadUpstream, read_answer, relay
from .stream import SocketStream
from .tls_stream import TlsStream
from .upload import Upload, failure

if TYPE_CHECKING:
    from .exchange import Exchange
    from .fast_path import Handover, Stream
    from .upstream import Cluster, UpstreamConnection

__all__ = ["drop_untrusted", "forward", "go_on_with_answer", "set_host"]

NULL = ffi.NULL
_NONE = lib.BLITZ_BODY_NONE
_LENGTH = lib.BLITZ_BODY_LENGTH
_CHUNKED = lib.BLITZ_BODY_CHUNKED
_UPGRADE = lib.BLITZ_HEAD_UPGRADE

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))  # RFC 9110 section 9.2.2
# Forwarding information that a client sent is not believed: it is dropped and written anew.
UNTRUSTED = (
    lib.BLITZ_F_X_FORWARDED_FOR,
    lib.BLITZ_F_X_FORWARDED_PROTO,
    lib.BLITZ_F_X_FORWARDED_HOST,
    lib.BLITZ_F_FORWARDED,
)
# Dropped as well where plugins change answers: of a part they would see a part, and what they made of it
# would be none any more. A server may ignore Range (RFC 9110 section 14.2), so the client gets the whole.
RANGES = (lib.BLITZ_F_RANGE, lib.BLITZ_F_IF_RANGE)
DROPPED_FIELDS = ffi.new("uint8_t[]", [*UNTRUSTED, *RANGES])


@dataclass(slots=True)
class FirstPart:
    """What of the request's body is here when its head is sent.

    Attributes:
        ptr, size: the data; keep holds it.
        is_all: nothing follows.
        kind, content_length: framing of the message to the upstream.
    """

    ptr: Any
    size: int
    is_all: bool
    kind: int
    content_length: int
    keep: Any = None


NO_BODY = FirstPart(NULL, 0, True, _NONE, 0)
_MORE = FirstPart(NULL, 0, False, _NONE, 0)  # the first part was sent, and is here no more


async def forward(exchange: Exchange, cluster: Cluster, begun: Handover | None = None) -> bool:
    """Send the request to *cluster*, relay the answer; True when the client connection stays.

    With *begun* the first try has been made on the fast path, as far as that says.

    A reused connection that turns out dead before a byte of the answer gets one more try on a fresh
    one, if the method allows it and the whole request is still here (RFC 9112 section 9.3.1).

    Raises: UpstreamError; what the client's body raises.
    """
    context = exchange.context
    streamed = begun is not None and (begun.stream is not None or _has_passed(exchange))
    first = _MORE if streamed else _first_part(exchange)
    fresh = False
    while True:
        if begun is not None and begun.upstream is not None:
            upstream = begun.upstream
            answer, unsent = begun.answer, begun.unsent
            if begun.stream is not None:
                _go_on_uploading(exchange, upstream, begun.stream)
            begun = None
        else:
            upstream = exchange.upstream = await _acquire(exchange, cluster, fresh=fresh)
            answer, unsent = None, None
        try:
            if unsent is None:
                await _send_request(exchange, cluster, upstream, first)
            elif unsent:
                await _send_unsent(exchange, upstream, unsent)
            buffer = await read_answer(exchange, upstream, answer)
            break
        except DeadUpstream as exc:
            exchange.drop_upstream()
            if fresh or not upstream.used or not first.is_all or exchange.method not in IDEMPOTENT:
                raise
            fresh = True
            if exchange.story is not None:
                exchange.story.again(exc)
    try:
        return await relay(exchange, upstream, buffer)
    finally:
        context.buffers.give(buffer)


async def go_on_with_answer(exchange: Exchange, begun: Handover) -> bool:
    """The fast path has read the answer, and asked some of the plugins about it: as ``forward``."""
    upstream, buffer = begun.upstream, begun.answer
    assert upstream is not None
    assert buffer is not None
    buffer.start = begun.answer_size
    try:
        return await relay(exchange, upstream, buffer, begun)
    finally:
        exchange.context.buffers.give(buffer)


def _has_passed(exchange: Exchange) -> bool:
    """The fast path has sent the body, part by part: none of it is here."""
    return exchange.body is not None and exchange.body.received > 0


def _go_on_uploading(exchange: Exchange, upstream: UpstreamConnection, stream: Stream) -> None:
    """The fast path has sent the head and what came of the body.

    Raises: what ended it there.
    """
    assert exchange.body is not None
    error = failure(exchange.body, upstream, stream.failed)
    if error is not None:
        raise error
    exchange.upload = Upload(exchange, upstream, chunked=stream.chunked, unsent=stream.unsent)
    exchange.connection.nursery.start_soon(exchange.upload.run)


def drop_untrusted(options: Any) -> None:
    """Let the writer leave out what clients say about themselves."""
    options.drop_ids = DROPPED_FIELDS
    options.n_drop_ids = len(UNTRUSTED)


def set_host(options: Any, host: bytes) -> None:
    """Let the writer replace Host by *host*; b"" keeps the client's. *host* must stay alive."""
    if host:
        options.host = ffi.from_buffer("uint8_t[]", host)
        options.host_len = len(host)
    elif options.host_len:
        options.host = NULL
        options.host_len = 0


def _first_part(exchange: Exchange) -> FirstPart:
    request = exchange.request
    cdata = exchange.cdata
    if cdata.body_edited:
        data = ffi.buffer(cdata.new_body.ptr, cdata.new_body.len)[:] if cdata.new_body.len else b""
        cdata.body_edited = 0
        size = part_size(request)
        if size is not None and size != len(data):
            # As the whole it would replace more than it is (RFC 9110 section 14.5).
            raise ClientError("content-range does not fit the body that a plugin has made of this one")
        return _whole(data)
    body = exchange.body
    if body is None:
        return NO_BODY
    kind: int = request.body
    data = exchange.collected
    if data is None:
        start, end = body.buffered()
        return FirstPart(body.head_buffer.ptr + start, end - start, body.done, kind, request.content_length)
    if body.done:
        return _whole(data)
    return FirstPart(ffi.from_buffer("uint8_t[]", data), len(data), False, kind, request.content_length, data)


def _whole(data: bytes) -> FirstPart:
    return FirstPart(ffi.from_buffer("uint8_t[]", data), len(data), True, _LENGTH, len(data), data)


async def _acquire(exchange: Exchange, cluster: Cluster, *, fresh: bool) -> UpstreamConnection:
    """A connection to one of the cluster's endpoints, tried in turn."""
    now = trio.current_time()
    failure: UpstreamError | None = None
    for endpoint in cluster.order(now):
        connection = (
            None if fresh else exchange.context.fast_path.resting.take_idle(endpoint, exchange.connection)
        )
        exchange.endpoint = endpoint
        exchange.tries += 1
        if exchange.story is not None:
            exchange.story.trying(endpoint, exchange.tries, connection)
        if connection is not None:
            return connection
        try:
            preface = _proxy_header(exchange) if endpoint.proxy_protocol else b""
            return await endpoint.connect(exchange.runtime.timeouts.connect, exchange.connection, preface)
        except UpstreamError as exc:
            failure = exc
            if exchange.story is not None:
                exchange.story.not_connected(exc)
        except ShortageError as exc:
            exchange.context.shortages.meet(exc.number)
            raise
    assert failure is not None
    raise failure


def _proxy_header(exchange: Exchange) -> bytes:
    """A PROXY header for the client and the address at which it reached us."""
    peer = exchange.peer
    stream = exchange.connection.stream
    if isinstance(stream, TlsStream):
        stream = stream.stream
    here: tuple[Any, ...] = stream.socket.getsockname() if isinstance(stream, SocketStream) else ()
    # An embedder's own transport has no address of ours: none, of the client's family.
    there = (str(here[0]), int(here[1])) if len(here) > 1 else ("::" if ":" in peer.address else "0.0.0.0", 0)
    return write_header((peer.address, peer.port), there)


async def _send_unsent(exchange: Exchange, upstream: UpstreamConnection, unsent: bytes) -> None:
    timer, patience = exchange.connection.timer, exchange.runtime.timeouts.send_idle
    try:
        await send_patiently(upstream.stream, memoryview(unsent), timer, patience, "send to upstream")
    except trio.BrokenResourceError:
        return  # it may have answered before it closed: reading will tell


async def _send_request(
    exchange: Exchange, cluster: Cluster, upstream: UpstreamConnection, first: FirstPart
) -> None:
    connection = exchange.connection
    context = exchange.context
    request = exchange.request
    cdata = exchange.cdata
    name = upstream.endpoint.name
    cdata.upstream.ptr = upstream.endpoint.name_ptr
    cdata.upstream.len = len(name)
    options = connection.upstream_options
    options.body = first.kind
    options.content_length = first.content_length
    options.first_is_last = first.is_all
    options.close = not upstream.endpoint.reuse
    options.strip_expect = exchange.expects_continue
    run = exchange.chain_run
    options.n_drop_ids = len(DROPPED_FIELDS if run is not None and run.edits_answers else UNTRUSTED)
    if request.flags & _UPGRADE and exchange.permit_upgrade():
        options.upgrade = 1
        options.body = _NONE  # a length of 0 is not told: some servers take any for content
    else:
        options.upgrade = 0
    if connection.introduced_as != (request.minor and 1):
        connection.introduce(exchange, request.minor and 1)
    host = cluster.host
    if host and request.host.len:
        asked = span_bytes(request, request.host).decode("latin-1")
        connection.introduce(exchange, request.minor and 1, asked)
    if not host and not request.host.len:
        # HTTP/1.0 without Host: ours must have one (RFC 9112 section 3.2); the endpoint's, as nginx does.
        host = b"localhost" if upstream.endpoint.address.path else name
    set_host(options, host)
    size = context.write_head(request, options, first.ptr, first.size)
    data = context.scratch.view[:size]
    if exchange.story is not None:
        exchange.story.sent_head(size, first.size, whole=first.is_all)
    stream = upstream.stream
    try:
        sent = stream.send_nowait(data)
        if sent < size:
            await _send_unsent(exchange, upstream, bytes(data[sent:]))
    except trio.BrokenResourceError:
        return  # it may have answered before it closed: reading will tell
    if not first.is_all:
        await exchange.say_continue()
        exchange.upload = Upload(exchange, upstream, chunked=first.kind == _CHUNKED)
        connection.nursery.start_soon(exchange.upload.run)
