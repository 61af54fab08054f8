"""Log lines that guests left behind, handed to ``logging``.

Lines come out of C already filtered by level, rate-limited, escaped and bounded; here they only get
their prefix, the one the seed document promises.
"""

from __future__ import annotations

import logging

from .instance import Instance

__all__ = ["LEVELS", "emit_log"]

TRACE = 5
LEVELS = (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
logging.addLevelName(TRACE, "TRACE")

_log = logging.getLogger("blitz.plugin")


def emit_log(instance: Instance) -> None:
    """Log what the guest said since the last time, one line each."""
    name = instance.plugin.spec.name
    for level, text, truncated, dropped in instance.take_log():
        _log.log(
            LEVELS[level],
            "[WASM Plugin] %s: %s%s%s",
            name,
            text,
            " [truncated]" if truncated else "",
            " [lines before this one were dropped]" if dropped else "",
        )
