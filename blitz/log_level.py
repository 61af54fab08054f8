"""The level of the gateway's own log, where it is set and changed while it runs."""

from __future__ import annotations

import logging

__all__ = ["LEVELS", "set_level"]

LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


def set_level(level: str) -> None:
    """Keep lines of *level* and what is more severe. What plugins write has a level of its own."""
    logging.getLogger("blitz").setLevel(LEVELS[level])
