"""The upstream's answer: its head read, the plugins asked, head and body sent on to the client.

The upstream is not trusted: heads are read by the same strict rules as a client's, interim answers
are counted, and its connection is used again only when the exchange ended cleanly on both sides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientGone, UpstreamError
from blitz.http.body import BodyReader, body_reader
from blitz.http.media import is_stream
from blitz.http.rules import BODILESS, CONTENTLESS, field_value
from blitz.wasm.chain import CONTINUE, ChainRun

from .back_pressure import await_taker, send_patiently
from .body_stream import IncomingBody, collect, frame_chunk
from .heads import field_values
from .splice import SinkBroken, can_splice, splice_body
from .tunnel import tunnel

if TYPE_CHECKING:
    from blitz.http.buffer import Buffer

    from .exchange import Exchange
    from .fast_path import Handover, Stream
    from .upstream import UpstreamConnection

__all__ = ["DeadUpstream", "go_on_with_response", "read_answer", "relay"]

NULL = ffi.NULL
_NONE = lib.BLITZ_BODY_NONE
_LENGTH = lib.BLITZ_BODY_LENGTH
_CHUNKED = lib.BLITZ_BODY_CHUNKED
_KEEP_ALIVE = lib.BLITZ_HEAD_KEEP_ALIVE
_RESPONSE = lib.BLITZ_RESPONSE

RESET = "upstream_reset"
SWITCHING = 101
PARTIAL = 206


class DeadUpstream(UpstreamError):
    """The connection ended before a byte of the answer: on a reused one, a safe moment to try again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, cause=RESET)


async def read_answer(
    exchange: Exchange, upstream: UpstreamConnection, buffer: Buffer | None = None
) -> Buffer:
    """Read heads until the final one is in the exchange; returns the buffer it points into.

    Args:
        buffer: what of the answer is here already.

    Raises:
        DeadUpstream: nothing came at all.
        UpstreamError: what came is not an answer.
        BlitzError: the upload failed, and nothing will come.
    """
    context = exchange.context
    runtime = exchange.runtime
    response = exchange.cdata.response
    reader = runtime.reader
    if buffer is None:
        buffer = context.buffers.take()
    interim = 0
    seen = 0
    try:
        exchange.wait_first_byte()
        while True:
            if buffer.end > buffer.start:
                lib.blitz_head_reset(response, _RESPONSE)
                size = reader.read_response(response, buffer, seen, exchange.method)
                if size:
                    buffer.start += size
                    if response.status >= 200 or response.status == SWITCHING:
                        exchange.awaiting_answer = False
                        if exchange.story is not None:
                            exchange.story.upstream_head(response)
                        return buffer
                    interim += 1
                    if interim > runtime.limits.max_interim_responses:
                        raise UpstreamError(f"more than {interim - 1} interim answers")
                    await _relay_interim(exchange, response)
                    seen = 0
                    continue
                seen = buffer.end - buffer.start
            if buffer.end == buffer.size:
                buffer = _make_room(buffer, runtime.limits.max_head_size)
            buffer.end += await _receive(exchange, upstream, buffer, untouched=not interim)
    except BaseException:
        context.buffers.give(buffer)
        raise


def _make_room(buffer: Buffer, max_head_size: int) -> Buffer:
    if buffer.start:
        buffer.compact()
        return buffer
    return buffer.grown(min(buffer.size * 4, max(max_head_size, buffer.size) + 4096))


async def _receive(
    exchange: Exchange, upstream: UpstreamConnection, buffer: Buffer, *, untouched: bool
) -> int:
    address = upstream.endpoint.address
    untouched = untouched and buffer.end == buffer.start
    try:
        got = await upstream.stream.receive_into(buffer.view[buffer.end :] if buffer.end else buffer.view)
    except trio.BrokenResourceError as exc:
        if untouched:
            raise DeadUpstream(f"{address}: connection reset before an answer") from exc
        raise UpstreamError(f"{address}: connection reset in the head", cause=RESET) from exc
    except trio.ClosedResourceError:
        raise _why_closed(exchange) from None
    if got:
        return got
    if untouched:
        raise DeadUpstream(f"{address}: connection closed before an answer")
    raise UpstreamError(f"{address}: connection closed in the head", cause=RESET)


def _why_closed(exchange: Exchange) -> BlitzError:
    # Only the upload closes the connection under us; its error is the cause.
    assert exchange.upload is not None
    assert exchange.upload.error is not None
    return exchange.upload.error


async def _relay_interim(exchange: Exchange, response: Any) -> None:
    # RFC 9110 section 15.2: forward 1xx to HTTP/1.1 clients, but not a 100 that we asked for.
    if response.status != 100 and exchange.request.minor:
        await _send_bodiless(exchange, response, upgrade=False)


async def _send_bodiless(exchange: Exchange, response: Any, *, upgrade: bool) -> None:
    options = exchange.connection.client_options
    options.body = _NONE
    options.close = options.keep_alive_10 = options.keep_length = options.first_is_last = 0
    options.date_len = 0
    options.upgrade = upgrade
    size = exchange.context.write_head(response, options, NULL, 0)
    options.upgrade = 0
    await exchange.connection.send(exchange.context.scratch.view[:size])


async def relay(
    exchange: Exchange, upstream: UpstreamConnection, buffer: Buffer, asked: Handover | None = None
) -> bool:
    """Ask the plugins about the answer and send it on; True when the client connection stays.

    With *asked* some have been asked on the fast path: what the head says of its body may be theirs.
    """
    response = exchange.cdata.response
    if asked is None and response.status == SWITCHING:
        return await _switch(exchange, upstream, buffer)
    runtime = exchange.runtime
    if asked is not None:
        reader = BodyReader(asked.answer_body, UpstreamError)
    else:
        reader = body_reader(
            response,
            UpstreamError,
            max_chunk_line=runtime.limits.max_chunk_line_size,
            max_trailers=runtime.limits.max_trailer_size,
        )
    body = IncomingBody(
        reader,
        buffer,
        upstream.stream,
        exchange.context.parts,
        exchange.connection.timer,
        runtime.timeouts.response_idle,
        "answer body",
    )
    if exchange.connection.line is not None:
        exchange.connection.line.answer = body
    try:
        collected = None
        run = exchange.chain_run
        if run is not None and run.has_response:
            if run.edits_answers:
                _refuse_parts(response)
            collected = await _ask_plugins(exchange, run, body, asked)
        if exchange.cdata.body_edited:
            if exchange.connection.line is not None:
                exchange.connection.line.answer = None
            keep = await exchange.send_whole()
        else:
            keep = await _send_answer(exchange, body, collected)
        _finish_upstream(exchange, upstream, body)
        return keep
    finally:
        body.close()


async def go_on_with_response(exchange: Exchange, stream: Stream) -> bool:
    """The fast path has sent the head and what came of the body: as ``relay``.

    Raises: what ended it there.
    """
    upstream = exchange.upstream
    connection = exchange.connection
    reader = BodyReader(stream.body, UpstreamError)
    if stream.failed == lib.BLITZ_STREAM_SOURCE:
        raise _reset_in_body()
    if stream.failed == lib.BLITZ_STREAM_SINK:
        raise trio.BrokenResourceError("socket connection broken")
    if stream.failed:
        raise reader.failure(stream.failed)
    if stream.unsent:
        await connection.send_rest(memoryview(stream.unsent))
    if upstream is None:  # it has said all
        return not connection.client_options.close
    buffer = exchange.context.buffers.take()
    body = IncomingBody(
        reader,
        buffer,
        upstream.stream,
        exchange.context.parts,
        connection.timer,
        exchange.runtime.timeouts.response_idle,
        "answer body",
    )
    body.received = stream.body.received
    if connection.line is not None:
        connection.line.sent = 0
        connection.line.answer = body
    try:
        if not body.done:
            await _send_parts(exchange, body, chunked=stream.chunked)
        _finish_upstream(exchange, upstream, body)
        return not connection.client_options.close
    finally:
        body.close()
        exchange.context.buffers.give(buffer)


async def _ask_plugins(
    exchange: Exchange, run: ChainRun, body: IncomingBody | None, asked: Handover | None = None
) -> bytes | None:
    """Run the response hooks that are left; returns the body as far as it had to be collected for them."""
    cdata = exchange.cdata
    if asked is None:
        run.begin_response()
        cdata.body.ptr = NULL
        cdata.body.len = 0
        cdata.body_truncated = 0
    collected: bytes | None = None

    async def collect_answer() -> None:
        nonlocal collected
        if body is None or body.done:
            return
        if any(map(is_stream, field_values(cdata.response, b"content-type"))):
            cdata.body_truncated = 1
            return
        limit, must_have_all = run.wanted_body_size(response=True)
        patience = exchange.runtime.timeouts.collect
        collected = await collect(body, limit, patience or math.inf)
        if exchange.story is not None:
            exchange.story.collected("answer's body", len(collected), whole=body.done)
        exchange.lend_body(collected, limit, complete=body.done)
        if cdata.body_truncated and must_have_all:
            if len(collected) > limit:
                raise UpstreamError(f"answer is over the plugin's max_body of {limit} bytes", cause="limit")
            late = f"answer's body took longer than timeouts.collect, {patience:g} s"
            raise UpstreamError(f"{late}, and a plugin that changes it must have all of it", status=504)

    if exchange.story is not None:
        exchange.story.mark()
    step = run.response() if asked is None else run.see_to(asked.step)
    if step != CONTINUE:
        await exchange.go_on(step, run.response, collect_answer)
    return collected


def _refuse_parts(response: Any) -> None:
    """No plugin is asked to change a part as if it were the whole: none was asked for (``RANGES``).

    Raises: UpstreamError.
    """
    if response.status == PARTIAL:
        raise UpstreamError("answer is a part (206), and a plugin that changes it must have the whole")
    lib.blitz_head_remove(response, b"accept-ranges", 13)


async def _send_answer(exchange: Exchange, body: IncomingBody, collected: bytes | None) -> bool:
    """Head and first part in one send, then part by part as they come."""
    context = exchange.context
    response = exchange.cdata.response
    # A plugin may have made this an answer without a body; the upstream's is then not sent. Or one that could
    # have a body of an upstream's 204 or 304, which has none: the client must know that it is empty.
    kind, length = response.body, response.content_length
    has_content = kind != _NONE and response.status not in CONTENTLESS
    if response.status in BODILESS:
        kind = _NONE
    elif not has_content and exchange.method != b"HEAD":
        kind, length = _LENGTH, 0
    options = exchange.answer_options(kind, length)
    close = options.close
    chunked = options.body == _CHUNKED
    if not has_content:
        body.buffered()  # what is of no use to the client may be all that there is
        first, first_size = NULL, 0
    elif collected is None:
        start, end = body.buffered()
        first, first_size = body.head_buffer.ptr + start, end - start
    else:
        first, first_size = ffi.from_buffer("uint8_t[]", collected), len(collected)
    options.first_is_last = body.done
    size = context.write_head(response, options, first, first_size)
    await exchange.begin_answer(response.status, size)
    if not body.done and has_content:
        await _send_parts(exchange, body, chunked=chunked)
    return not close


async def _send_parts(exchange: Exchange, body: IncomingBody, *, chunked: bool) -> None:
    stream = exchange.connection.stream
    timer = exchange.connection.timer
    send_idle = exchange.runtime.timeouts.send_idle
    if not chunked and can_splice(body, stream):
        await _splice_parts(exchange, body)
    while not body.done:
        try:
            start, end = await body.next_part()
        except trio.BrokenResourceError as exc:
            raise _reset_in_body() from exc
        except trio.ClosedResourceError:
            raise _why_closed(exchange) from None
        part = body.part
        assert part is not None
        data = frame_chunk(part, start, end, last=body.done) if chunked else part.view[start:end]
        # The part stays ours until it is sent: no copy.
        sent = stream.send_nowait(data) if data else 0
        if sent < len(data):
            await send_patiently(stream, data[sent:], timer, send_idle, "send")


def _reset_in_body() -> UpstreamError:
    return UpstreamError("connection reset in the answer's body", cause=RESET)


async def _splice_parts(exchange: Exchange, body: IncomingBody) -> None:
    connection = exchange.connection
    send_idle = exchange.runtime.timeouts.send_idle
    try:
        await splice_body(
            body,
            connection.stream,
            exchange.context.pipes,
            lambda: await_taker(connection.stream, connection.timer, send_idle, "send"),
        )
    except SinkBroken as exc:
        raise ClientGone from exc
    except trio.BrokenResourceError as exc:
        raise _reset_in_body() from exc
    except trio.ClosedResourceError:
        raise _why_closed(exchange) from None


def _finish_upstream(exchange: Exchange, upstream: UpstreamConnection, body: IncomingBody) -> None:
    """Back to the pool when provably clean, else closed."""
    buffer = body.head_buffer
    clean = (
        body.done
        and not body.surplus
        and buffer.start == buffer.end
        and exchange.cdata.response.flags & _KEEP_ALIVE
        and exchange.request_read()
    )
    if exchange.story is not None:
        exchange.story.kept(upstream.endpoint, kept=bool(clean))
    if clean:
        exchange.upstream = None
        exchange.context.fast_path.resting.give_back(upstream)
        return
    if body.done and (body.surplus or buffer.start < buffer.end):
        upstream.endpoint.note_unasked()
    exchange.drop_upstream()


async def _switch(exchange: Exchange, upstream: UpstreamConnection, buffer: Buffer) -> bool:
    """A 101 that was asked for: bytes both ways until either side ends (RFC 9110 section 7.8)."""
    if (
        not exchange.protocol
        or (field_value(exchange.cdata.response, b"upgrade") or b"").lower() != exchange.protocol
    ):
        raise UpstreamError("101 to something that was not asked for")
    if exchange.chain_run is not None:
        await _ask_plugins(exchange, exchange.chain_run, None)
    exchange.head_sent = True
    exchange.status = SWITCHING
    await _send_bodiless(exchange, exchange.cdata.response, upgrade=True)
    client_buffer = exchange.connection.buffer
    assert client_buffer is not None
    ahead_up = bytes(client_buffer.view[client_buffer.start : client_buffer.end])
    ahead_down = bytes(buffer.view[buffer.start : buffer.end])
    await tunnel(exchange, upstream.stream, ahead_up, ahead_down)
    exchange.drop_upstream()
    return False
