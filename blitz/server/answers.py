"""Answers that the gateway makes itself: errors, and those of routes without an upstream."""

from __future__ import annotations

import http
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientError, InternalError

from .error_line import log_error_answer, log_refusal
from .request_line import read_request_line

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Handler", "Reply", "build_answer", "build_reply", "error_answer", "reason"]

TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer made in Python. kind: its Content-Type; fields: further ones, names in lower case."""

    status: int
    body: bytes = b""
    kind: bytes = TEXT
    fields: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Any], Reply]  # takes the request's head, cffi blitz_head *; must not block


def reason(status: int) -> bytes:
    """The standard reason phrase, or an empty one (RFC 9112 section 4)."""
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def error_body(status: int, request_id: bytes) -> bytes:
    # The reason and the id under which the operator finds the cause; never the cause itself.
    return b"%d %b\nrequest %b\n" % (status, reason(status), request_id)


def build_answer(cdata: Any, status: int, body: bytes | None) -> bytes:
    """Put an answer of ours into ``cdata.response``; returns its body (None: the error text)."""
    response = cdata.response
    if body is None:
        body = error_body(status, ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:])
    lib.blitz_head_start_response(response, status, ffi.NULL, 0, 1)
    lib.blitz_head_add(response, b"content-type", 12, TEXT, len(TEXT))
    return body


def build_reply(cdata: Any, reply: Reply) -> bytes:
    """Put *reply* into ``cdata.response``; returns its body."""
    response = cdata.response
    lib.blitz_head_start_response(response, reply.status, ffi.NULL, 0, 1)
    for name, value in ((b"content-type", reply.kind), *reply.fields):
        if lib.blitz_head_add(response, name, len(name), value, len(value)) < 0:
            raise InternalError(f"field {name!r} of an answer is not valid HTTP")
    return reply.body


async def error_answer(connection: Connection, error: BlitzError) -> None:
    """Last answer on a connection that is about to close, if one can still be given."""
    context = connection.context
    exchange = connection.exchange
    if exchange is not None:
        exchange.drop_upstream()
        if connection.line is not None:
            connection.line.failed(error)
        if exchange.head_sent:
            return
        cdata = exchange.cdata
    else:
        cdata = context.take_exchange()
    if isinstance(error, ClientError):
        context.counters.client_errors += 1
    status = error.status_hint
    if not status:
        return
    body = build_answer(cdata, status, None)
    if exchange is not None:
        exchange.status = status
        log_error_answer(exchange, status, error)
    else:
        _log_refused(connection, cdata, status, len(body), error)
    if connection.client_options is None:
        connection.make_options()
    options = connection.client_options
    sent = lib.blitz_frame_local_response(options, cdata.request, cdata.response, len(body), 0)
    if connection.line is not None:
        connection.line.sent = sent
    context.tell_date(options)
    size = context.write_head(cdata.response, options, ffi.from_buffer("uint8_t[]", body), sent)
    if exchange is None:
        context.give_exchange(cdata)
    data = bytes(context.scratch.view[:size])
    sent = connection.stream.send_nowait(data)
    if sent < size:
        await connection.stream.send_rest(memoryview(data)[sent:])


def _log_refused(connection: Connection, cdata: Any, status: int, size: int, error: BlitzError) -> None:
    """What was refused did not become an exchange; *size* bytes of body are the answer."""
    context, peer = connection.context, connection.peer
    asked = read_request_line(connection.buffer)
    request_id = ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:].decode()
    log_refusal(context, peer, asked, status, error, request_id)
    if context.access is not None:
        line = context.access.refused(asked)
        line.failed(error)
        line.sent = size
        line.write(request_id, peer, status)
