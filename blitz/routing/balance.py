"""The tries of one exchange: which endpoint next, and after which failures again.

Which endpoint is the best one is ``native/balance.c``; this asks it (``choose``). Knows no socket and no
clock: time is a parameter, seconds on whatever clock the caller keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from blitz.errors import BlitzError

from .budget import RetryBudget

__all__ = ["Retry", "Tries"]

E = TypeVar("E")

FIRST_PAUSE = 0.025  # seconds before all endpoints are tried for the second time; Envoy's value
MAX_PAUSE = 0.25

_KINDS = {"upstream_connect": "connect", "upstream_reset": "reset", "upstream_timeout": "timeout"}


@dataclass(frozen=True, slots=True)
class Retry:
    """What a route says about tries.

    Attributes:
        attempts: so many at most. on: of connect, reset, timeout. statuses: answers after which again.
        per_try: seconds for one; 0: no bound. share: of the upstream's requests that may be tries again.
    """

    attempts: int
    on: frozenset[str]
    statuses: frozenset[int] = frozenset()
    per_try: float = 0.0
    share: float = 0.2


class Tries(Generic[E]):
    """Those of one exchange.

    An endpoint to which no connection can be made gives way to the next one, whatever a route says. A kept
    connection that turns out dead before a byte of the response (``BlitzError.retryable``) gets the request
    tried once more, on new connections only, if it may be repeated (RFC 9112 section 9.3.1): that says
    nothing about the endpoint, and counts for no bound. Everything else is tried again if the route says so,
    if the request may be repeated, and as far as attempts and the upstream's budget go.

    Attributes:
        fresh: kept connections are not to be used.
        repeatable: the whole request is still here, and doing it twice is as doing it once.
        retry: what the route says; None: nothing.
    """

    __slots__ = ("_budget", "_choose", "_made", "_round", "_tried", "fresh", "repeatable", "retry")

    def __init__(
        self,
        choose: Callable[[float, Sequence[E]], E | None],
        *,
        repeatable: bool,
        retry: Retry | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        """
        Args:
            choose: given the time and those that were tried, the best of the others, or None.
            budget: of the upstream; None: none is kept, and *retry* is without effect.
        """
        self._choose = choose
        self._budget = budget
        self._tried: list[E] = []
        self._made = 1
        self._round = False  # one more try was granted
        self.repeatable = repeatable
        self.retry = retry if budget is not None else None
        self.fresh = False

    def begun_with(self, endpoint: E) -> None:
        """Somebody else has made the first try, there."""
        self._tried.append(endpoint)

    def next(self, now: float) -> E | None:
        """The endpoint to try now; None: there is none left."""
        endpoint = self._choose(now, self._tried)
        if endpoint is None and self._round:  # all others had their try: those that failed have another
            self._tried.clear()
            endpoint = self._choose(now, self._tried)
        self._round = False
        if endpoint is not None:
            self._tried.append(endpoint)
        return endpoint

    def again_after(self, error: BlitzError, now: float, *, used: bool) -> bool:
        """The request was sent and *error* came of it. True: begin again with ``next``.

        Args:
            used: its connection had served other exchanges before.
        """
        if not self.repeatable:
            return False
        if not self.fresh and used and error.retryable:
            self.fresh = True
            self._tried.clear()
            return True
        retry = self.retry
        if error.source != "upstream" or retry is None or _KINDS.get(error.cause) not in retry.on:
            return False
        return self._again(retry, now)

    def again_after_status(self, status: int, now: float) -> bool:
        """An answer with *status* has come, of which the client knows nothing yet: the same."""
        retry = self.retry
        wanted = retry is not None and self.repeatable and status in retry.statuses
        return wanted and retry is not None and self._again(retry, now)

    def pause_after_connect(self, now: float, random: float) -> float | None:
        """No endpoint could be connected to. Seconds until it is worth trying all of them again, or None.

        Nothing was sent, so it does not matter whether the request may be repeated.

        Args:
            random: of [0, 1): those of one burst do not come back in one.
        """
        retry = self.retry
        if retry is None or "connect" not in retry.on or not self._again(retry, now):
            return None
        self._tried.clear()
        return min(FIRST_PAUSE * 2.0 ** (self._made - 2), MAX_PAUSE) * (0.5 + random)

    def _again(self, retry: Retry, now: float) -> bool:
        assert self._budget is not None
        if self._made >= retry.attempts or not self._budget.take(now, retry.share):
            return False
        self._made += 1
        self.fresh = self._round = True
        return True
