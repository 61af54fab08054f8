"""Upstream connections between two exchanges: given back, watched while they rest, taken again.

The fast path watches them in its own epoll (``native/fast_path.c``), also those that it may not use itself:
what comes on one that rests ends it at once, instead of waiting there for the next request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from blitz._native import lib

if TYPE_CHECKING:
    from .endpoint import Endpoint, UpstreamConnection

__all__ = ["Resting"]


class Resting:
    """Those of one fast_path (cffi ``blitz_fast_path *``)."""

    __slots__ = ("_endpoints", "_fast_path")

    def __init__(self, fast_path: Any) -> None:
        self._fast_path = fast_path
        self._endpoints: dict[int, Endpoint] = {}  # of the connections that are watched, by descriptor

    def give_back(self, upstream: UpstreamConnection) -> None:
        """Its exchange ended cleanly: its endpoint lends it to the next, on the fast path or not."""
        endpoint = upstream.endpoint
        if not endpoint.native.most:  # it lends none
            upstream.end()
            return
        if not upstream.watched and lib.blitz_fast_watch_upstream(self._fast_path, upstream.fd):
            upstream.close()
            return
        upstream.watched = True
        if not upstream.is_quiet():  # what came before this moment is not reported
            upstream.close_unfit()
            return
        self._endpoints[upstream.fd] = endpoint
        lib.blitz_fast_rest(self._fast_path, upstream.fd, 1)
        endpoint.give(upstream, trio.current_time())

    def take_idle(self, endpoint: Endpoint, client: object) -> UpstreamConnection | None:
        """As ``Endpoint.take_idle``, for an exchange outside of the fast path."""
        upstream = endpoint.take_idle(trio.current_time(), client)
        if upstream is not None:
            lib.blitz_fast_rest(self._fast_path, upstream.fd, 0)
        return upstream

    def stirred(self, fd: int) -> None:
        """Something came on a connection that rests, or that did when its number was another's."""
        endpoint = self._endpoints.get(fd)
        upstream = endpoint.idle_at(fd) if endpoint is not None else None
        if upstream is None:
            return
        if upstream.is_quiet():  # such as a ticket of TLS
            self.give_back(upstream)
        else:
            upstream.close_unfit()

    def forget_old(self) -> None:
        """Keep no endpoint of an earlier configuration alive that has no connection any more."""
        self._endpoints = {fd: endpoint for fd, endpoint in self._endpoints.items() if endpoint.live}
