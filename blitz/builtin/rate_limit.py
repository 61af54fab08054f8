"""How many requests a client may send: a bucket for each key (GCRA), one truth for all workers.

The client is told: the fields of draft-ietf-httpapi-ratelimit-headers-10, and the X-RateLimit-* that came
before them. A key is hashed before it is stored, and the table has a fixed size (``native/shared.c``).
"""

from __future__ import annotations

import ipaddress
import math
from typing import TYPE_CHECKING

from blitz._native import lib

from .services import Answer

if TYPE_CHECKING:
    from blitz.config.filter_keys import RateLimit
    from blitz.config.rates import Rate

    from .message import Message
    from .services import Services

__all__ = ["RateLimitFilter", "network_of"]

TOO_MANY = 429


class RateLimitFilter:
    """Of one route.

    Args:
        route: buckets are its own.
    """

    def __init__(self, limit: RateLimit, rate: Rate, route: str) -> None:
        self._rate = rate
        self._interval = int(lib.blitz_rate_interval(rate.count, rate.seconds))
        self._burst = limit.burst or rate.count
        self._kind, _, name = limit.key.partition(":")
        self._field = name.lower().encode()
        self._prefix = f"route\0{route}\0".encode()
        self._policy = b'"default";q=%d;w=%d' % (rate.count, rate.seconds)

    async def request(self, message: Message, services: Services) -> Answer | None:
        left = await services.spend(self._prefix + self._key(message), self._interval, self._burst)
        told = message.response_fields
        allowed = left >= 0
        tokens = max(left, 0)
        wait = -left / 1000
        # Until the bucket is full again, or, if nothing is left, until one request may come.
        reset = math.ceil((self._burst - tokens) * self._interval / 1e9 if allowed else wait)
        told[b"ratelimit-policy"] = self._policy
        told[b"ratelimit"] = b'"default";r=%d;t=%d' % (tokens, reset)
        told[b"x-ratelimit-limit"] = b"%d" % self._rate.count
        told[b"x-ratelimit-remaining"] = b"%d" % tokens
        told[b"x-ratelimit-reset"] = b"%d" % reset
        if allowed:
            return None
        fields = ((b"retry-after", b"%d" % max(reset, 1)),)
        return Answer(
            TOO_MANY, "rate_limited", f"more than {self._rate.count} in {self._rate.seconds} s", fields
        )

    def _key(self, message: Message) -> bytes:
        """Where the thing is not there whose requests are counted, the client's address is counted. The
        letter in front keeps one kind from passing for another."""
        if self._kind == "identity" and message.identity:
            return b"i" + message.identity.encode("utf-8", "replace")
        if self._kind == "header" and (values := message.values(self._field)):
            return b"h" + b"\0".join(values)
        return b"c" + network_of(message.client).encode()


def network_of(address: str) -> str:
    """The address, or the /64 of an IPv6 one: a client has all of that."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))
