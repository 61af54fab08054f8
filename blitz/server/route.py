"""Which route of the running configuration serves a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .heads import span_bytes

if TYPE_CHECKING:
    from blitz.routing.match import Router

    from .runtime import RouteEntry

__all__ = ["find_route"]


def find_route(router: Router[RouteEntry], request: Any) -> RouteEntry | None:
    """The route for a checked request head, or None. Raises ClientError: see ``Router.find``."""
    entry = router.only
    if entry is not None:
        return entry
    host = span_bytes(request, request.host) if router.by_host else b""
    return router.find(host, span_bytes(request, request.target))
