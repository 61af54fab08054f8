"""A question of the gateway's own to a service: GET, over the same pools as requests of clients."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.builtin.services import Found, Question
from blitz.errors import InternalError, UpstreamError
from blitz.http.heads import span_bytes
from blitz.routing.balance import Tries

from .body_stream import collect
from .deadline import Timer
from .forwarding import Forwarding
from .own_request import begin_try, read_final_head, response_body

if TYPE_CHECKING:
    from .cluster import Cluster
    from .endpoint import Endpoint
    from .resources import Resources
    from .runtime import Runtime
    from .upstream import Upstream

__all__ = ["ask"]

_NONE = lib.BLITZ_BODY_NONE
_KEEP_ALIVE = lib.BLITZ_HEAD_KEEP_ALIVE
SWITCHING = 101
OWNER = object()  # of connections that are for one client only


async def ask(resources: Resources, runtime: Runtime, question: Question) -> Found:
    """The answer, whatever its status.

    Raises:
        UpstreamError: the service is not there, is late, or says what is no answer, or too much.
        ShortageError: as for any upstream.
    """
    cdata = resources.take_exchange()
    try:
        with trio.fail_after(question.timeout):
            return await _try_all(resources, runtime, question, cdata)
    except trio.TooSlowError:
        late = f"{question.authority}: no whole answer within {question.timeout:g} s"
        raise UpstreamError(late, status=504) from None
    finally:
        resources.give_exchange(cdata)


async def _try_all(resources: Resources, runtime: Runtime, question: Question, cdata: Any) -> Found:
    cluster = runtime.clusters[question.upstream]
    _write(cdata.request, question)
    tries: Tries[Endpoint] = Tries(partial(cluster.choose, cdata), repeatable=True)
    while True:
        upstream = await begin_try(resources, tries, runtime.timeouts.connect, OWNER)
        try:
            return await _exchange(resources, runtime, question, cluster, upstream, cdata)
        except UpstreamError as error:
            if not tries.again_after(error, trio.current_time(), used=upstream.used > 0):
                raise


def _write(request: Any, question: Question) -> None:
    target = question.target
    failed = lib.blitz_head_start_request(request, b"GET", 3, target, len(target), 1)
    for name, value in ((b"host", question.authority.encode()), *question.fields):
        # A service that is not told a field would decide about another request.
        failed = failed or lib.blitz_head_add(request, name, len(name), value, len(value)) < 0
    if failed or lib.blitz_head_check(request, ffi.NULL, 0):
        raise InternalError("a question to a service cannot be written")


async def _exchange(
    resources: Resources,
    runtime: Runtime,
    question: Question,
    cluster: Cluster,
    upstream: Upstream,
    cdata: Any,
) -> Found:
    """Raises: UpstreamError; the connection is given back or closed in any case."""
    clean = False
    keep = False
    scope = trio.CancelScope()
    timer = Timer(resources.wheel, scope.cancel)
    try:
        with scope:
            found, clean = await _talk(runtime, question, cluster, upstream, cdata, timer)
            keep = bool(cdata.response.flags & _KEEP_ALIVE)
            return found
        raise UpstreamError(f"{upstream.endpoint.address}: {timer.what} took too long", status=504)
    finally:
        timer.disarm()
        upstream.release(clean=clean, keep_alive=keep)


async def _talk(
    runtime: Runtime, question: Question, cluster: Cluster, upstream: Upstream, cdata: Any, timer: Timer
) -> tuple[Found, bool]:
    forwarding = Forwarding()
    forwarding.options.n_drop_ids = 0  # nothing in it comes from a client unseen
    forwarding.write_host(cdata.request, cluster, upstream.endpoint)
    await upstream.send_head(cdata.request, forwarding, _NONE, 0, ffi.NULL, 0, last=True, timer=timer)
    response = cdata.response
    await read_final_head(upstream, response, b"GET", runtime.limits)
    body = response_body(upstream, response, runtime.limits, timer)
    content = await collect(body, question.max_body)
    if len(content) > question.max_body:
        raise UpstreamError(
            f"{upstream.endpoint.address}: the answer is over {question.max_body} bytes", cause="limit"
        )
    fields = tuple(
        (span_bytes(response, at.name).lower(), span_bytes(response, at.value))
        for at in response.fields[0 : response.n_fields]
        if not at.gone
    )
    return Found(response.status, fields, content), body.done
