"""From accept to close: ``serve_connection`` opens a connection's nursery, which owns all that it starts.

What goes wrong in a connection ends here: an error becomes one response if no head was sent yet, then the
connection closes; nothing reaches the accept loop or another connection.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientError, ClientGone, CutOff, InternalError

from .connection import Connection
from .ends import note_broken, note_cancelled, note_late
from .error_line import log_error_response, log_refusal
from .fast_path import CANCELLED
from .linger import linger
from .local_response import build_local
from .request_line import read_request_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .context import ServerContext
    from .peer import Peer
    from .stream import ByteStream

__all__ = ["serve_connection"]

_log = logging.getLogger("blitz.server")

CUT_GOODBYE_TIME = 1.0  # seconds for a last response to one that a drain cuts off: its time is over
GOODBYE_TIME = 5.0  # the same after a deadline
CUT_OFF = 503  # the status in the line of an exchange that we ended without a response


async def serve_connection(
    context: ServerContext,
    stream: ByteStream,
    peer: Peer,
    arrive: Callable[[Connection], Awaitable[None]] | None = None,
) -> None:
    """Serve one client connection and close it. Never raises but on cancellation from outside.

    Args:
        arrive: what comes before HTTP; may give the connection another stream and peer.
    """
    connection: Connection | None = None
    error: BlitzError | None = None
    context.counters.connections += 1
    try:
        async with trio.open_nursery() as nursery:
            connection = Connection(context, stream, peer, nursery)
            context.connections.add(connection)
            try:
                if arrive is not None:
                    connection.timer.arm(context.runtime.timeouts.handshake, "handshake")
                    await arrive(connection)
                await connection.run()
            except ClientGone as exc:
                if connection.line is not None:
                    connection.line.failed(exc)
            except BlitzError as exc:
                error = exc
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                note_broken(connection.line)
            except Exception as exc:
                context.counters.internal_errors += 1
                _log.exception("internal error on a connection from %s", peer.address)
                error = InternalError(str(exc))
            nursery.cancel_scope.cancel()
        assert connection is not None
        if connection.timer.expired and error is None:
            error = connection.cut or _late(connection)
        if error is not None:
            with trio.move_on_after(CUT_GOODBYE_TIME if connection.cut else GOODBYE_TIME):
                await _send_last(connection, error)
                if not _is_cut(connection):
                    await linger(connection.stream, context)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    except Exception:
        # A fault of ours in a task of the connection or while saying goodbye. It ends here: what one
        # connection does must never reach the nursery that holds all of them.
        context.counters.internal_errors += 1
        _log.exception("internal error at the end of a connection from %s", peer.address)
    except BaseException:  # cancelled from outside
        if connection is not None:
            _note_cancelled(connection)
        raise
    finally:
        if connection is not None:
            stream = connection.stream
            if _is_cut(connection):
                stream.reset()
            elif connection.exchange is None:
                stream.finish()
            context.closed(connection)
            connection.timer.disarm()
            _release(connection)
        stream.close()
        # The error's traceback holds this frame, and the frame the error and all buffers: without this, all
        # of it stays until the garbage collector runs.
        error = connection = None


def _note_cancelled(connection: Connection) -> None:
    """The line of an exchange that we end must not say that its client has gone."""
    exchange = connection.exchange
    if connection.line is None or exchange is None:
        return
    connection.line.failed(CutOff(CANCELLED))
    exchange.status = exchange.status or CutOff.status_hint


async def _send_last(connection: Connection, error: BlitzError) -> None:
    """The last response on a connection that is about to close, if one can still be given."""
    context, exchange = connection.context, connection.exchange
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
    build_local(cdata, status, None)
    if exchange is not None:
        exchange.status = status
        log_error_response(exchange, context.access, status, error)
    else:
        _log_refused(connection, cdata, status, cdata.new_body.len, error)
    sent = connection.downstream.frame_last(cdata)
    if connection.line is not None:
        connection.line.sent = sent
    try:
        await connection.downstream.send_last(cdata, sent)
    finally:
        if exchange is None:
            context.give_exchange(cdata)


def _log_refused(connection: Connection, cdata: Any, status: int, size: int, error: BlitzError) -> None:
    """What was refused did not become an exchange; *size* bytes of body are the response."""
    context, peer = connection.context, connection.peer
    asked = read_request_line(connection.buffer)
    request_id = ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:].decode()
    log_refusal(context.access, peer, asked, status, error, request_id)
    line = context.access_log.refused(asked)
    line.failed(error)
    line.sent = size
    line.write(request_id, peer, status)


def _is_cut(connection: Connection) -> bool:
    """A response that ends with the connection was not finished: its end must not look like one."""
    exchange = connection.exchange
    return exchange is not None and exchange.head_sent and connection.downstream.until_close


def _late(connection: Connection) -> BlitzError | None:
    """What a passed deadline means for the client; None: close, and send nothing."""
    connection.context.counters.timeouts += 1
    what = connection.timer.what
    if what in ("handshake", "keepalive", "first request", "send"):
        note_late(connection.line, what)
        return None
    if what == "head":
        return ClientError("request head took too long (timeouts.head)", status=408)
    assert connection.exchange is not None
    error = connection.exchange.late(what)
    if error is None:
        note_late(connection.line, what)
    return error


def _release(connection: Connection) -> None:
    exchange = connection.exchange
    if connection.line is not None and connection.line.known is not None:
        note_cancelled(connection.line)
        connection.end_known_line()
    if exchange is not None:
        if connection.line is not None:
            if note_cancelled(connection.line) and not exchange.status:
                exchange.status = CUT_OFF
            connection.end_line(connection.line, exchange)
        exchange.close()
        connection.context.give_exchange(exchange.cdata)
        connection.exchange = None
    if connection.buffer is not None:
        connection.context.buffers.give(connection.buffer)
        connection.buffer = None
