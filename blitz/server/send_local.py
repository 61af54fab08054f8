"""Local responses on their way to the client: errors, a plugin's, those of routes without an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientError, InternalError, PluginError, UpstreamError
from blitz.http.rules import BODILESS, CONTENTLESS

from .ask_plugins import ask_about_local_response
from .error_line import log_error_response
from .local_response import build_local, build_reply

if TYPE_CHECKING:
    from .exchange import Exchange
    from .local_response import Reply

__all__ = ["send_as_last_hop", "send_error", "send_from_plugin", "send_reply", "send_whole"]

_NONE = lib.BLITZ_BODY_NONE
_LENGTH = lib.BLITZ_BODY_LENGTH

ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # of the gateway itself; upstreams say their own


async def send_reply(exchange: Exchange, reply: Reply) -> bool:
    """A route's response. True when the client's connection stays, as all of these."""
    exchange.local_body = build_reply(exchange.cdata, reply)
    return await _send(exchange, None)


async def send_from_plugin(exchange: Exchange) -> bool:
    """What the plugin that ran last has put into ``cdata.response`` and ``new_body``."""
    cdata, run = exchange.cdata, exchange.chain_run
    if exchange.line is not None and run is not None:
        exchange.line.plugin = run.pending_plugin
    text = cdata.new_body
    exchange.local_body = ffi.buffer(text.ptr, text.len)[:] if text.len else b""
    cdata.body_edited = 0
    return await _send(exchange, None)


async def send_error(exchange: Exchange, error: BlitzError) -> bool:
    """The error's status; the connection may go on."""
    if exchange.line is not None:
        exchange.line.failed(error)
    if isinstance(error, UpstreamError):
        exchange.resources.counters.upstream_errors += 1
    exchange.drop_upstream()
    log_error_response(exchange, exchange.resources.access, error.status_hint, error)
    exchange.local_body = build_local(exchange.cdata, error.status_hint, None)
    return await _send(exchange, error)


async def send_as_last_hop(exchange: Exchange) -> bool:
    """OPTIONS is answered for ourselves; TRACE is not offered, it would show fields to a script."""
    status = 200 if exchange.method == b"OPTIONS" else 405
    if status != 200:
        error = ClientError("TRACE that ends here, by Max-Forwards, is not answered", status=status)
        if exchange.line is not None:
            exchange.line.failed(error)
        log_error_response(exchange, exchange.resources.access, status, error)
    exchange.local_body = build_local(exchange.cdata, status, b"" if status == 200 else None)
    lib.blitz_head_add(exchange.cdata.response, b"allow", 5, ALLOW, len(ALLOW))
    return await _send(exchange, None)


async def _send(exchange: Exchange, error: BlitzError | None) -> bool:
    """Send what is in ``cdata.response`` and ``local_body``, plugins asked first."""
    run = exchange.chain_run
    if run is not None and run.left > 0:
        try:
            await ask_about_local_response(exchange, run)
        except PluginError as exc:
            if error is not None:
                raise InternalError("a plugin failed on an error answer") from exc
            exchange.cdata.body_edited = 0
            log_error_response(exchange, exchange.resources.access, exc.status_hint, exc)
            exchange.local_body = build_local(exchange.cdata, exc.status_hint, None)
    return await send_whole(exchange)


async def send_whole(exchange: Exchange) -> bool:
    """Send ``cdata.response`` with a body that we hold whole: ``local_body``, or what plugins have set."""
    cdata = exchange.cdata
    data = exchange.local_body
    if cdata.body_edited:
        data = ffi.buffer(cdata.new_body.ptr, cdata.new_body.len)[:] if cdata.new_body.len else b""
    status = cdata.response.status
    if status in CONTENTLESS:
        data = b""
    first = b"" if exchange.method == b"HEAD" else data  # the length is that of GET (RFC 9110 section 9.3.2)
    if exchange.line is not None:
        exchange.line.sent = len(first)
    kind = _NONE if status in BODILESS else _LENGTH
    pointer = ffi.from_buffer("uint8_t[]", first)
    await exchange.send_head(kind, len(data), pointer, len(first), last=len(first) == len(data))
    return exchange.downstream.keeps
