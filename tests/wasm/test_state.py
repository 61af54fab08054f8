"""The state door from Python's side. Invariant: whatever is behind it, an operation means the same; one that
is waited for means what it would have meant at once; one that nobody waits for any more is given back.

The guest's side: native/test/test_state.c, test_kv.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import trio

from blitz.errors import InternalError
from blitz.state import State, StateError, add, get_value, set_value, take_token
from blitz.wasm.shared import Shared

from .state_double import DictState

BEHIND: dict[str, Callable[[], State]] = {
    "memory": lambda: Shared(64),
    "at once": lambda: DictState(),
    "waiting": lambda: DictState(turns=3),
}
NOW = 1000.0
SECOND = 1_000_000_000


@pytest.fixture(params=BEHIND)
def state(request: pytest.FixtureRequest) -> Iterator[State]:
    state = BEHIND[request.param]()
    yield state
    state.close()


async def test_values(state: State) -> None:
    assert await get_value(state, b"k", NOW) is None
    await set_value(state, b"k", b"\0\xff", NOW)
    await set_value(state, b"other", b"", NOW)
    assert await get_value(state, b"k", NOW) == b"\0\xff"
    assert await get_value(state, b"other", NOW) == b""
    await set_value(state, b"k", b"x" * 256, NOW)
    assert await get_value(state, b"k", NOW) == b"x" * 256


async def test_counters(state: State) -> None:
    assert await add(state, b"n", 5, NOW) == 5
    assert await add(state, b"n", -7, NOW) == -2
    assert await get_value(state, b"n", NOW) == b"-2"
    await set_value(state, b"n", b"40", NOW)
    assert await add(state, b"n", 2, NOW) == 42


async def test_buckets(state: State) -> None:
    took = [await take_token(state, b"b", SECOND, 3, NOW) for _ in range(4)]
    assert took == [2, 1, 0, -1000]
    assert await take_token(state, b"another", SECOND, 3, NOW) == 2


async def test_what_cannot_be_done_says_why(state: State) -> None:
    with pytest.raises(StateError, match="longer than 256 bytes"):
        await set_value(state, b"k", b"x" * 257, NOW)
    await set_value(state, b"k", b"many", NOW)
    with pytest.raises(StateError, match="no decimal number"):
        await add(state, b"k", 1, NOW)
    assert await get_value(state, b"k", NOW) == b"many"


async def test_operations_that_wait_go_on_beside_each_other() -> None:
    state = DictState(turns=3)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(add, state, b"n", 1, NOW)
    assert await get_value(state, b"n", NOW) == b"20"
    state.close()


async def test_who_has_no_more_time_gives_the_operation_back() -> None:
    state = DictState(turns=1)
    state.asleep = True
    for ask in (lambda: add(state, b"n", 1, NOW), lambda: get_value(state, b"n", NOW)):
        with trio.CancelScope() as scope:
            scope.cancel()
            await ask()
    assert state.forgotten == [1, 2] and not state.waiting


async def test_memory_is_never_waited_for() -> None:
    shared = Shared(64)
    with pytest.raises(InternalError, match="never pending"):
        await shared.wait_answer(1)
    shared.close()
