"""A guest's own request to an upstream (``http_fetch``): by the same pools, tries and limits as exchanges.

C has built and checked the request (``native/host_fetch.c``), and the upstream is one that the operator
granted to the plugin. The response is collected: a guest reads it as a whole.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ShortageError, UpstreamError
from blitz.http.heads import span_bytes
from blitz.http.rules import IDEMPOTENT
from blitz.routing.balance import Tries

from .body_stream import collect
from .deadline import Timer
from .forwarding import Forwarding
from .own_request import begin_try, read_final_head, response_body
from .proxy_protocol import write_header

if TYPE_CHECKING:
    from .cluster import Cluster
    from .endpoint import Endpoint
    from .exchange import Exchange
    from .outside import Fetch
    from .upstream import Upstream

__all__ = ["fetcher"]

_NONE = lib.BLITZ_BODY_NONE
_LENGTH = lib.BLITZ_BODY_LENGTH
_KEEP_ALIVE = lib.BLITZ_HEAD_KEEP_ALIVE
FAILED: int = lib.BLITZ_FETCH_FAILED


def fetcher(exchange: Exchange) -> Fetch:
    """What sends the requests of guests on behalf of *exchange*."""
    return partial(_fetch, exchange)


async def _fetch(exchange: Exchange, instance: Any, most: int) -> int:
    """Send the request that *instance* waits for; its status, once the guest can read the response.

    FAILED: nothing came of it, or more than *most* bytes of body. The caller bounds the time.
    """
    fetch = lib.blitz_call_fetch(instance)
    name = ffi.buffer(fetch.upstream.ptr, fetch.upstream.len)[:].decode()
    cluster = exchange.runtime.clusters.get(name)
    if cluster is None:  # of a configuration that is not this one
        return FAILED
    one = _OneFetch(exchange, cluster, instance, fetch, most)
    try:
        return await one.run()
    except ShortageError:
        return FAILED
    except (BlitzError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        if exchange.story is not None:
            exchange.story.fetch_failed(name, error)
        return FAILED
    finally:
        one.close()


class _OneFetch:
    """One request, on one connection after the other if need be; nobody else's connection (``reuse``)."""

    def __init__(self, exchange: Exchange, cluster: Cluster, instance: Any, fetch: Any, most: int) -> None:
        self._exchange = exchange
        self._runtime = exchange.runtime
        self._cluster = cluster
        self._instance = instance
        self._names_host = bool(fetch.names_host)
        self._cdata = fetch.exchange
        self._most = most
        self._method = span_bytes(self._cdata.request, self._cdata.request.method)
        # The whole wait is bounded by who waits: nothing is armed, and this never expires.
        self._timer = Timer(exchange.resources.wheel, _nothing)
        self._forwarding = Forwarding()
        self._owner = object()
        self._endpoint: Endpoint | None = None

    async def run(self) -> int:
        """
        Raises: BlitzError, trio.BrokenResourceError, trio.ClosedResourceError.
        """
        tries: Tries[Endpoint] = Tries(
            partial(self._cluster.choose, self._cdata), repeatable=self._method in IDEMPOTENT
        )
        while True:
            upstream = await self._connect(tries)
            kept = False
            try:
                await self._send(upstream)
                body = await self._receive(upstream)
                kept = True
                return self._keep(body)
            except UpstreamError as error:
                if kept or not tries.again_after(error, trio.current_time(), used=upstream.used > 0):
                    raise
            finally:
                flags = self._cdata.response.flags
                upstream.release(clean=kept, keep_alive=bool(flags & _KEEP_ALIVE))

    def close(self) -> None:
        """No other request may use a connection that was this one's alone."""
        self._timer.disarm()
        if self._endpoint is not None and self._endpoint.reuse == "client":
            self._endpoint.client_gone(self._owner)

    async def _connect(self, tries: Tries[Endpoint]) -> Upstream:
        resources, timeout = self._exchange.resources, self._runtime.timeouts.connect
        upstream = await begin_try(resources, tries, timeout, self._owner, self._preface)
        self._endpoint = upstream.endpoint
        return upstream

    def _preface(self, endpoint: Endpoint) -> bytes:
        return self._proxy_header() if endpoint.proxy_protocol else b""

    def _proxy_header(self) -> bytes:
        """It is sent on behalf of the exchange's client."""
        peer = self._exchange.peer
        here = self._exchange.downstream.local_address()
        return write_header(
            (peer.address, peer.port), here or ("::" if ":" in peer.address else "0.0.0.0", 0)
        )

    async def _send(self, upstream: Upstream) -> None:
        cdata, options = self._cdata, self._forwarding.options
        body = cdata.new_body
        size = body.len if cdata.body_edited else 0
        options.strip_expect = True
        options.n_drop_ids = 0  # what it says of a client is the plugin's own word
        self._tell_id()
        self._forwarding.write_host(cdata.request, self._cluster, upstream.endpoint)
        if not self._names_host and not self._cluster.host:
            host = upstream.endpoint.native.host
            options.host, options.host_len = host.ptr, host.len
        await upstream.send_head(
            cdata.request,
            self._forwarding,
            _LENGTH if cdata.body_edited else _NONE,
            size,
            body.ptr if size else ffi.NULL,
            size,
            last=True,
            timer=self._timer,
        )

    def _tell_id(self) -> None:
        """Whoever follows a request through logs finds this one too."""
        field = self._runtime.request_id_header
        if field:
            octets = self._exchange.request_id.encode()
            lib.blitz_head_set(self._cdata.request, field, len(field), octets, len(octets))

    async def _receive(self, upstream: Upstream) -> bytes:
        """The final head into the exchange; its body."""
        response, limits = self._cdata.response, self._runtime.limits
        await read_final_head(upstream, response, self._method, limits)
        body = response_body(upstream, response, limits, self._timer)
        data = await collect(body, self._most)
        if not body.done or len(data) > self._most:
            raise UpstreamError(f"answer is over the plugin's max_body of {self._most} bytes", cause="limit")
        return data

    def _keep(self, body: bytes) -> int:
        if lib.blitz_fetch_keep(self._instance, body, len(body)) < 0:
            raise UpstreamError("no room for an answer that a plugin has asked for", cause="limit")
        return int(self._cdata.response.status)


def _nothing() -> None:
    return
