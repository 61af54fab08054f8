"""State that several processes share: rate limits and small values.

Made by the parent before it forks its workers.
"""

from __future__ import annotations

from typing import Any

from blitz._native import ffi, lib
from blitz.errors import InternalError

__all__ = ["Shared"]

# Buckets that can be live at once; 24 bytes each, touched only when used.
DEFAULT_SLOTS = 65536


class Shared:
    """Rate limits and the values of kv_set and kv_incr in shared memory, one truth for every process
    forked after it. The values have room of a fixed size (native/kv.c).

    Args:
        slots: buckets that can be live at once, rounded up to a power of two. When a neighbourhood of
            the table is full of live buckets, the one nearest to its expiry is given up.
    """

    def __init__(self, slots: int = DEFAULT_SLOTS) -> None:
        self._ptr: Any = lib.blitz_shared_new(slots)
        if self._ptr == ffi.NULL:
            raise InternalError(f"cannot map shared memory for {slots} rate-limit buckets and values")

    @property
    def ptr(self) -> Any:
        if self._ptr is None:
            raise InternalError("the shared state is closed")
        return self._ptr

    def rate_limit(self, key: bytes, per_minute: int, burst: int, now: float) -> int:
        """Take one token of *key*'s bucket.

        Args:
            per_minute, burst: refill rate and size of the bucket, both at least 1.
            now: seconds, monotonic, the same clock in every process.
        Returns:
            Tokens left (>= 0), or minus the milliseconds until one is there.
        """
        return int(
            lib.blitz_shared_rate_limit(self.ptr, key, len(key), per_minute, burst, int(now * 1_000_000))
        )

    def close(self) -> None:
        """Unmap it here; other processes keep theirs. Plugins that use it must be closed before."""
        if self._ptr is not None:
            lib.blitz_shared_free(self._ptr)
            self._ptr = None
