"""The request on its way to an upstream: tries, the head with the first part, the rest behind it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientError, ShortageError, UpstreamError
from blitz.http.heads import span_bytes
from blitz.http.rules import IDEMPOTENT, part_size
from blitz.routing.balance import Tries

from .parts_body import PartsBody, pass_request
from .proxy_protocol import write_header
from .send_response import read_response_head, relay
from .upload import Upload, failure

if TYPE_CHECKING:
    from .body_stream import Readable
    from .cluster import Cluster
    from .endpoint import Endpoint
    from .exchange import Exchange
    from .handover import Handover, Stream
    from .split import Mirror
    from .upstream import Upstream

__all__ = ["forward"]

NULL = ffi.NULL
_NONE = lib.BLITZ_BODY_NONE
_LENGTH = lib.BLITZ_BODY_LENGTH
_CHUNKED = lib.BLITZ_BODY_CHUNKED
_UPGRADE = lib.BLITZ_HEAD_UPGRADE

MAX_COPY = 64 << 10  # bytes of body that a mirror gets: plugins may have collected more
BUSY = 503  # of an endpoint that has no place for one more: more tries would be more load


class TryTimeout(UpstreamError):
    """One try has had its time (``retry.per_try``); the exchange may have more."""


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
    first = _MORE if streamed else await _first_part(exchange)
    entry = exchange.entry
    assert entry is not None
    retry = entry.retry
    tries: Tries[Endpoint] = Tries(
        partial(cluster.choose, exchange.cdata),
        repeatable=first.is_all and exchange.method in IDEMPOTENT,
        retry=retry,
        budget=cluster.retry_budget() if retry is not None else None,
    )
    if entry.mirror is not None and (begun is None or begun.upstream is None):
        _copy(exchange, entry.mirror, first)
    if begun is not None and begun.upstream is not None:
        tries.begun_with(begun.upstream.endpoint)
    while not await _try(exchange, cluster, tries, first, begun):
        begun = None
    assert exchange.upstream is not None
    cluster.judge(exchange.cdata, exchange.upstream.endpoint, trio.current_time())
    return await relay(exchange, exchange.upstream)


async def _try(
    exchange: Exchange,
    cluster: Cluster,
    tries: Tries[Endpoint],
    first: FirstPart,
    begun: Handover | None,
) -> bool:
    """One of them. True: the head of the response that the client gets is in the exchange; False: once more.

    Raises: UpstreamError; what the client's body raises.
    """
    try:
        await _ask_in_time(exchange, cluster, tries, first, begun)
    except UpstreamError as error:
        upstream = exchange.upstream
        if upstream is None and not isinstance(error, TryTimeout):
            raise  # no connection could be made, anywhere
        used = upstream is not None and upstream.used > 0
        if exchange.endpoint is not None and not (used and error.retryable):
            exchange.endpoint.failed()
        if exchange.told_interim or not tries.again_after(error, trio.current_time(), used=used):
            raise
        _leave_try(exchange, error.message)
        return False
    status, now = exchange.cdata.response.status, trio.current_time()
    if exchange.told_interim or not tries.again_after_status(status, now):
        return True
    assert exchange.upstream is not None
    if lib.blitz_has_status(cluster.native.bad_status, status):
        exchange.upstream.endpoint.failed()
    _leave_try(exchange, f"status {status}")
    return False


def _leave_try(exchange: Exchange, why: str) -> None:
    """The try has failed, and another one is made."""
    exchange.drop_upstream()
    exchange.awaiting_response = False
    if exchange.story is not None:
        exchange.story.again(why)


async def _ask_in_time(
    exchange: Exchange,
    cluster: Cluster,
    tries: Tries[Endpoint],
    first: FirstPart,
    begun: Handover | None,
) -> None:
    """One of them, until the head of the response is in the exchange.

    Raises: UpstreamError; what the client's body raises.
    """
    seconds = tries.retry.per_try if tries.retry is not None and tries.repeatable else 0.0
    if not seconds:
        await _ask(exchange, cluster, tries, first, begun)
        return
    left = seconds
    if begun is not None and begun.upstream is not None:
        left -= trio.current_time() - exchange.began
    with trio.move_on_after(max(left, 0)) as scope:
        await _ask(exchange, cluster, tries, first, begun)
    if scope.cancelled_caught:
        where = exchange.endpoint.address if exchange.endpoint is not None else cluster.name
        what = f"{where}: no answer within {seconds:g} s (retry.per_try)"
        raise TryTimeout(what, status=504, cause="upstream_timeout")


async def _ask(
    exchange: Exchange,
    cluster: Cluster,
    tries: Tries[Endpoint],
    first: FirstPart,
    begun: Handover | None,
) -> None:
    """Send the request, or what the fast path has left of it, and read the head of the response."""
    if begun is None or begun.upstream is None:
        upstream = exchange.upstream = await _begin_try(exchange, tries)
        await _send_request(exchange, cluster, upstream, first)
    else:
        assert exchange.upstream is not None
        upstream = exchange.upstream
        if begun.stream is not None:
            _go_on_uploading(exchange, upstream, begun.stream)
        if begun.unsent:
            await upstream.send_rest(begun.unsent, exchange.downstream.timer)
    await read_response_head(exchange, upstream)


def _has_passed(exchange: Exchange) -> bool:
    """The fast path has sent the body, part by part, and none of it is here."""
    is_here = exchange.collected is not None or exchange.cdata.body_edited
    return exchange.body is not None and exchange.body.received > 0 and not is_here


def _go_on_uploading(exchange: Exchange, upstream: Upstream, stream: Stream) -> None:
    """The fast path has sent the head and what came of the body.

    Raises: what ended it there.
    """
    assert exchange.body is not None
    error = failure(exchange.body, upstream, stream.failed)
    if error is not None:
        raise error
    _upload(exchange, upstream, exchange.body, stream.unsent)


def _upload(exchange: Exchange, upstream: Upstream, body: Readable, unsent: bytes = b"") -> None:
    wheel = exchange.resources.wheel
    exchange.upload = Upload(wheel, body, upstream, exchange.upload_finished, unsent)
    exchange.downstream.start_soon(exchange.upload.run)


async def _first_part(exchange: Exchange) -> FirstPart:
    body = pass_request(exchange)
    if isinstance(body, PartsBody) and not exchange.cdata.body_edited:
        return await _first_of_parts(exchange, body)
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
        length = request.content_length
        if kind == _CHUNKED and body.reader.cdata.kind == _LENGTH:
            kind, length = _LENGTH, end - start  # plugins have had all of it on the fast path
        return FirstPart(body.head_buffer.ptr + start, end - start, body.done, kind, length)
    if body.done:
        return _whole(data)
    return FirstPart(ffi.from_buffer("uint8_t[]", data), len(data), False, kind, request.content_length, data)


async def _first_of_parts(exchange: Exchange, parts: PartsBody) -> FirstPart:
    data, request = exchange.collected, exchange.request
    if data is None:
        start, end = await parts.first()
        assert start == end or parts.part is not None
        data = bytes(parts.part.view[start:end]) if parts.part is not None else b""
    if parts.done:
        return _whole(data)
    return FirstPart(
        ffi.from_buffer("uint8_t[]", data), len(data), False, request.body, request.content_length, data
    )


def _whole(data: bytes) -> FirstPart:
    return FirstPart(ffi.from_buffer("uint8_t[]", data), len(data), True, _LENGTH, len(data), data)


async def _begin_try(exchange: Exchange, tries: Tries[Endpoint]) -> Upstream:
    """A connection to the first endpoint that has one.

    Raises:
        UpstreamError: of the last one that was tried.
    """
    failure: UpstreamError | None = None
    lib.blitz_exchange_ask(exchange.cdata)
    while True:
        while (endpoint := tries.next(trio.current_time())) is not None:
            try:
                return await _connect(exchange, tries, endpoint)
            except UpstreamError as error:
                if not error.retryable:
                    raise
                failure = error
                if exchange.story is not None:
                    exchange.story.not_connected(error)
            except ShortageError as error:
                exchange.resources.shortages.meet(error.number)
                raise
        if failure is None:
            raise UpstreamError("no endpoint is left of the upstream", status=BUSY)
        pause = tries.pause_after_connect(trio.current_time(), random.random())
        if pause is None or failure.status_hint == BUSY:
            raise failure
        await trio.sleep(pause)


async def _connect(exchange: Exchange, tries: Tries[Endpoint], endpoint: Endpoint) -> Upstream:
    upstreams, owner = exchange.resources.upstreams, exchange.downstream.owner
    upstream = None if tries.fresh else upstreams.take_idle(endpoint, owner)
    exchange.endpoint = endpoint
    exchange.tries += 1
    if exchange.story is not None:
        exchange.story.trying(endpoint, exchange.tries, upstream)
    if upstream is not None:
        return upstream
    preface = _proxy_header(exchange) if endpoint.proxy_protocol else b""
    return await upstreams.connect(endpoint, exchange.runtime.timeouts.connect, owner, preface)


def _proxy_header(exchange: Exchange) -> bytes:
    """A PROXY header for the client and the address at which it reached us."""
    peer = exchange.peer
    here = exchange.downstream.local_address()
    # A program's own stream has no address of ours: none, of the client's family.
    there = here or ("::" if ":" in peer.address else "0.0.0.0", 0)
    return write_header((peer.address, peer.port), there)


def _copy(exchange: Exchange, mirror: Mirror, first: FirstPart) -> None:
    """Send a copy of the request to the mirror, if it is this one's turn and there is room.

    What it sets in the options is set anew for the request itself.
    """
    resources = exchange.resources
    small = first.is_all and first.size <= MAX_COPY
    if not mirror.take() or not resources.mirrors.has_room(whole=small):
        return
    request, forwarding, cluster = exchange.request, exchange.downstream.forwarding, mirror.cluster
    endpoint = cluster.choose(exchange.cdata, trio.current_time(), ())
    assert endpoint is not None
    options = forwarding.options
    told = cluster.host and request.host.len
    asked = span_bytes(request, request.host).decode("latin-1") if told else ""
    forwarding.tell(exchange.peer, request.minor and 1, exchange.runtime.resolved.http.forwarded, asked)
    forwarding.write_host(request, cluster, endpoint)
    options.body, options.content_length, options.first_is_last = first.kind, first.content_length, True
    options.upgrade, options.close, options.strip_expect = False, not endpoint.reuse, True
    size = resources.write_head(request, options, first.ptr, first.size)
    written = bytes(resources.scratch.view[:size])
    resources.mirrors.send(cluster, endpoint, exchange.method, written)


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
        body = exchange.request_parts or exchange.body
        assert body is not None
        _upload(exchange, upstream, body)
