"""The state door: what outlives an exchange and is shared by all who see the same state.

A plugin's ``rate_limit``, ``kv_incr``, ``kv_get`` and ``kv_set`` come through it (``native/host_state.c``),
and so does what is Python's own (``take_token`` and the other functions here). Behind it is memory that the
workers of a host share (``blitz/wasm/shared.py``); a server that several hosts share would be another one.

* A **key** is 1 to 513 bytes, any of them. Whoever asks puts its own name in front of it: a plugin's
  namespace and a NUL. The door knows no names: the same key is the same thing.
* A **bucket** holds up to ``burst`` tokens and gets one every ``interval`` (GCRA). A bucket that
  nobody asked for is full. One that is asked for under another rate keeps what was spent.
* A **counter** is a signed number of 64 bits, held at both ends, exact whoever adds at the same time. One
  that is not there counts from 0.
* A **value** is 0 to 256 bytes. A counter read as a value is its decimal text; a value that is such a text
  can be added to.
* A counter or value may have a **time to live**, in milliseconds, which counts from when its key is made; 0:
  until it has to make room for others. Any of them may be lost that way: this is no database.

**Who waits.** An operation answers at once, or it is pending: it has a ticket, and whoever asked waits for
``wait_answer``, asks again, and gives the ticket back with ``forget`` if it has no more time. The operations
themselves never wait: C calls them while a guest runs. An answer is bound by the time of whoever waits for it
(a plugin's ``timeout``), not by the door. An operation that was forgotten may or may not have been done.
A guest cannot wait inside its call: there, an operation that is pending is a fault of that call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from blitz._native import ffi, lib
from blitz.errors import InternalError

__all__ = ["State", "StateError", "add", "get_value", "set_value", "take_token"]

DECLINED, PENDING = int(lib.BLITZ_E_DECLINED), int(lib.BLITZ_PENDING)
SENTENCES = {
    int(lib.BLITZ_E_SYNTAX): "the value of the key is no decimal number of 64 bits",
    int(lib.BLITZ_E_LIMIT): "the value is longer than 256 bytes",
}


class StateError(Exception):
    """The state cannot do what it was asked for, or is not to be had now; the message says which."""


class State(Protocol):
    """What is behind the door.

    Attributes:
        native: cffi ``blitz_state *`` with the table of operations; valid until ``close``. All of them are
            called in one thread, that of the event loop.
    """

    @property
    def native(self) -> Any: ...

    async def wait_answer(self, ticket: int) -> None:
        """Wait until something may have become of the pending operation *ticket*: ``resume`` will say what.

        Returns at once for one that is done. It may be cancelled, and called again.
        """

    def close(self) -> None:
        """Nobody asks any more; whoever used it (plugins) was closed before."""


async def take_token(state: State, key: bytes, interval: int, burst: int, now: float) -> int:
    """Take one token of *key*'s bucket.

    Args:
        interval: nanoseconds until the next token is there. burst: at least 1.
        now: seconds of CLOCK_MONOTONIC.
    Returns:
        Tokens left (>= 0), or minus the milliseconds until one is there.
    Raises: StateError.
    """
    ask = state.native.operations.take_token
    result = ffi.new("blitz_state_result *")
    await _settle(state, result, lambda: ask(state.native, key, len(key), interval, burst, _us(now), result))
    return int(result.number)


async def add(state: State, key: bytes, delta: int, now: float, ttl: int = 0) -> int:
    """Add *delta* to a counter; *ttl* in milliseconds, for a new one. Returns the sum. Raises StateError."""
    ask = state.native.operations.add
    result = ffi.new("blitz_state_result *")
    await _settle(state, result, lambda: ask(state.native, key, len(key), delta, ttl, _us(now), result))
    return int(result.number)


async def set_value(state: State, key: bytes, value: bytes, now: float, ttl: int = 0) -> None:
    """Put *value* in place of whatever *key* has; *ttl* in milliseconds. Raises StateError."""
    ask = state.native.operations.set
    result = ffi.new("blitz_state_result *")
    await _settle(
        state, result, lambda: ask(state.native, key, len(key), value, len(value), ttl, _us(now), result)
    )


async def get_value(state: State, key: bytes, now: float) -> bytes | None:
    """The value of *key*; None: it has none. Raises StateError."""
    ask = state.native.operations.get
    result = ffi.new("blitz_state_result *")
    if await _settle(state, result, lambda: ask(state.native, key, len(key), _us(now), result)) == DECLINED:
        return None
    return bytes(ffi.buffer(result.value, result.len))


def _us(now: float) -> int:
    return int(now * 1_000_000)


async def _settle(state: State, result: Any, ask: Callable[[], int]) -> int:
    """Bring an operation to its end; 0 or DECLINED."""
    operations = state.native.operations
    code = int(ask())
    while code == PENDING:
        ticket = int(result.ticket)
        try:
            await state.wait_answer(ticket)
        except BaseException:
            operations.forget(state.native, ticket)
            raise
        code = int(operations.resume(state.native, ticket, result))
    if code in (0, DECLINED):
        return code
    if code == lib.BLITZ_E_STATE:
        raise StateError(
            "the shared state cannot be had now: another process holds it, or it is out of reach"
        )
    if code in SENTENCES:
        raise StateError(SENTENCES[code])
    raise InternalError(f"an operation of the shared state came to {code}")
