"""Log lines that guests left behind, handed to ``logging``.

Lines come out of C already filtered by level, rate-limited, escaped and bounded; here they only get
their prefix, the one the seed document promises.

Records say more about themselves: ``plugin``, ``hook`` and ``id`` (of the request) where there are some, and
``lines``, the lines one by one.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from blitz._native import ffi, lib
from blitz.flood import WINDOW

from .log_lines import FinishedLines, taker

if TYPE_CHECKING:
    from .instance import Instance, LogLine
    from .plugin import Plugin

__all__ = [
    "LEVELS",
    "emit_log",
    "emit_log_of",
    "finished_lines",
    "hook_in_hand",
    "request_id",
    "tell_dropped",
]

REQUEST_ID_SIZE = 32

TRACE = 5
LEVELS = (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
logging.addLevelName(TRACE, "TRACE")

_log = logging.getLogger("blitz.plugin")
_finished: FinishedLines | None = None


def finished_lines() -> FinishedLines | None:
    """What collects the lines of plugins for the log as it is set up now; None: each has to be a record."""
    global _finished  # as the log itself, there is one in a process
    handler = taker(_log)
    if _finished is not None and _finished.handler is not handler:
        _finished.flush()
        _finished = None
    if _finished is None and handler is not None:
        _finished = FinishedLines(handler)
    return _finished


def emit_log(instance: Instance, hook: str = "", request_id: str = "") -> None:
    """Log what the guest said since the last time: a record for each run of lines of the same level, so that
    what one call says costs one write and not one for each line."""
    finished, name = finished_lines(), instance.plugin.spec.name
    if finished is not None:
        finished.flush()  # they were said before
    for level, lines in groupby(instance.take_log(), itemgetter(0)):
        texts = tuple(_text(name, line) for line in lines)
        _log.log(LEVELS[level], "%s", "\n".join(texts), extra=_about(name, hook, request_id, texts))
        if finished is not None:
            finished.learn(instance.plugin, hook, level, partial(_sample, name, hook, level))
    tell_dropped(instance.plugin)


def tell_dropped(plugin: Plugin, window: float = WINDOW) -> None:
    """Say how many lines were dropped, once the first of them is *window* seconds old."""
    count, seconds = plugin.take_dropped(window)
    if count:
        _log.log(
            max(logging.WARNING, LEVELS[plugin.spec.log_level]),
            "[WASM Plugin] %s: %s more lines in %d s were dropped",
            plugin.spec.name,
            f"{count:,}",
            max(round(seconds), 1),
            extra={"plugin": plugin.spec.name, "more": count, "seconds": seconds},
        )


def _about(name: str, hook: str, request_id: str, texts: tuple[str, ...]) -> dict[str, object]:
    return {"plugin": name, "hook": hook, "id": request_id, "lines": texts}


def _sample(name: str, hook: str, level: int, text: str, request_id: str) -> logging.LogRecord:
    """The record of a line, as ``emit_log`` makes it."""
    texts = (_text(name, (level, text, False)),)
    about = _about(name, hook, request_id, texts)
    return _log.makeRecord(_log.name, LEVELS[level], "", 0, "%s", texts, None, extra=about)


def _text(name: str, line: LogLine) -> str:
    _, text, truncated = line
    return f"[WASM Plugin] {name}: {text}{' [truncated]' if truncated else ''}"


def hook_in_hand(exchange: Any, plugin: Plugin) -> str:
    """The hook of *plugin* that the chain of a cffi ``blitz_exchange *`` is at."""
    if exchange.chain.starting:
        return "init"
    return plugin.response_hook if exchange.chain.is_response else "process_request"


def emit_log_of(instance: Instance, exchange: Any) -> None:
    """Log what *instance* said in its call for *exchange*."""
    emit_log(instance, hook_in_hand(exchange, instance.plugin), request_id(exchange))


def request_id(exchange: Any) -> str:
    """Of a cffi ``blitz_exchange *``."""
    octets: bytes = ffi.buffer(lib.blitz_exchange_id(exchange), REQUEST_ID_SIZE)[:]
    return octets.decode()
