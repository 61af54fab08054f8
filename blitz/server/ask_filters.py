"""The filters of the gateway's own asked about the request of an exchange, with what they wait for.

``blitz/builtin/`` decides, and waits for nothing itself: this gives it computations in a thread, answers of
other services, keys and the counts that workers share.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from blitz.state import take_token

from .subrequest import ask

if TYPE_CHECKING:
    from blitz.builtin.jwks import KeySet, KeySource
    from blitz.builtin.services import Answer, Filter, Found, Question

    from .exchange import Exchange

__all__ = ["NOW", "ask_filters"]

T = TypeVar("T")


async def ask_filters(exchange: Exchange, filters: tuple[Filter, ...]) -> Answer | None:
    """Ask them in turn; the first answer counts. Raises BlitzError."""
    message = exchange.as_message()
    services = ExchangeServices(exchange)
    for one in filters:
        answer = await one.request(message, services)
        if answer is not None:
            return answer
    return None


class Now:
    """``Moment``."""

    __slots__ = ()

    def wall(self) -> float:
        return time.time()

    def now(self) -> float:
        return trio.current_time()

    def keys_of(self, source: KeySource) -> KeySet | None:
        return source.usable(trio.current_time())


NOW = Now()


class ExchangeServices(Now):
    """``Services`` of one exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def spend(self, key: bytes, interval: int, burst: int) -> int:
        limits = self._exchange.resources.limits
        assert limits is not None
        # Of a fixed size, whatever clients put into theirs.
        key = hashlib.blake2b(key, digest_size=32).digest()
        return await take_token(limits, key, interval, burst, time.monotonic())

    async def compute(self, work: Callable[[], T], key: bytes, client: str) -> T:
        return await self._exchange.resources.workshop.compute(work, key, client)

    async def ask(self, question: Question) -> Found:
        return await ask(self._exchange.resources, self._exchange.runtime, question)

    async def wait_for_keys(self, source: KeySource) -> None:
        await self._exchange.resources.keys.wait(source)

    def hide_target(self, target: bytes) -> None:
        self._exchange.hide_target(target)
