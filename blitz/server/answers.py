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


def build_answer(cdata: Any, status: int, body: bytes | None) -> None:
    """Put an answer of ours into the exchange *cdata*; None: the error text."""
    if body is None:
        body = error_body(status, ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:])
    _build(cdata, status, TEXT, body)


def build_reply(cdata: Any, reply: Reply) -> None:
    """Put *reply* into the exchange *cdata*."""
    _build(cdata, reply.status, reply.kind, reply.body)
    for name, value in reply.fields:
        if lib.blitz_head_add(cdata.response, name, len(name), value, len(value)) < 0:
            raise InternalError(f"field {name!r} of an answer is not valid HTTP")


def _build(cdata: Any, status: int, kind: bytes, body: bytes) -> None:
    if failed := lib.blitz_local_response(cdata, status, kind, len(kind), body, len(body)):
        raise InternalError(f"an answer cannot be made (code {failed})")


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
    build_answer(cdata, status, None)
    body = cdata.new_body
    if exchange is not None:
        exchange.status = status
        log_error_answer(exchange, status, error)
    else:
        _log_refused(connection, cdata, status, body.len, error)
    if connection.client_options is None:
        connection.make_options()
    options = connection.client_options
    sent = lib.blitz_frame_local_response(options, cdata.request, cdata.response, body.len, 0)
    if connection.line is not None:
        connection.line.sent = sent
    context.tell_date(options)
    size = context.write_head(cdata.response, options, body.ptr, sent)
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
