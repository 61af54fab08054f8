"""Log lines that guests left behind, handed to ``logging``.

Lines come out of C already filtered by level, rate-limited, escaped and bounded; here they only get
their prefix, the one the seed document promises.
"""

from __future__ import annotations

import logging
from itertools import groupby
from operator import itemgetter

from .instance import Instance, LogLine

__all__ = ["LEVELS", "emit_log"]

TRACE = 5
LEVELS = (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
logging.addLevelName(TRACE, "TRACE")

_log = logging.getLogger("blitz.plugin")


def emit_log(instance: Instance) -> None:
    """Log what the guest said since the last time: a record for each run of lines of the same level, so that
    what one call says costs one write and not one for each line."""
    for level, lines in groupby(instance.take_log(), itemgetter(0)):
        _log.log(LEVELS[level], "%s", "\n".join(_text(instance, line) for line in lines))


def _text(instance: Instance, line: LogLine) -> str:
    _, text, truncated, dropped = line
    cut = " [truncated]" if truncated else ""
    lost = " [lines before this one were dropped]" if dropped else ""
    return f"[WASM Plugin] {instance.plugin.spec.name}: {text}{cut}{lost}"
