"""Server-sent events: what happens, as it happens, in all workers.

A stream looks into the rings of all processes some times a second, and only while there is somebody to read
it. Whoever reads too slowly loses what was overwritten meanwhile and is told so; whoever takes nothing at all
is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import trio

from .ledger import Ledger, Reader

__all__ = ["EVENT_STREAM", "Stream", "event_stream", "line_stream"]

EVENT_STREAM = b"text/event-stream; charset=utf-8"
LOOK = 0.2  # seconds between looks into the rings
ALIVE = 5.0  # seconds of silence after which a stream says that it is there, and meets a client that is gone
ALIVE_COMMENT = b": alive\n\n"
MAX_LINES = 500  # of one look: a client is told how many were left out
Told = list[bytes]


class Stream:
    """What is new in *ledgers*, by name, until *ended*.

    Args:
        spell: makes events of what one look has found in one of them: its name, the records, and whether
            some were lost. from_now: nothing that was there before.
    """

    def __init__(
        self,
        ledgers: Mapping[str, Ledger],
        ended: Callable[[], bool],
        spell: Callable[[str, list[bytes], bool], Told],
        *,
        from_now: bool = True,
    ) -> None:
        self._ledgers = ledgers
        self._readers = {name: Reader(ledger, from_now=from_now) for name, ledger in ledgers.items()}
        self._ended = ended
        self._spell = spell
        self._spoken = -ALIVE  # so that a client knows at once that it is heard

    async def next(self) -> bytes:
        """The next events, as soon as there are some, or a sign of life; b"" at the end."""
        while not self._ended():
            for ledger in self._ledgers.values():
                ledger.watch(LOOK * 10)
            found = b"".join(self._look())
            now = trio.current_time()
            if not found and now - self._spoken >= ALIVE:
                found = ALIVE_COMMENT
            if found:
                self._spoken = now
                return found
            await trio.sleep(LOOK)
        return b""

    def _look(self) -> Told:
        told: Told = []
        for name, reader in self._readers.items():
            records, lost = reader.read()
            if records or lost:
                told += self._spell(name, records, lost)
        return told


def event_stream(ledgers: Mapping[str, Ledger], ended: Callable[[], bool], since: float) -> Stream:
    """Records of *ledgers*, each an event of the name it has there.

    Args:
        since: seconds since the epoch: those that are as new are told too; 0: only what comes.
    """

    def spell(name: str, records: list[bytes], lost: bool) -> Told:
        told = [_event("lost", "{}")] if lost else []
        wanted = (record for record in records if not since or _time_of(record) >= since)
        return told + [_event(name, record.decode()) for record in wanted]

    return Stream(ledgers, ended, spell, from_now=not since)


def line_stream(ledgers: Mapping[str, Ledger], ended: Callable[[], bool]) -> Stream:
    """Lines as the logs of *ledgers* have them: an event of the name of its log for each."""
    return Stream(ledgers, ended, _spell_lines)


def _spell_lines(name: str, records: list[bytes], lost: bool) -> Told:
    lines = b"".join(records).splitlines()
    left_out = max(len(lines) - MAX_LINES, 0)
    told = [_event("lost", json.dumps({"log": name}))] if lost or left_out else []
    said = (json.dumps({"line": line.decode("utf-8", "replace")}) for line in lines[left_out:])
    return told + [_event(name, one) for one in said]


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _time_of(record: bytes) -> float:
    return float(json.loads(record)["time"])
