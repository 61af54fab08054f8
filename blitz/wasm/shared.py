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
    """The state door's memory (``blitz.state.State``): one truth for every process forked after it.

    Nobody ever waits for it. The values have room of a fixed size (native/kv.c).

    Args:
        slots: buckets that can be live at once, rounded up to a power of two. When a neighbourhood of
            the table is full of live buckets, the one nearest to its expiry is given up.
    """

    def __init__(self, slots: int = DEFAULT_SLOTS) -> None:
        self._ptr: Any = lib.blitz_shared_new(slots)
        if self._ptr == ffi.NULL:
            raise InternalError(f"cannot map shared memory for {slots} rate-limit buckets and values")

    @property
    def native(self) -> Any:
        if self._ptr is None:
            raise InternalError("the shared state is closed")
        return lib.blitz_shared_state(self._ptr)

    async def wait_answer(self, ticket: int) -> None:
        raise InternalError(f"an operation in memory is never pending, and there is a ticket {ticket}")

    def close(self) -> None:
        """Unmap it here; other processes keep theirs. Plugins that use it must be closed before."""
        if self._ptr is not None:
            lib.blitz_shared_free(self._ptr)
            self._ptr = None
