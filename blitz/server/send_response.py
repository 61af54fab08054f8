"""The upstream's response: its head read, the plugins asked, head and body sent on to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import UpstreamError
from blitz.http.body import BodyReader, body_reader
from blitz.http.rules import field_value

from .ask_plugins import ask_about_response
from .compressing import Relayed, coding_of, send_compressed
from .parts_body import PartsBody, pass_response
from .send_local import send_whole
from .send_parts import send_parts
from .tunnel import tunnel
from .upstream import reset_in_body

if TYPE_CHECKING:
    from .body_stream import IncomingBody, Readable
    from .exchange import Exchange
    from .handover import Handover, Stream
    from .upstream import Upstream

__all__ = ["go_on_with_body", "read_response_head", "relay"]

NULL = ffi.NULL
_KEEP_ALIVE = lib.BLITZ_HEAD_KEEP_ALIVE

SWITCHING = 101


async def read_response_head(exchange: Exchange, upstream: Upstream) -> None:
    """Read heads until the final one is in the exchange; interim ones go on to the client.

    Raises:
        UpstreamError: as ``Upstream.read_head``.
        BlitzError: the upload failed, and nothing will come.
    """
    response = exchange.cdata.response
    most = exchange.runtime.limits.max_interim_responses
    interim = 0
    exchange.wait_first_byte()
    while True:
        try:
            await upstream.read_head(response, exchange.method)
        except trio.ClosedResourceError:
            raise exchange.why_aborted() from None
        if response.status >= 200 or response.status == SWITCHING:
            break
        interim += 1
        if interim > most:
            raise UpstreamError(f"more than {most} interim answers")
        # RFC 9110 section 15.2: 1xx are forwarded, but not a 100 that we asked for.
        if response.status != 100:
            exchange.told_interim = True
            await exchange.downstream.send_interim(response)
    exchange.awaiting_response = False
    if exchange.story is not None:
        exchange.story.upstream_head(response)


async def relay(exchange: Exchange, upstream: Upstream, begun: Handover | None = None) -> bool:
    """Ask the plugins about the response and send it on; True when the client's connection stays.

    Args:
        begun: the fast path has read the head, and asked some of the plugins: what it says of its body may be
            theirs.
    """
    response = exchange.cdata.response
    if begun is None and response.status == SWITCHING:
        return await _switch(exchange, upstream)
    if begun is not None:
        reader = BodyReader(begun.answer_body, UpstreamError)
    else:
        limits = exchange.runtime.limits
        reader = body_reader(
            response,
            UpstreamError,
            max_chunk_line=limits.max_chunk_line_size,
            max_trailers=limits.max_trailer_size,
        )
    body = upstream.body(reader, exchange.downstream.timer)
    body.received = reader.received
    line = exchange.line
    if line is not None:
        line.answer = body
    collected = None
    source: Readable | None = body
    run = exchange.chain_run
    if run is not None and run.has_response:
        collected = await ask_about_response(exchange, run, body, begun)
        source, collected = pass_response(exchange, run, body, collected)
    exchange.finish_response()
    try:
        if exchange.cdata.body_edited:
            body.buffered()  # what is of no use to the client may be all that there is
            keep = await send_whole(exchange)
        elif isinstance(source, PartsBody):
            keep = await send_parts(exchange, source, collected)
        else:
            keep = await _send_on(exchange, body, collected)
    except trio.BrokenResourceError:
        if body.done:  # the client is gone; the upstream's connection is as good as before
            _end_try(exchange, upstream, body)
        raise
    _end_try(exchange, upstream, body)
    return keep


async def go_on_with_body(exchange: Exchange, stream: Stream) -> bool:
    """The fast path has sent the head and what came of the body: as ``relay``.

    Raises: what ended it there.
    """
    upstream, downstream = exchange.upstream, exchange.downstream
    reader = BodyReader(stream.body, UpstreamError)
    if stream.failed == lib.BLITZ_STREAM_SOURCE:
        raise reset_in_body()
    if stream.failed == lib.BLITZ_STREAM_SINK:
        raise trio.BrokenResourceError("socket connection broken")
    if stream.failed:
        raise reader.failure(stream.failed)
    if stream.unsent:
        await downstream.send_rest(stream.unsent)
    if upstream is None:  # it has said all
        return downstream.keeps
    body = upstream.body(reader, downstream.timer)
    body.received = stream.body.received
    if exchange.line is not None:
        exchange.line.sent = 0
        exchange.line.answer = body
    if not body.done:
        await _send_parts(exchange, body)
    _end_try(exchange, upstream, body)
    return downstream.keeps


async def _send_on(exchange: Exchange, body: IncomingBody, collected: bytes | None) -> bool:
    """Head and first part in one send, then part by part as they come."""
    exchange.rule_response()
    coded = coding_of(exchange)
    has_content = exchange.frame()
    if exchange.line is not None and (coded is not None or not has_content):
        exchange.line.answer = None  # what the upstream sent is not what the client gets
    if coded is not None and has_content:
        came = memoryview(collected) if collected is not None else _buffered(body)
        await send_compressed(exchange, coded, Relayed(body, came, exchange.why_cut))
        return exchange.downstream.keeps
    first: Any
    if not has_content:
        body.buffered()  # what is of no use to the client may be all that there is
        first, size = NULL, 0
    elif collected is None:
        start, end = body.buffered()
        first, size = body.head_buffer.ptr + start, end - start
    else:
        first, size = ffi.from_buffer("uint8_t[]", collected), len(collected)
    await exchange.send_head(first, size, last=body.done)
    if not body.done and has_content:
        await _send_parts(exchange, body)
    return exchange.downstream.keeps


def _buffered(body: IncomingBody) -> memoryview:
    start, end = body.buffered()
    return body.head_buffer.view[start:end]


async def _send_parts(exchange: Exchange, body: IncomingBody) -> None:
    downstream = exchange.downstream
    try:
        await downstream.splice(body)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise exchange.why_cut(exc) from exc
    while not body.done:
        try:
            start, end = await body.next_part()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise exchange.why_cut(exc) from exc
        assert body.part is not None
        await downstream.send_part(body.part, start, end, last=body.done)


def _end_try(exchange: Exchange, upstream: Upstream, body: IncomingBody) -> None:
    """The response is through: the connection goes back to the pool when it is provably clean."""
    if exchange.upload is not None:
        exchange.upload.stop()
    lib.blitz_exchange_answered(exchange.cdata)
    exchange.upstream = None
    kept = upstream.release(
        clean=body.done and exchange.is_request_read(),
        keep_alive=bool(exchange.cdata.response.flags & _KEEP_ALIVE),
    )
    if exchange.story is not None:
        exchange.story.kept(upstream.endpoint, kept=kept)


async def _switch(exchange: Exchange, upstream: Upstream) -> bool:
    """A 101 that was asked for: bytes both ways until either side ends (RFC 9110 section 7.8)."""
    response = exchange.cdata.response
    if not exchange.protocol or (field_value(response, b"upgrade") or b"").lower() != exchange.protocol:
        raise UpstreamError("101 to something that was not asked for")
    if exchange.chain_run is not None:
        await ask_about_response(exchange, exchange.chain_run, None)
    exchange.rule_response()
    exchange.head_sent = True
    exchange.status = SWITCHING
    client, from_client = await exchange.downstream.switch(response)
    server, from_server = upstream.switch()
    await tunnel(
        exchange.resources,
        exchange.runtime.timeouts,
        exchange.downstream.timer,
        exchange.line,
        (client, from_client),
        (server, from_server),
    )
    exchange.drop_upstream()
    return False
