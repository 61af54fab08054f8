"""Lines of plugins that the native core finishes by itself, for a log that takes bytes.

A formatter says how a line looks: it spells one line of each plugin, hook and level, with marks where the
time, the text and the request's id stand, and ``native/log_lines.c`` puts those in. So the fast path calls no
Python for a line; what it has collected is written once in a pass of the event loop.

A handler of ``logging`` that takes such lines has ``write_lines`` (see ``TakesLines``), and must be the only
one that a record of plugins would reach. Where that is not so, each run of lines is a record, as
``blitz.wasm.logs`` makes it.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeGuard
from weakref import WeakKeyDictionary

from blitz._native import ffi, lib
from blitz.errors import InternalError

if TYPE_CHECKING:
    from .plugin import Plugin

__all__ = ["FinishedLines", "TakesLines", "taker"]

SIZE = 128 * 1024  # bytes of a pass; what one call may leave fits, and what does not fit goes through Python
HOOKS = ("process_request", "process_response")
_A_TIME = 1234567890.0  # what stands for it is looked for in what the formatter made
_ITS_TEXT = b"2009-02-13T23:31:30.000Z"
_TIME, _TEXT, _ID = (bytes((mark,)) for mark in (lib.BLITZ_LOG_TIME, lib.BLITZ_LOG_TEXT, lib.BLITZ_LOG_ID))


class TakesLines(Protocol):
    """A handler of ``logging`` whose every record is bytes that its formatter made.

    Its formatter writes a record with ``lines`` as a line for each, without regard to anything but that
    record; times as RFC 3339 with milliseconds, in UTC; texts as they are, or in JSON strings.
    """

    formatter: logging.Formatter | None

    def write_lines(self, lines: bytes) -> object:
        """Write *lines*, whole ones. Never blocks."""


class FinishedLines:
    """Collects whole lines for *handler* until ``flush``. Belongs to the thread of the event loop."""

    def __init__(self, handler: TakesLines) -> None:
        native = lib.blitz_log_lines_new(SIZE)
        if native == ffi.NULL:
            raise InternalError("out of memory for log lines")
        self.native = ffi.gc(native, lib.blitz_log_lines_free)
        self.handler = handler
        self._text, self._id = secrets.token_hex(16), secrets.token_hex(16)
        self._learnt: WeakKeyDictionary[Plugin, set[tuple[str, int]]] = WeakKeyDictionary()

    def flush(self) -> bool:
        """Write what was collected; -> whether there was anything."""
        taken = lib.blitz_log_lines_take(self.native)
        if not taken.len:
            return False
        self.handler.write_lines(ffi.buffer(taken.ptr, taken.len)[:])
        return True

    def learn(
        self, plugin: Plugin, hook: str, level: int, make: Callable[[str, str], logging.LogRecord]
    ) -> None:
        """From now on, lines of *plugin* in *hook* at *level* are collected where that is possible.

        *make* is asked for the record of a line, given a text and a request's id.
        """
        learnt = self._learnt.setdefault(plugin, set())
        if hook not in HOOKS or (hook, level) in learnt:
            return
        learnt.add((hook, level))
        found = self._spell(make(f'{self._text}"', self._id))
        if found is None:
            return
        spelling, json = found
        response = hook == "process_response"
        if lib.blitz_plugin_spell(plugin.ptr, self.native, response, level, json, spelling, len(spelling)):
            raise InternalError("out of memory for log lines")

    def _spell(self, record: logging.LogRecord) -> tuple[bytes, bool] | None:
        """How the formatter spells *record*, with marks, and whether its text is in a JSON string.

        None: not as is expected of it.
        """
        record.created, record.msecs, record.process = _A_TIME, 0.0, os.getpid()
        formatter = self.handler.formatter
        spelt = formatter.format(record).encode("utf-8", "backslashreplace") if formatter is not None else b""
        plain, quoted = f'{self._text}"'.encode(), f'{self._text}\\"'.encode()
        json = quoted in spelt
        text = quoted if json else plain
        if any(mark in spelt for mark in (_TIME, _TEXT, _ID, b"\n")):
            return None
        if spelt.count(_ITS_TEXT) != 1 or spelt.count(text) != 1:
            return None
        return spelt.replace(_ITS_TEXT, _TIME).replace(text, _TEXT).replace(self._id.encode(), _ID), json


def taker(logger: logging.Logger) -> TakesLines | None:
    """The handler of *logger*'s records, if there is no other one and it takes finished lines."""
    handlers: list[logging.Handler] = []
    at: logging.Logger | None = logger
    while at is not None:
        handlers += at.handlers
        at = at.parent if at.propagate else None
    return handlers[0] if len(handlers) == 1 and _takes_lines(handlers[0]) else None


def _takes_lines(handler: object) -> TypeGuard[TakesLines]:
    return hasattr(handler, "write_lines")
