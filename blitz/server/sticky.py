"""What a sticky cookie says: a word for an endpoint that tells nothing about it."""

from __future__ import annotations

import hashlib
import hmac
import secrets

__all__ = ["token_of"]

# Of this process and those that it forks: workers know each other's cookies.
_OWN = secrets.token_bytes(32)
SIZE = 16  # bytes: nobody finds another one by chance


def token_of(secret: str, upstream: str, endpoint: str) -> str:
    """32 hexadecimal digits for an *endpoint*'s address, the same for equal secrets; "": this service's own.

    Keyed (HMAC-SHA256): the addresses of a network are few, and a plain digest could be tried out.
    """
    key = secret.encode() or _OWN
    return hmac.new(key, f"{upstream}\0{endpoint}".encode(), hashlib.sha256).digest()[:SIZE].hex()
