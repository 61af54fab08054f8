"""The handler of the gateway's log: lines and floods to a writer that nobody waits for.

Of each kind of message only so many are written per window (``blitz.flood``); a thread, which lives only
while there is something to tell, says how many more there were. A kind is the sentence without its arguments,
with the plugin, endpoint or upstream that it is about. What plugins say is bounded before it comes here.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from blitz.flood import WINDOW, Flood, LeftOut

__all__ = ["LogHandler", "Writer"]

MOST = 100  # messages of a kind per window ...
MOST_DEBUG = 10_000  # ... where somebody has asked for more of them
MAX_SAMPLE = 300  # characters
ABOUT = ("plugin", "endpoint", "upstream", "listener")


class Writer(Protocol):
    """Takes whole lines and never blocks."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def forget(self) -> None: ...


class LogHandler(logging.Handler):
    """Formats records and writes them, up to a rate.

    Attributes:
        tap: called with lines that were written, each with its end; None: nobody follows them.
    """

    def __init__(self, writer: Writer, formatter: logging.Formatter, window: float = WINDOW) -> None:
        super().__init__()
        self._writer = writer
        self._flood = Flood(MOST, window)
        self._teller: threading.Thread | None = None
        self._closing = threading.Event()
        self.tap: Callable[[bytes], object] | None = None
        self.setFormatter(formatter)
        _handlers.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Under the handler's lock, as logging calls it."""
        try:
            if self._closing.is_set():
                return
            if not hasattr(record, "lines"):
                now = time.monotonic()
                if now >= self._flood.due:
                    self._tell(self._flood.take_ended(now))
                if not self._admit(record, now):
                    return
            self._write(record)
        except Exception:
            self.handleError(record)

    def write_lines(self, lines: bytes) -> None:
        """Write *lines*, whole ones as the formatter spells them. Here, too, no flood is counted."""
        self.acquire()
        try:
            if not self._closing.is_set():
                self._put(lines)
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:
        """A fault of ours in a call of the log: it is said in a line, as everything is."""
        said = f"a message of the log does not fit its values: {str(record.msg)[:MAX_SAMPLE]}"
        with contextlib.suppress(Exception):  # there is nobody left to tell
            self._write(_make_record(record.name, logging.ERROR, said))

    def close(self) -> None:
        """Say what was left out so far, and write what is kept, if that does not take long."""
        self.acquire()
        try:
            if self._closing.is_set():
                return
            self._tell(self._flood.take_ended(time.monotonic(), early=True))
            self._closing.set()
        finally:
            self.release()
        self._writer.close()
        super().close()

    def forget(self) -> None:
        """In a forked child: threads and what was kept or counted are the parent's."""
        self._flood.clear()
        self._teller = None
        self._closing = threading.Event()
        self.tap = None
        self._writer.forget()

    def _write(self, record: logging.LogRecord) -> None:
        self._put(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))

    def _put(self, lines: bytes) -> None:
        self._writer.write(lines)
        if self.tap is not None:
            self.tap(lines)

    def _admit(self, record: logging.LogRecord, now: float) -> bool:
        most = MOST if record.levelno >= logging.INFO else MOST_DEBUG
        if self._flood.admit(_kind(record), now, most=most, sample=lambda: _sample(record)):
            return True
        if self._teller is None:
            self._teller = threading.Thread(target=self._tell_later, name="blitz-log-flood", daemon=True)
            self._teller.start()
        return False

    def _tell_later(self) -> None:
        closing = self._closing
        while True:
            self.acquire()
            try:
                now = time.monotonic()
                self._tell(self._flood.take_ended(now))
                patience = self._flood.due - now
                if closing.is_set() or math.isinf(patience):
                    self._teller = None
                    return
            finally:
                self.release()
            closing.wait(max(patience, 0.0))

    def _tell(self, ended: list[LeftOut]) -> None:
        for left_out in ended:
            self._write(_record_of(left_out))


_handlers: weakref.WeakSet[LogHandler] = weakref.WeakSet()


def _forget_all() -> None:
    for handler in list(_handlers):
        handler.forget()


os.register_at_fork(after_in_child=_forget_all)


def _kind(record: logging.LogRecord) -> Hashable:
    about = tuple(str(getattr(record, name, "")) for name in ABOUT)
    return (record.name, record.levelno, str(record.msg), *about)


def _sample(record: logging.LogRecord) -> str:
    text = record.getMessage()
    return text if len(text) <= MAX_SAMPLE else f"{text[:MAX_SAMPLE]}..."


def _record_of(left_out: LeftOut) -> logging.LogRecord:
    fields: dict[str, Any] = {"more": left_out.count, "seconds": left_out.seconds}
    name, level = "blitz.cli", logging.WARNING
    if isinstance(left_out.kind, tuple):
        name, level, _, *about = left_out.kind
        fields |= dict(zip(ABOUT, about, strict=True))
    return _make_record(name, level, f"{left_out}: {left_out.sample}", fields)


def _make_record(name: str, level: int, text: str, fields: dict[str, Any] | None = None) -> logging.LogRecord:
    about = {"name": name, "levelno": level, "levelname": logging.getLevelName(level), "msg": text}
    return logging.makeLogRecord((fields or {}) | about)
