"""The request on its way to an upstream: tries, the head with the first part, the rest behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientError, ShortageError, UpstreamError
from blitz.http.rules import part_size
from blitz.routing.balance import Tries

from .heads import span_bytes
from .proxy_protocol import write_header
from .send_response import read_response_head, relay
from .upload import Upload, failure

if TYPE_CHECKING:
    from .body_stream import IncomingBody
    from .endpoint import Cluster, Endpoint
    from .exchange import Exchange
    from .fast_path import Handover, Stream
    from .upstream import Upstream

__all__ = ["forward"]

NULL = ffi.NULL
_NONE = lib.BLITZ_BODY_NONE
_LENGTH = lib.BLITZ_BODY_LENGTH
_UPGRADE = lib.BLITZ_HEAD_UPGRADE

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))  # RFC 9110 section 9.2.2


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
    """Send the request to *cluster*, relay the response; True when the client's connection stays.

    With *begun* the first try has been made on the fast path, as far as that says.

    Raises: UpstreamError; what the client's body raises.
    """
    streamed = begun is not None and (begun.stream is not None or _has_passed(exchange))
    first = _MORE if streamed else _first_part(exchange)
    tries: Tries[Endpoint] = Tries(cluster.order, repeatable=first.is_all and exchange.method in IDEMPOTENT)
    unsent = begun.unsent if begun is not None else None
    while True:
        if unsent is None:
            upstream = exchange.upstream = await _begin_try(exchange, tries)
        else:
            assert exchange.upstream is not None
            upstream = exchange.upstream
            if begun is not None and begun.stream is not None:
                _go_on_uploading(exchange, upstream, begun.stream)
                begun = None
        try:
            if unsent is None:
                await _send_request(exchange, cluster, upstream, first)
            elif unsent:
                await upstream.send_rest(unsent, exchange.downstream.timer)
            await read_response_head(exchange, upstream)
            break
        except UpstreamError as error:
            if not tries.again_after(error, used=upstream.used > 0):
                raise
            exchange.drop_upstream()
            unsent = None
            if exchange.story is not None:
                exchange.story.again(error)
    return await relay(exchange, upstream)


def _has_passed(exchange: Exchange) -> bool:
    """The fast path has sent the body, part by part: none of it is here."""
    return exchange.body is not None and exchange.body.received > 0


def _go_on_uploading(exchange: Exchange, upstream: Upstream, stream: Stream) -> None:
    """The fast path has sent the head and what came of the body.

    Raises: what ended it there.
    """
    assert exchange.body is not None
    error = failure(exchange.body, upstream, stream.failed)
    if error is not None:
        raise error
    _upload(exchange, upstream, exchange.body, stream.unsent)


def _upload(exchange: Exchange, upstream: Upstream, body: IncomingBody, unsent: bytes = b"") -> None:
    wheel = exchange.resources.wheel
    exchange.upload = Upload(wheel, body, upstream, exchange.upload_finished, unsent)
    exchange.downstream.start_soon(exchange.upload.run)


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


async def _begin_try(exchange: Exchange, tries: Tries[Endpoint]) -> Upstream:
    """A connection to the first endpoint that has one.

    Raises:
        UpstreamError: of the last one that was tried.
    """
    upstreams, owner = exchange.resources.upstreams, exchange.downstream.owner
    failure: UpstreamError | None = None
    lib.blitz_exchange_ask(exchange.cdata)
    while (endpoint := tries.next(trio.current_time())) is not None:
        upstream = None if tries.fresh else upstreams.take_idle(endpoint, owner)
        exchange.endpoint = endpoint
        exchange.tries += 1
        if exchange.story is not None:
            exchange.story.trying(endpoint, exchange.tries, upstream)
        if upstream is not None:
            return upstream
        try:
            preface = _proxy_header(exchange) if endpoint.proxy_protocol else b""
            return await upstreams.connect(endpoint, exchange.runtime.timeouts.connect, owner, preface)
        except UpstreamError as error:
            if not error.retryable:
                raise
            failure = error
            if exchange.story is not None:
                exchange.story.not_connected(error)
        except ShortageError as error:
            exchange.resources.shortages.meet(error.number)
            raise
    assert failure is not None
    raise failure


def _proxy_header(exchange: Exchange) -> bytes:
    """A PROXY header for the client and the address at which it reached us."""
    peer = exchange.peer
    here = exchange.downstream.local_address()
    # A program's own stream has no address of ours: none, of the client's family.
    there = here or ("::" if ":" in peer.address else "0.0.0.0", 0)
    return write_header((peer.address, peer.port), there)


async def _send_request(exchange: Exchange, cluster: Cluster, upstream: Upstream, first: FirstPart) -> None:
    request, cdata = exchange.request, exchange.cdata
    endpoint, downstream = upstream.endpoint, exchange.downstream
    cdata.upstream.ptr = endpoint.name_ptr
    cdata.upstream.len = len(endpoint.name)
    forwarding = downstream.forwarding
    options = forwarding.options
    options.strip_expect = exchange.expects_continue
    run = exchange.chain_run
    forwarding.drop_ranges(drop=run is not None and run.edits_answers)
    kind = first.kind
    options.upgrade = bool(request.flags & _UPGRADE) and exchange.permit_upgrade()
    if options.upgrade:
        kind = _NONE  # a length of 0 is not told: some servers take any for content
    told = cluster.host and request.host.len
    asked = span_bytes(request, request.host).decode("latin-1") if told else ""
    forwarding.tell(exchange.peer, request.minor and 1, exchange.runtime.resolved.http.forwarded, asked)
    forwarding.write_host(request, cluster, upstream.endpoint)
    size = await upstream.send_head(
        request,
        forwarding,
        kind,
        first.content_length,
        first.ptr,
        first.size,
        last=first.is_all,
        timer=downstream.timer,
    )
    if exchange.story is not None:
        exchange.story.sent_head(size, first.size, whole=first.is_all)
    if not first.is_all:
        await exchange.say_continue()
        assert exchange.body is not None
        _upload(exchange, upstream, exchange.body)
