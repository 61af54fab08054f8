"""Health checks: a worker asks the endpoints of its upstreams whether they are well, beside the traffic.

What the results come to is ``blitz/routing/check.py``. A check has a connection of its own, which counts
nowhere: also an endpoint whose connections are all busy can say that it is well.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from blitz._native import lib
from blitz.errors import UpstreamError

from .connect import why_not_connected
from .proxy_protocol import local_header
from .shortages import shortage
from .tls_stream import TlsError

if TYPE_CHECKING:
    from blitz.config.resolved import ResolvedUpstream

    from .cluster import Cluster
    from .endpoint import Endpoint
    from .resources import Resources
    from .stream import ByteStream

__all__ = ["HealthChecks"]

LOOK = 0.05  # seconds between two looks at what is due
REST = 1.0  # the same where no upstream has checks
FIELDS = "User-Agent: blitz\r\nConnection: close\r\n"
AT_ONCE = 64  # checks that are under way; the others are late rather than too many


class HealthChecks:
    """Of one gateway: of the configuration that it runs on at the time."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._running = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                some = self._begin(nursery)
                await trio.sleep(LOOK if some else REST)

    def _begin(self, nursery: trio.Nursery) -> bool:
        """Begin what is due. False: there is nothing that could be."""
        runtime, now = self._resources.runtime, trio.current_time()
        some = False
        for cluster in runtime.clusters.values():
            upstream = runtime.resolved.upstreams[cluster.name]
            if upstream.health is None:
                continue
            some = True
            for endpoint in cluster.endpoints:
                check = endpoint.check
                if check is None or endpoint.leaves or self._running >= AT_ONCE or not check.is_due(now):
                    continue
                check.begin(now, random.random())
                self._running += 1
                nursery.start_soon(self._check, upstream, cluster, endpoint)
        return some

    async def _check(self, upstream: ResolvedUpstream, cluster: Cluster, endpoint: Endpoint) -> None:
        assert upstream.health is not None
        why: str | None = None
        try:
            with trio.move_on_after(upstream.health.timeout) as scope:
                why = await self._ask(upstream, cluster, endpoint)
            if scope.cancelled_caught:
                why = f"no answer within {upstream.health.timeout:g} s"
        finally:
            self._running -= 1
            endpoint.checked(why)

    async def _ask(self, upstream: ResolvedUpstream, cluster: Cluster, endpoint: Endpoint) -> str | None:
        """Why *endpoint* is not well, or ""; None: nothing was found out."""
        assert upstream.health is not None
        try:
            stream = await endpoint.open_apart(local_header() if endpoint.proxy_protocol else b"")
        except OSError as exc:
            return None if shortage(exc) else why_not_connected(exc)
        except (TlsError, trio.BrokenResourceError) as exc:
            return str(exc)
        try:
            host = (cluster.host or endpoint.own_host).decode("latin-1")
            asked = f"GET {upstream.health.uri} HTTP/1.1\r\nHost: {host}\r\n{FIELDS}\r\n"
            await stream.send_rest(memoryview(asked.encode("latin-1")))
            status = await self._read_status(stream)
        except UpstreamError as exc:
            return exc.message
        except trio.BrokenResourceError:
            return "connection reset before an answer"
        finally:
            stream.close()
        return "" if status in upstream.well else f"status {status}"

    async def _read_status(self, stream: ByteStream) -> int:
        """Of the final response; interim ones are read past.

        Raises: UpstreamError, trio.BrokenResourceError.
        """
        resources = self._resources
        buffer, cdata = resources.buffers.take(), resources.take_exchange()
        response, seen = cdata.response, 0
        try:
            while True:
                if buffer.end > buffer.start:
                    lib.blitz_head_reset(response, lib.BLITZ_RESPONSE)
                    size = resources.runtime.reader.read_response(response, buffer, seen, b"GET")
                    if size and response.status >= 200:
                        return int(response.status)
                    buffer.start += size
                    seen = buffer.end - buffer.start if not size else 0
                    if size:
                        continue
                if buffer.end == buffer.size:
                    raise UpstreamError("the answer's head is too long for a health check")
                got = await stream.receive_into(buffer.view[buffer.end :])
                if not got:
                    raise UpstreamError("connection closed before an answer")
                buffer.end += got
        finally:
            resources.give_exchange(cdata)
            resources.buffers.give(buffer)
