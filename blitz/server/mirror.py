"""Copies of requests for another upstream, whose answers nobody sees (``mirror`` of a route).

Fire and forget: a copy is made of bytes that are here, sent by a task of its own, and dropped where it would
be one too many. Nothing of it reaches the request.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import lib
from blitz.errors import BlitzError, UpstreamError

from .deadline import Timer
from .own_request import read_final_head, response_body

if TYPE_CHECKING:
    from .cluster import Cluster
    from .endpoint import Endpoint
    from .resources import Resources
    from .upstream import Upstream

__all__ = ["Mirrors"]

_log = logging.getLogger("blitz.upstream")

AT_ONCE = 64  # copies under way of one worker, each of at most a head and 64 KiB of body
PATIENCE = 10.0  # seconds for all of one
MAX_ANSWER = 1 << 20  # bytes of its answer that are read: then the connection ends


class Mirrors:
    """Of one gateway. Copies are counted: sent, dropped (one too many, or the body was not whole), failed."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._nursery: trio.Nursery | None = None
        self._running = 0

    async def run(self) -> None:
        """Send copies for ever."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def has_room(self, *, whole: bool) -> bool:
        """One more copy can be made, of a request whose body is here as a *whole*; else it is dropped."""
        if whole and self._nursery is not None and self._running < AT_ONCE:
            return True
        self._resources.counters.mirror_dropped += 1
        return False

    def send(self, cluster: Cluster, endpoint: Endpoint, method: bytes, written: bytes) -> None:
        """Send *written*, a whole request with *method*, to *endpoint* of *cluster*."""
        assert self._nursery is not None
        self._running += 1
        self._resources.counters.mirror_sent += 1
        self._nursery.start_soon(self._send, cluster, endpoint, method, written)

    async def _send(self, cluster: Cluster, endpoint: Endpoint, method: bytes, written: bytes) -> None:
        cdata = self._resources.take_exchange()
        try:
            with trio.move_on_after(PATIENCE) as scope:
                await self._exchange(endpoint, cdata, method, written)
            if scope.cancelled_caught:
                self._resources.counters.mirror_failed += 1
                _log.debug("mirror %s: %s: not done within %g s", cluster.name, endpoint.address, PATIENCE)
        except (BlitzError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._resources.counters.mirror_failed += 1
            _log.debug("mirror %s: %s: %s", cluster.name, endpoint.address, error)
        except Exception:  # a fault of ours ends here: no request is to hear of it
            self._resources.counters.mirror_failed += 1
            self._resources.counters.internal_errors += 1
            _log.exception("internal error with a copy for %s", cluster.name)
        finally:
            self._running -= 1
            self._resources.give_exchange(cdata)

    async def _exchange(self, endpoint: Endpoint, cdata: Any, method: bytes, written: bytes) -> None:
        resources = self._resources
        upstream = resources.upstreams.take_idle(endpoint, None) if endpoint.reuse is True else None
        if upstream is None:
            if endpoint.proxy_protocol:
                raise UpstreamError("no copies go to an endpoint that wants a PROXY header")
            timeout = resources.runtime.timeouts.connect
            upstream = await resources.upstreams.connect(endpoint, timeout, None, b"")
        keep = done = False
        try:
            done, keep = await self._read(upstream, cdata, method, written)
        finally:
            upstream.release(clean=done, keep_alive=keep and endpoint.reuse is True)

    async def _read(self, upstream: Upstream, cdata: Any, method: bytes, written: bytes) -> tuple[bool, bool]:
        """Send it, and read the answer past. -> it came to its end, the connection may be kept."""
        response, limits = cdata.response, self._resources.runtime.limits
        timer = Timer(self._resources.wheel, upstream.abort)
        try:
            await upstream.send_rest(written, timer)
            await read_final_head(upstream, response, method, limits)
            body = response_body(upstream, response, limits, timer, most=MAX_ANSWER)
            body.buffered()
            while not body.done:
                await body.next_part()
        finally:
            timer.disarm()
        return True, bool(response.flags & lib.BLITZ_HEAD_KEEP_ALIVE)
