"""The filters of the gateway's own on a route, in their fixed order.

A route without any has no ``OwnFilters`` and pays nothing; one that has some takes the general path, where
``ask_filters.py`` asks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blitz._native import lib
from blitz.builtin.auth import AuthFilter
from blitz.builtin.compress import CompressFilter
from blitz.builtin.cors import CorsFilter
from blitz.builtin.rate_limit import RateLimitFilter
from blitz.config.filter_rules import parse_origin
from blitz.config.rates import parse_rate

if TYPE_CHECKING:
    from blitz.builtin.identity import Authenticator
    from blitz.builtin.message import Message
    from blitz.builtin.services import Filter
    from blitz.config.resolved import ResolvedRoute

__all__ = ["OwnFilters", "own_filters"]


class OwnFilters:
    """Of one route.

    Attributes:
        early: before anything that needs to know the client: CORS, whose preflights bring no credentials.
        late: auth, then the rate limit, which may count by who the client is.
        compress: looks at the request early, and comes last of all in the response; ``compressing.py`` asks.
        auth: the one filter that there is, which can let clients pass at once; None: there are others, too.
    """

    __slots__ = ("auth", "compress", "cors", "early", "late")

    def __init__(
        self, cors: CorsFilter | None, late: tuple[Filter, ...], compress: CompressFilter | None = None
    ) -> None:
        self.cors = cors
        self.compress = compress
        only = late[0] if len(late) == 1 and cors is None and compress is None else None
        self.auth = only if isinstance(only, AuthFilter) else None
        self.early: tuple[Filter, ...] = tuple(one for one in (compress, cors) if one is not None)
        self.late = late

    def finish(self, message: Message, response: Any) -> None:
        """Tell the client on *response* (cffi ``blitz_head *``), behind the plugins, what filters have to
        say."""
        for name, value in message.response_fields.items():
            lib.blitz_head_set(response, name, len(name), value, len(value))
        if self.cors is not None:
            self.cors.response(message, response)


def own_filters(route: ResolvedRoute, authenticators: Mapping[str, Authenticator]) -> OwnFilters | None:
    """What *route* has of them; None: nothing."""
    cors = None
    if route.cors is not None:
        cors = CorsFilter(route.cors, [parse_origin(origin) for origin in route.cors.origins])
    late: list[Filter] = []
    if route.auth:
        late.append(AuthFilter(authenticators[route.auth]))
    if route.rate_limit is not None:
        late.append(RateLimitFilter(route.rate_limit, parse_rate(route.rate_limit.rate), route.name))
    compress = CompressFilter(route.compress) if route.compress is not None else None
    has_any = cors is not None or compress is not None or late
    return OwnFilters(cors, tuple(late), compress) if has_any else None
