"""Somebody who follows the lines of the log, where the log is set up so that this is possible."""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["follow_log"]


def follow_log(tap: Callable[[bytes], object] | None) -> None:
    """Call *tap* from now on with lines that the log writes; None: nobody any more. It may be called in any
    thread, and must not log."""
    for handler in logging.getLogger("blitz").handlers:
        if hasattr(handler, "tap"):
            handler.tap = tap
