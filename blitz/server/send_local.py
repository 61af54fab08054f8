"""Local responses on their way to the client: errors, a plugin's, those of routes without an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blitz._native import lib
from blitz.errors import BlitzError, ClientError, InternalError, PluginError, UpstreamError

from .ask_plugins import ask_about_local_response
from .compressing import coding_of, send_held
from .error_line import log_error_response
from .local_response import add_fields, build_error, build_local, build_reply
from .parts_body import pass_local
from .route_rules import rule_answer
from .send_parts import send_parts

if TYPE_CHECKING:
    from blitz.builtin.services import Answer

    from .exchange import Exchange
    from .local_response import Reply

__all__ = [
    "send_as_last_hop",
    "send_begun",
    "send_error",
    "send_from_filter",
    "send_from_plugin",
    "send_from_route",
    "send_reply",
    "send_whole",
]

ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # of the gateway itself; upstreams say their own


async def send_reply(exchange: Exchange, reply: Reply, rules: Any) -> bool:
    """A route's response. True when the client's connection stays, as all of these."""
    build_reply(exchange.cdata, reply)
    if rules:
        rule_answer(rules, exchange.cdata)
    return await _send(exchange, None)


async def send_from_route(exchange: Exchange) -> bool:
    """What the route's rules have put into ``cdata.response`` and ``new_body``."""
    return await _send(exchange, None)


async def send_from_filter(exchange: Exchange, answer: Answer) -> bool:
    """What a filter of the gateway's own answers."""
    if answer.cause:
        error = ClientError(answer.why, status=answer.status, cause=answer.cause)
        if exchange.line is not None:
            exchange.line.failed(error)
    if answer.reply is not None:
        build_reply(exchange.cdata, answer.reply)
    else:
        build_local(exchange.cdata, answer.status, None)
        add_fields(exchange.cdata, answer.fields)
    return await _send(exchange, None)


async def send_from_plugin(exchange: Exchange) -> bool:
    """What the plugin that ran last has put into ``cdata.response`` and ``new_body``."""
    run = exchange.chain_run
    if exchange.line is not None and run is not None:
        exchange.line.plugin = run.pending_plugin
    return await _send(exchange, None)


async def send_error(exchange: Exchange, error: BlitzError) -> bool:
    """The error's status; the connection may go on."""
    if exchange.line is not None:
        exchange.line.failed(error)
    if isinstance(error, UpstreamError):
        exchange.resources.counters.upstream_errors += 1
    exchange.drop_upstream()
    log_error_response(exchange, exchange.resources.access, error.status_hint, error)
    build_error(exchange.cdata, error)
    return await _send(exchange, error)


async def send_begun(exchange: Exchange, error: BlitzError | None, step: int) -> bool:
    """What the fast path has made, and has asked plugins about.

    Args:
        error: that it tells of.
        step: what the plugins have come to.
    """
    return await _send(exchange, error, step)


async def send_as_last_hop(exchange: Exchange) -> bool:
    """The request may go no further (Max-Forwards, RFC 9110 section 7.6.2): OPTIONS gets 200, TRACE 405.

    TRACE sends a request's fields back, cookies and credentials among them: scripts could read those.
    """
    status = 200 if exchange.method == b"OPTIONS" else 405
    if status != 200:
        error = ClientError("TRACE that ends here, by Max-Forwards, is not answered", status=status)
        if exchange.line is not None:
            exchange.line.failed(error)
        log_error_response(exchange, exchange.resources.access, status, error)
    build_local(exchange.cdata, status, b"" if status == 200 else None)
    lib.blitz_head_add(exchange.cdata.response, b"allow", 5, ALLOW, len(ALLOW))
    return await _send(exchange, None)


async def _send(exchange: Exchange, error: BlitzError | None, begun_step: int | None = None) -> bool:
    """Send what is in ``cdata.response`` and ``new_body``, plugins asked first."""
    run = exchange.chain_run
    if exchange.response_parts is not None:  # of the response that this one is sent instead of
        exchange.response_parts.close()
        exchange.response_parts = None
    if run is not None and run.left > 0:
        try:
            await ask_about_local_response(exchange, run, begun_step)
            parts = pass_local(exchange, run)
            if parts is not None:
                exchange.finish_response()
                return await send_parts(exchange, parts, parts.collected)
        except PluginError as exc:
            if error is not None:
                raise InternalError("a plugin failed on an error answer") from exc
            log_error_response(exchange, exchange.resources.access, exc.status_hint, exc)
            build_local(exchange.cdata, exc.status_hint, None)
    exchange.finish_response()
    return await send_whole(exchange)


async def send_whole(exchange: Exchange) -> bool:
    """Send ``cdata.response`` with a body that we hold whole, in ``cdata.new_body``."""
    exchange.rule_response()
    body = exchange.cdata.new_body
    coded = coding_of(exchange, body.len)
    if coded is not None:
        await send_held(exchange, coded)
        return exchange.downstream.keeps
    sent = exchange.frame_local(body.len)
    if exchange.line is not None:
        exchange.line.sent_whole(sent)
    await exchange.send_head(body.ptr, sent, last=True)
    return exchange.downstream.keeps
