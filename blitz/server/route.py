"""Which route of the running configuration serves a request, and whether plugins have led it to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from blitz._native import ffi, lib
from blitz.errors import ClientError, NoRoute, PluginReroute
from blitz.http.heads import span_bytes

from .asked import AskedHead

if TYPE_CHECKING:
    from blitz.routing.match import Router

    from .runtime import RouteEntry

__all__ = ["find_route", "moved_to"]

T = TypeVar("T")


def find_route(router: Router[T], request: Any, listener: str = "") -> T:
    """The route for a checked request head.

    Args:
        listener: the name of the one that took the connection.
    Raises:
        ClientError: see ``Router.find``.
        NoRoute: none matches.
    """
    if router.only is not None:
        return router.only
    host, asked = _host(router, request), AskedHead(request, listener)
    target = span_bytes(request, request.target)
    entry = router.find(host, target, asked)
    if entry is None:
        raise NoRoute("no route matches the request", router.allowed(host, target, asked))
    return entry


def moved_to(
    router: Router[RouteEntry], exchange: Any, entry: RouteEntry, listener: str = ""
) -> RouteEntry | None:
    """The route that the plugins of *entry* have led the request to; None: it stays.

    It stays where everything that the new path may mean is protected as *entry* is. The plugins say no more
    of this exchange (cffi ``blitz_exchange *``) until they change it again.

    Raises:
        PluginReroute: a plugin that may not do so has led it elsewhere, or one that may to a path that
            leads to several routes.
        NoRoute: a plugin that may do so has led it to where no route is.
    """
    moved, request = exchange.moved, exchange.request
    exchange.moved = 0
    if not moved or router.only is not None:
        return None
    host, target = _host(router, request), span_bytes(request, request.target)
    asked = AskedHead(request, listener)
    if router.stays(host, target, entry, asked):
        return None
    plugin = ffi.buffer(exchange.mover.ptr, exchange.mover.len)[:].decode()
    try:
        found = router.find(host, target, asked)
    except ClientError as exc:
        raise _refusal(plugin, f"changed path or host of a request, and {exc}") from exc
    if moved == lib.BLITZ_MOVED_WITHOUT:
        where = "where no route is" if found is None else f"to route {found.name.decode()}"
        raise _refusal(
            plugin,
            f"led a request from route {entry.name.decode()} {where}, by its path or host, past the plugins "
            f'there; to allow it, write reroute = true in its [[plugins]] entry (name = "{plugin}")',
        )
    if found is None:
        allowed = router.allowed(host, target, asked)
        raise NoRoute(f"no route matches the request as {plugin} changed it", allowed)
    return found


def _host(router: Router[T], request: Any) -> bytes:
    return span_bytes(request, request.host) if router.by_host else b""


def _refusal(plugin: str, what: str) -> PluginReroute:
    return PluginReroute(f"{plugin} {what}", plugin=plugin, hook="process_request")
