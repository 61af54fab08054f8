"""A connection with a task: ``serve`` opens its nursery, which owns all that it starts, and closes it.

Accepted ones have no task as long as the fast path serves them (``accepted.py``).

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
from .handover import CANCELLED
from .linger import linger
from .local_response import build_local
from .request_line import read_request_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .context import ServerContext
    from .handover import Handover
    from .peer import Peer
    from .stream import ByteStream

__all__ = ["close", "end", "note_cut_off", "register", "serve", "serve_connection", "why_late"]

_log = logging.getLogger("blitz.server")

CUT_GOODBYE_TIME = 1.0  # seconds for a last response to one that a drain cuts off: its time is over
GOODBYE_TIME = 5.0  # the same after a deadline
CUT_OFF = 503  # the status in the line of an exchange that we ended without a response


async def serve_connection(context: ServerContext, stream: ByteStream, peer: Peer) -> None:
    """Serve one client connection and close it. Never raises but on cancellation from outside."""
    connection = Connection(context, stream, peer)
    register(connection)
    await serve(connection)


def register(connection: Connection) -> None:
    """It is open, until ``close`` or ``serve`` ends it."""
    context = connection.context
    context.counters.connections += 1
    context.connections[connection] = None


async def serve(
    connection: Connection,
    arrive: Callable[[], Awaitable[None]] | None = None,
    stopped: Handover | str = "",
) -> None:
    """Serve a connection in the present task, and close it. Never raises but on cancellation from outside.

    Args:
        arrive: what comes before HTTP; may give the connection another stream and peer.
        stopped: where the fast path has stopped, if it has served the connection already.
    """
    context = connection.context
    error: BlitzError | None = None
    try:
        async with trio.open_nursery() as nursery:
            connection.nursery = nursery
            if connection.cancelled:  # before this task began
                nursery.cancel_scope.cancel()
            try:
                if arrive is not None:
                    await arrive()
                if not stopped:
                    connection.meet_peer()
                await connection.run(stopped)
            except ClientGone as exc:
                if connection.line is not None:
                    connection.line.failed(exc)
            except BlitzError as exc:
                error = exc
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                note_broken(connection.line)
            except Exception as exc:
                context.counters.internal_errors += 1
                _log.exception("internal error on a connection from %s", connection.peer.address)
                error = InternalError(str(exc))
            nursery.cancel_scope.cancel()
    except Exception:
        # A fault of ours in a task of the connection. It ends here: what one connection does must never
        # reach the nursery that holds all of them.
        _note_internal(connection)
        close(connection)
    except BaseException:  # cancelled from outside
        note_cut_off(connection)
        close(connection)
        raise
    else:
        if connection.gone:
            note_broken(connection.line)
        await end(connection, error or why_late(connection))
    finally:
        # The error's traceback holds this frame, and the frame the error and all buffers: without this, all
        # of it stays until the garbage collector runs.
        error = None


async def end(connection: Connection, error: BlitzError | None) -> None:
    """Nothing runs on it any more: tell the client of *error*, if there is one, and close it."""
    try:
        if error is not None:
            with trio.move_on_after(CUT_GOODBYE_TIME if connection.cut else GOODBYE_TIME):
                await _send_last(connection, error)
                if not _is_cut(connection):
                    await linger(connection.stream, connection.context)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    except Exception:
        _note_internal(connection)
    except BaseException:  # cancelled from outside
        note_cut_off(connection)
        raise
    finally:
        close(connection)


def why_late(connection: Connection) -> BlitzError | None:
    """What a client is told if a deadline ended its connection, or a drain; None: nothing is to be told."""
    if connection.gone or not connection.is_late:
        return None
    return connection.cut or _late(connection)


def close(connection: Connection) -> None:
    """It is over: everything that it holds is given back, whatever state it is in."""
    if connection not in connection.context.connections:
        return  # it was closed already
    stream = connection.stream
    try:
        if _is_cut(connection):
            stream.reset()
        elif connection.exchange is None:
            stream.finish()
        connection.context.closed(connection)
        connection.disarm()
        _release(connection)
    except Exception:
        _note_internal(connection)
    finally:
        stream.close()
        connection.forget()


def _note_internal(connection: Connection) -> None:
    connection.context.counters.internal_errors += 1
    _log.exception("internal error at the end of a connection from %s", connection.peer.address)


def note_cut_off(connection: Connection) -> None:
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
