"""What a CORS preflight is: a browser asks before it sends a request (the Fetch standard, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ORIGIN", "REQUESTED_METHOD", "preflight_for"]

ORIGIN = b"origin"
REQUESTED_METHOD = b"access-control-request-method"


def preflight_for(method: bytes, origins: Sequence[bytes], requested: Sequence[bytes]) -> bytes | None:
    """The method of the request that a preflight asks leave for; None: it is no preflight.

    b"": it is one, and says several methods.

    Args:
        origins, requested: the values of Origin and of Access-Control-Request-Method.
    """
    if method != b"OPTIONS" or not origins or not requested:
        return None
    return requested[0] if len(requested) == 1 else b""
