"""The filters of one exchange asked about its request and its response, with what they wait for.

A filter's run (``blitz/filters.py``) says what it needs next and waits for nothing; this waits: for the next
slice of a guest, for an instance, for a body that has to be collected first.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import ClientError, UpstreamError
from blitz.filters import ANSWER, CONTINUE, NEED_BODY, NEED_INSTANCE, PENDING, FilterRun

from .body_stream import collect
from .fetch import fetcher
from .guests import drive, wait_for_instance
from .parts_body import pass_local, pass_request, pass_response

if TYPE_CHECKING:
    from .body_stream import IncomingBody, Readable
    from .exchange import Exchange
    from .handover import Handover

__all__ = ["ask_about_local_response", "ask_about_request", "ask_about_response", "take_seen_body"]

NULL = ffi.NULL


async def ask_about_request(exchange: Exchange, run: FilterRun, begun_step: int | None = None) -> int:
    """Run the request hooks that are left; CONTINUE or ANSWER.

    Args:
        begun_step: what the fast path has come to.
    Raises: PluginError, ClientError.
    """
    if run is not exchange.chain_run:
        exchange.take_run(run)
    if exchange.story is not None:
        exchange.story.mark()
    step = run.request() if begun_step is None else run.see_to(begun_step)
    if step <= ANSWER:
        return step
    return await _go_on(exchange, run, step, run.request, lambda: _collect_request(exchange, run))


async def ask_about_response(
    exchange: Exchange, run: FilterRun, body: IncomingBody | None, begun: Handover | None = None
) -> bytes | None:
    """Run the response hooks that are left; returns the body as far as it had to be collected for them.

    Args:
        body: of the upstream's response in ``cdata.response``; None: it has none (101).
        begun: where the fast path has stopped in that.
    Raises: PluginError, UpstreamError.
    """
    cdata = exchange.cdata
    if begun is None:
        run.begin_response()
        cdata.body.ptr = NULL
        cdata.body.len = 0
        cdata.body_truncated = 0
        if run.edits_answers and body is not None:
            _refuse_parts(cdata.response)
    collected = begun.collected if begun is not None else None
    spent = begun.collected_for if begun is not None else 0.0
    if collected is not None and body is not None and not cdata.body_edited:
        exchange.lend_body(collected, len(collected), complete=body.done)

    async def collect_it() -> None:
        nonlocal collected
        source, collected = pass_response(exchange, run, body, collected)
        if source is not None and (not source.done or collected is not None):
            collected = await _collect_response(exchange, run, source, collected or b"", spent)

    if exchange.story is not None:
        exchange.story.mark()
    step = await _first_step(exchange, run, begun.step if begun is not None else None)
    if step != CONTINUE:
        await _go_on(exchange, run, step, run.response, collect_it)
    return collected


async def ask_about_local_response(
    exchange: Exchange, run: FilterRun, begun_step: int | None = None, *, whole: bool = True
) -> None:
    """Run the response hooks that are left on ``cdata.response`` and ``new_body``. Raises PluginError.

    Args:
        begun_step: as above.
        whole: else the body is not there, and too long for plugins to see.
    """
    if begun_step is None:
        run.begin_local_response()
        exchange.cdata.body_truncated = not whole
    if exchange.story is not None:
        exchange.story.mark()
    step = await _first_step(exchange, run, begun_step)
    if step != CONTINUE:
        await _go_on(exchange, run, step, run.response, partial(_collect_local, exchange, run))


async def _first_step(exchange: Exchange, run: FilterRun, begun_step: int | None) -> int:
    if begun_step is not None:
        return run.see_to(begun_step)
    if exchange.guests is None:
        return run.response()
    return await _alone(exchange, exchange.guests, run, run.response)


async def _alone(exchange: Exchange, guests: trio.Lock, run: FilterRun, call: Callable[[], int]) -> int:
    """*call*, and what is pending then to its end, while no guest runs on a part of the request."""
    async with guests:
        step = call()
        if step == PENDING:
            step = await drive(run, exchange.resources.turns, exchange.downstream, fetcher(exchange))
        return step


async def _go_on(
    exchange: Exchange,
    run: FilterRun,
    step: int,
    again: Callable[[], int],
    collect_it: Callable[[], Awaitable[None]],
) -> int:
    """Do what the chain waits for until it has come to an end; returns CONTINUE or ANSWER."""
    while step > ANSWER:
        if step == PENDING:
            step = await drive(run, exchange.resources.turns, exchange.downstream, fetcher(exchange))
        else:
            if step == NEED_BODY:
                await collect_it()
                run.body_ready = True
            else:
                assert step == NEED_INSTANCE
                await wait_for_instance(run)
            if exchange.story is not None:
                exchange.story.mark()
            step = again() if exchange.guests is None else await _alone(exchange, exchange.guests, run, again)
    return step


async def _collect_request(exchange: Exchange, run: FilterRun) -> None:
    body = pass_request(exchange)
    if body is None:
        return
    limit, must_have_all = run.wanted_body_size()
    if not body.done:
        await exchange.say_continue()
    exchange.collected = await collect(body, limit, before=exchange.collected or b"")
    if exchange.story is not None:
        exchange.story.collected("request body", len(exchange.collected), whole=body.done)
    exchange.lend_body(exchange.collected, limit, complete=body.done)
    if exchange.cdata.body_truncated and must_have_all:
        raise ClientError(f"request body is over the plugin's max_body of {limit} bytes", status=413)


async def _collect_local(exchange: Exchange, run: FilterRun) -> None:
    """A local response as it comes out of the plugins that see its parts."""
    parts = pass_local(exchange, run)
    if parts is None:
        return
    limit, must_have_all = run.wanted_body_size()
    parts.collected = await collect(parts, limit)
    exchange.lend_body(parts.collected, limit, complete=parts.done)
    if exchange.cdata.body_truncated and must_have_all:
        raise UpstreamError(f"answer is over the plugin's max_body of {limit} bytes", cause="limit")


def take_seen_body(exchange: Exchange) -> None:
    """Plugins have seen the whole body on the fast path: from here on it is as if it had been collected."""
    body, cdata = exchange.body, exchange.cdata
    if body is None or not cdata.chain.body_seen or exchange.collected is not None:
        return
    start, end = body.buffered()
    exchange.collected = bytes(body.head_buffer.view[start:end])
    if not cdata.body_edited:
        exchange.lend_body(exchange.collected, end - start, complete=body.done)


async def _collect_response(
    exchange: Exchange, run: FilterRun, body: Readable, before: bytes, spent: float
) -> bytes | None:
    """None: nothing was collected, it may never end.

    Args:
        before: what of it is here; that took *spent* seconds.
    """
    cdata = exchange.cdata
    if lib.blitz_is_stream(cdata.response):
        cdata.body_truncated = 1
        return None
    limit, must_have_all = run.wanted_body_size()
    patience = exchange.runtime.timeouts.collect
    try:
        collected = await collect(body, limit, max(patience - spent, 0) if patience else math.inf, before)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise exchange.why_cut(exc) from exc
    if exchange.story is not None:
        exchange.story.collected("response body", len(collected), whole=body.done)
    exchange.lend_body(collected, limit, complete=body.done)
    if cdata.body_truncated and must_have_all:
        if len(collected) > limit:
            raise UpstreamError(f"answer is over the plugin's max_body of {limit} bytes", cause="limit")
        late = f"answer's body took longer than timeouts.collect, {patience:g} s"
        raise UpstreamError(f"{late}, and a plugin that changes it must have all of it", status=504)
    return collected


def _refuse_parts(response: Any) -> None:
    """No plugin is asked to change a part as if it were the whole: none was asked for (``drop_ranges``).

    Raises: UpstreamError.
    """
    if lib.blitz_begin_whole_response(response):
        raise UpstreamError("answer is a part (206), and a plugin that changes it must have the whole")
