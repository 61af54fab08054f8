"""Requests of the gateway's own to upstreams: what plugins fetch, questions to services, copies for mirrors.

They go over the same connections as exchanges, under the limits of the configuration. How long one may take
is up to who sends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from blitz.errors import ShortageError, UpstreamError
from blitz.http.body import body_reader

if TYPE_CHECKING:
    from blitz.config.model import Limits
    from blitz.routing.balance import Tries

    from .body_stream import IncomingBody
    from .deadline import Timer
    from .endpoint import Endpoint
    from .resources import Resources
    from .upstream import Upstream

__all__ = ["begin_try", "read_final_head", "response_body"]

BUSY = 503


async def begin_try(
    resources: Resources,
    tries: Tries[Endpoint],
    timeout: float,
    owner: object,
    preface: Callable[[Endpoint], bytes] = lambda endpoint: b"",
) -> Upstream:
    """A connection to the first endpoint that has one.

    Args:
        timeout: seconds for a new one. owner: see ``Upstreams.take_idle``.
        preface: what an endpoint is sent before anything else.
    Raises:
        UpstreamError: of the one that was tried last. ShortageError: it cannot be made here.
    """
    failure: UpstreamError | None = None
    while (endpoint := tries.next(trio.current_time())) is not None:
        upstream = None if tries.fresh else resources.upstreams.take_idle(endpoint, owner)
        if upstream is not None:
            return upstream
        try:
            return await resources.upstreams.connect(endpoint, timeout, owner, preface(endpoint))
        except UpstreamError as error:
            if not error.retryable:
                raise
            failure = error
        except ShortageError as error:
            resources.shortages.meet(error.number)
            raise
    raise failure or UpstreamError("no endpoint is left of the upstream", status=BUSY)


async def read_final_head(upstream: Upstream, response: Any, method: bytes, limits: Limits) -> None:
    """The final response's head into *response* (cffi ``blitz_head *``); interim ones are read past.

    Raises: UpstreamError; trio.BrokenResourceError.
    """
    for _ in range(limits.max_interim_responses + 1):
        await upstream.read_head(response, method)
        if response.status >= 200:
            return
        if response.status == 101:
            raise UpstreamError("101 to something that was not asked for")
    raise UpstreamError(f"more than {limits.max_interim_responses} interim answers")


def response_body(
    upstream: Upstream, response: Any, limits: Limits, timer: Timer, *, most: int = 0
) -> IncomingBody:
    """The body of that response. most: bytes, more is an error; 0: any number."""
    reader = body_reader(
        response,
        UpstreamError,
        limit=most,
        max_chunk_line=limits.max_chunk_line_size,
        max_trailers=limits.max_trailer_size,
    )
    return upstream.body(reader, timer)
