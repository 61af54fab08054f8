"""A test double for the state door: a dictionary that answers at once, or when it is told to."""

from __future__ import annotations

from typing import Any

import trio

from blitz._native import ffi, lib

DONE, PENDING = 0, int(lib.BLITZ_PENDING)


class DictState:
    """A ``blitz.state.State`` for Python's calls; a guest's are for native/test/test_state.c, because no
    frame of Python may be on a guest's stack.

    Attributes:
        turns: how often an operation is pending before it is answered.
        asleep: nobody is told of an answer.
        waiting: tickets of pending operations; forgotten: those that were given back.
    """

    def __init__(self, turns: int = 0) -> None:
        self.turns = turns
        self.asleep = False
        self.waiting: dict[int, tuple[int, Any]] = {}
        self.forgotten: list[int] = []
        self._tickets = 0
        self._values: dict[bytes, bytes] = {}
        self._spent: dict[bytes, int] = {}
        names = ("take_token", "add", "set", "get", "resume", "forget")
        types = {field: item.type for field, item in ffi.typeof("blitz_state_operations").fields}
        self._calls = {name: ffi.callback(types[name], getattr(self, f"_{name}")) for name in names}
        self._operations = ffi.new("blitz_state_operations *", self._calls)
        self.native = ffi.new("blitz_state *", {"operations": self._operations})

    async def wait_answer(self, ticket: int) -> None:
        assert ticket in self.waiting
        if self.asleep:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        assert not self.waiting

    def _later(self, result: Any, what: Any) -> int:
        self._tickets += 1
        self.waiting[self._tickets] = (self.turns, what)
        return int(self._resume(self.native, self._tickets, result))

    def _resume(self, _: Any, ticket: int, result: Any) -> int:
        turns, what = self.waiting.pop(ticket)
        if turns:
            self.waiting[ticket] = (turns - 1, what)
            result.ticket = ticket
            return PENDING
        return int(what(result))

    def _forget(self, _: Any, ticket: int) -> None:
        del self.waiting[ticket]
        self.forgotten.append(ticket)

    def _take_token(
        self, _: Any, key: Any, size: int, interval: int, burst: int, __: int, result: Any
    ) -> int:
        name = bytes(ffi.buffer(key, size))

        def take(into: Any) -> int:
            spent = self._spent.get(name, 0)
            into.number = burst - spent - 1 if spent < burst else -interval // 1_000_000
            self._spent[name] = min(spent + 1, burst)
            return DONE

        return self._later(result, take)

    def _add(self, _: Any, key: Any, size: int, delta: int, __: int, ___: int, result: Any) -> int:
        name = bytes(ffi.buffer(key, size))

        def count(into: Any) -> int:
            try:
                into.number = int(self._values.get(name, b"0")) + delta
            except ValueError:
                return int(lib.BLITZ_E_SYNTAX)
            self._values[name] = b"%d" % into.number
            return DONE

        return self._later(result, count)

    def _set(
        self, _: Any, key: Any, size: int, value: Any, value_size: int, __: int, ___: int, result: Any
    ) -> int:
        name, text = bytes(ffi.buffer(key, size)), bytes(ffi.buffer(value, value_size))

        def put(_: Any) -> int:
            if len(text) > 256:
                return int(lib.BLITZ_E_LIMIT)
            self._values[name] = text
            return DONE

        return self._later(result, put)

    def _get(self, _: Any, key: Any, size: int, __: int, result: Any) -> int:
        name = bytes(ffi.buffer(key, size))

        def find(into: Any) -> int:
            found = self._values.get(name)
            if found is None:
                return int(lib.BLITZ_E_DECLINED)
            into.len = len(found)
            ffi.memmove(into.value, found, len(found))
            return DONE

        return self._later(result, find)
