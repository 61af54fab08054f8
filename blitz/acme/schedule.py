"""When a certificate is ordered, and when again after a failure. No clock, no disk: time is a parameter.

Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Tries", "after_failure", "is_due"]

RENEW_AT = 2 / 3  # of its life: Let's Encrypt's advice, 60 of 90 days
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 24 * 3600.0  # seconds
# An authority that says "rate limited" counts by the hour (Let's Encrypt: five failures of a name).
RATE_LIMITED_PAUSE = 3600.0


@dataclass(frozen=True, slots=True)
class Tries:
    """failures: in a row. next: not before this time."""

    failures: int = 0
    next: float = 0.0


def is_due(now: float, tries: Tries, life: tuple[float, float] | None) -> bool:
    """It is time to order.

    Args:
        life: from when to when the certificate that is there is valid; None: there is none.
    """
    if now < tries.next:
        return False
    if life is None:
        return True
    begin, end = life
    return now >= begin + (end - begin) * RENEW_AT


def after_failure(now: float, tries: Tries, chance: float, *, rate_limited: bool) -> Tries:
    """What is next: the pause doubles with each failure, and is spread: not all gateways come at once.

    Args:
        chance: from 0 to 1, random.
    """
    pause = min(FIRST_PAUSE * 2 ** min(tries.failures, 20), LONGEST_PAUSE)
    if rate_limited:
        pause = max(pause, RATE_LIMITED_PAUSE)
    return Tries(tries.failures + 1, now + pause * (1 + chance / 4))
