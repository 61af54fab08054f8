"""The way of one exchange: plugins and routes, then an upstream or a response of our own.

Reads as the request travels. A part of a body never waits for the next one: head and first part leave
together, then each part as it comes. A second task exists only while a request body is still coming in
(``upload.py``): the response may arrive before it has all been sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from blitz._native import lib
from blitz.errors import ClientError, FileError, PluginError, PluginReroute, ShortageError, UpstreamError
from blitz.filters import ANSWER, FilterRun
from blitz.http.body import length_reader
from blitz.http.rules import take_hop

from .ask_filters import ask_filters
from .ask_plugins import ask_about_request, take_seen_body
from .deadline import TICK
from .route import find_route, moved_to
from .route_rules import admit, redirect, rule_request
from .send_local import (
    send_as_last_hop,
    send_begun,
    send_error,
    send_from_filter,
    send_from_plugin,
    send_from_route,
    send_reply,
)
from .send_request import forward
from .send_response import go_on_with_body, relay
from .send_static import send_static
from .story import Story

if TYPE_CHECKING:
    from blitz.builtin.services import Filter

    from .exchange import Exchange
    from .handover import Handover
    from .runtime import RouteEntry

__all__ = ["run_exchange"]


async def run_exchange(exchange: Exchange, begun: Handover | None = None) -> bool:
    """Serve the exchange. True when the client's connection can carry another one.

    Args:
        begun: what the fast path has done of it already.
    Raises:
        ClientError: the client's message is bad: answer and close.
        BlitzError: something failed after the response had begun: close.
    """
    decided = begun is not None and begun.decided
    _bound_time(exchange, exchange.runtime.timeouts.total)
    field = exchange.runtime.request_id_header
    if field and not decided:  # else the fast path has told it, before plugins ran
        lib.blitz_exchange_tell_id(exchange.cdata, field, len(field))
    if exchange.resources.stories:
        exchange.story = Story(exchange, exchange.downstream)
    try:
        if begun is None or not decided:
            return await _from_start(exchange)
        return await _from_handover(exchange, begun)
    except (UpstreamError, PluginError, ShortageError, FileError) as error:
        if exchange.head_sent:
            raise
        return await send_error(exchange, error)


def _bound_time(exchange: Exchange, total: float) -> None:
    """The time of the whole exchange counts from the end of its head, wherever that was read."""
    if total:
        total = max(total - (trio.current_time() - exchange.began), TICK)
    exchange.downstream.timer.bound(total, "total")


async def _from_start(exchange: Exchange) -> bool:
    before, only = exchange.runtime.before, exchange.runtime.router.only
    if before.wants:
        if only is not None:
            _take_route(exchange, only)  # there is nothing to choose
        first = before.begin(exchange.cdata, trio.current_time)
        if await ask_about_request(exchange, first) == ANSWER:
            return await send_from_plugin(exchange)
    return await _choose_route(exchange)


async def _choose_route(exchange: Exchange) -> bool:
    """The plugins that may lead the request anywhere have run."""
    entry = _find_route(exchange)
    run = exchange.chain_run
    if run is not None:
        run.extend(entry.filter)
    elif entry.filter.wants:
        run = entry.filter.begin(exchange.cdata, trio.current_time)
    return await _through(exchange, entry, run)


async def _from_handover(exchange: Exchange, begun: Handover) -> bool:
    """The fast path has run some plugins, and perhaps sent the request, or made a response."""
    exchange.take_over(begun)
    if exchange.entry is not None:
        _bound(exchange, exchange.entry)
    if begun.is_local:
        return await send_begun(exchange, begun.error, begun.step)
    if begun.stream is not None and begun.stream.is_response:
        if exchange.body is not None:
            exchange.body.buffered()  # it has been sent
        return await go_on_with_body(exchange, begun.stream)
    if begun.failed == lib.BLITZ_STREAM_SOURCE and begun.stream is None:
        if exchange.body is not None:
            exchange.body.buffered()  # so much of it has come
        raise trio.BrokenResourceError("client connection broke in the request body")
    if begun.failed and begun.upstream is None and exchange.body is not None:
        raise exchange.body.reader.failure(begun.failed)
    if begun.failed and begun.stream is None:
        raise length_reader(0, UpstreamError).failure(begun.failed)
    if begun.answer_size:
        assert exchange.upstream is not None
        return await relay(exchange, exchange.upstream, begun)
    entry = begun.entry
    assert entry is not None
    take_seen_body(exchange)
    if entry.is_before:
        assert exchange.chain_run is not None
        if await ask_about_request(exchange, exchange.chain_run, begun.step) == ANSWER:
            return await send_from_plugin(exchange)
        return await _choose_route(exchange)
    if begun.upstream is not None:
        assert entry.cluster is not None
        return await forward(exchange, entry.cluster, begun)
    return await _through(exchange, entry.whole, exchange.chain_run, begun.step)


async def _through(
    exchange: Exchange, entry: RouteEntry, run: FilterRun | None, begun_step: int | None = None
) -> bool:
    """Ask what stands in front of *entry*, its plugins, and those of the routes that they lead to; then do
    what the last one says.

    Args:
        begun_step: what plugins have come to on the fast path, behind what stands in front of them.
    """
    while True:
        if begun_step is None and await _is_answered(exchange, entry):
            return exchange.downstream.keeps
        if run is None:
            break
        if await ask_about_request(exchange, run, begun_step) == ANSWER:
            return await send_from_plugin(exchange)
        moved = _moved_to(exchange, entry)
        if moved is None:
            break
        # An end is certain: only plugins that have not run yet run now, and only they can move it again.
        entry, begun_step = moved, None
        run.join(entry.filter)
    return await _serve(exchange, entry)


async def _is_answered(exchange: Exchange, entry: RouteEntry) -> bool:
    """What stands in front of a route's plugins, in its order, has answered: the client has the response.

    Addresses; then CORS, whose preflights bring no credentials; the redirect; auth and the rate limit.
    """
    rules, own = entry.rules, entry.own
    if rules and admit(rules, exchange.cdata):
        await send_from_route(exchange)
        return True
    if own is not None and await _asked(exchange, own.early):
        return True
    if rules and redirect(rules, exchange.cdata):
        await send_from_route(exchange)
        return True
    return own is not None and await _asked(exchange, own.late)


async def _asked(exchange: Exchange, filters: tuple[Filter, ...]) -> bool:
    """One of *filters* has answered, and that is sent."""
    answer = await ask_filters(exchange, filters) if filters else None
    if answer is None:
        return False
    await send_from_filter(exchange, answer)
    return True


async def _serve(exchange: Exchange, entry: RouteEntry) -> bool:
    """The plugins have let the request pass: what the route says."""
    entry = entry.next_branch()
    if entry.site is not None:
        if entry.rules and rule_request(entry.rules, exchange.cdata):
            return await send_from_route(exchange)
        return await send_static(exchange, entry.site)
    if entry.cluster is None:
        if entry.serve is not None:
            return await entry.serve(exchange)
        assert entry.answer is not None
        return await send_reply(exchange, entry.answer(exchange.request), entry.rules)
    if not take_hop(exchange.cdata, exchange.method):
        return await send_as_last_hop(exchange)
    if entry.rules and rule_request(entry.rules, exchange.cdata):
        return await send_from_route(exchange)
    return await forward(exchange, entry.cluster)


def _bound(exchange: Exchange, entry: RouteEntry) -> None:
    """What *entry* allows counts from now on.

    Raises: ClientError: the request's body is too long already.
    """
    if entry.total != exchange.runtime.timeouts.total:
        _bound_time(exchange, entry.total)
    body = exchange.body
    if body is None:
        return
    reader, limit = body.reader, entry.max_body
    reader.limit(limit)
    length = reader.received + max(reader.remaining, 0)
    if limit and length > limit:
        raise ClientError(f"request body is {length} bytes, limit {limit} (max_body_size)", status=413)


def _take_route(exchange: Exchange, entry: RouteEntry, *, moved: bool = False) -> None:
    exchange.take_route(entry, moved=moved)
    _bound(exchange, entry)


def _find_route(exchange: Exchange) -> RouteEntry:
    entry = find_route(exchange.runtime.router, exchange.request, exchange.peer.listener)
    exchange.cdata.moved = 0  # until now plugins could lead it anywhere
    _take_route(exchange, entry)
    return entry


def _moved_to(exchange: Exchange, entry: RouteEntry) -> RouteEntry | None:
    try:
        moved = moved_to(exchange.runtime.router, exchange.cdata, entry, exchange.peer.listener)
    except PluginReroute as error:
        exchange.note_fault(error)
        raise
    if moved is not None:
        _take_route(exchange, moved, moved=True)
    return moved
