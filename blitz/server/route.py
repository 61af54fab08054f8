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
    return router.find(span_bytes(request, request.host), span_bytes(request, request.target))
