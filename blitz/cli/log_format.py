"""How a record of the log is spelt: a line of text, or a JSON object in a line.

Whatever is in a message, it stays in its line and shows: line ends, controls and invisible characters are
escaped (``blitz.text``). Only a terminal gets blocks of several lines; those begin with blanks, so that none
of them can be taken for the beginning of a message.

A record may say more about itself, in attributes that are given with ``extra``:
    lines   several messages of the same kind, each a line of its own
    block   the message in pieces: a sentence, and what belongs to it
    others  fields of the JSON object: text, numbers, tuples of text
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any

import click

from blitz.log_level import LEVELS
from blitz.text import one_line

__all__ = ["JsonFormatter", "TextFormatter", "fields_of"]

MAX_TRACEBACK = 32768  # characters; the end says what happened
_NAMES = {number: name for name, number in LEVELS.items()} | {logging.CRITICAL: "error"}
_COLOURS = {"warn": "yellow", "error": "red"}
_PLUGINS = "blitz.plugin"  # what is said there begins with a mark of its own, [WASM Plugin]
_EVERY_RECORD_HAS = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))
_SPELLING = frozenset(("lines", "block"))


class TextFormatter(logging.Formatter):
    """``time level area: message``; lines of plugins have their mark instead of the area.

    Args:
        terminal: somebody looks at it: colours, and blocks where there is more to say.
    """

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal
        self._break = "\n    " if terminal else "\\n"

    def format(self, record: logging.LogRecord) -> str:
        begin = self._beginning(record)
        lines = getattr(record, "lines", None)
        if lines is not None:
            return "\n".join(begin + one_line(line) for line in lines)
        block = getattr(record, "block", None)
        if block is not None and self._terminal:
            text = self._break.join(map(one_line, block))
        else:
            text = one_line(record.getMessage())
        return begin + self._break.join((text, *_traceback(record)))

    def _beginning(self, record: logging.LogRecord) -> str:
        level = _level(record)
        if self._terminal and level in _COLOURS:
            level = click.style(level, fg=_COLOURS[level])
        area = "" if record.name == _PLUGINS else f" {one_line(_area(record))}:"
        return f"{_time(record)} {level}{area} "


class JsonFormatter(logging.Formatter):
    """An object with ``time``, ``level``, ``source``, ``message``, ``pid``, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        lines = getattr(record, "lines", None)
        if lines is None:
            block = getattr(record, "block", None)
            lines = (block[0] if block else record.getMessage(),)
        begin = {"time": _time(record), "level": _level(record), "source": one_line(_area(record))}
        taken = {*begin, "message", "pid"}  # a field never stands for one of ours
        end = {"pid": record.process} | {
            name: value for name, value in fields_of(record).items() if name not in taken
        }
        traceback = _traceback(record)
        if traceback:
            end["traceback"] = "\n".join(traceback)
        # Put together by hand, so that many lines of one record cost little each.
        before, behind = json.dumps(begin)[:-1], json.dumps(end)[1:]
        return "\n".join(f'{before}, "message": {json.dumps(one_line(line))}, {behind}' for line in lines)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the record says about itself beside its message."""
    return {
        one_line(name): _value(value)
        for name, value in vars(record).items()
        if name not in _EVERY_RECORD_HAS and name not in _SPELLING and value not in ("", ())
    }


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 6) if value - value == 0 else str(value)  # JSON has no nan and no infinity
    if isinstance(value, tuple | list):
        return [_value(item) for item in value]
    return one_line(str(value))


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, UTC."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{stamp}.{int(record.msecs):03d}Z"


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, one_line(record.levelname.lower()))


def _area(record: logging.LogRecord) -> str:
    return record.name.removeprefix("blitz.")


def _traceback(record: logging.LogRecord) -> Iterable[str]:
    """Its lines, each printable; () where there is none."""
    if not record.exc_info or record.exc_info[0] is None:
        return ()
    text = logging.Formatter().formatException(record.exc_info)
    if len(text) > MAX_TRACEBACK:
        text = f"... {text[-MAX_TRACEBACK:]}"
    return tuple(map(one_line, text.split("\n")))
