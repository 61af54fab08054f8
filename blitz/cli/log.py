"""Setting up the log of a command that serves. A library never does this.

Everything that Python would print by itself goes there too: warnings, errors of threads, errors that nobody
can catch, the end of the command by an error. With ``log.format = "json"`` nothing else is on standard error.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType

from blitz.cli.log_format import JsonFormatter, TextFormatter
from blitz.cli.log_handler import LogHandler
from blitz.cli.stderr import open_writer
from blitz.errors import ConfigProblem
from blitz.log_level import LEVELS, set_level

__all__ = ["log_problem", "set_up_logging"]

_log = logging.getLogger("blitz.cli")


def set_up_logging(level: str, form: str = "text") -> None:
    """Send Blitz's log to standard error, as ``text`` or ``json``.

    Lines of plugins come here at the level that they may have (``log.plugins``): others are never made. What
    the gateway says about plugins is its own.
    """
    formatter: logging.Formatter
    formatter = JsonFormatter() if form == "json" else TextFormatter(terminal=sys.stderr.isatty())

    def lost_line(count: int, cause: str) -> bytes:
        fields = {"name": "blitz.cli", "levelno": logging.WARNING, "levelname": "WARNING", "lost": count}
        said = f"{count:,} lines of the log were lost: standard error did not take them ({cause})"
        return f"{formatter.format(logging.makeLogRecord(fields | {'msg': said}))}\n".encode()

    handler = LogHandler(open_writer(sys.stderr, lost_line), formatter)
    root, blitz = logging.getLogger(), logging.getLogger("blitz")
    for logger in (root, blitz):
        for before in [old for old in logger.handlers if isinstance(old, LogHandler)]:
            logger.removeHandler(before)
            before.close()
        logger.addHandler(handler)
    blitz.propagate = False
    set_level(level)
    plugins = logging.getLogger("blitz.plugin")
    plugins.setLevel(LEVELS["trace"])
    plugins.filters[:] = [lambda record: hasattr(record, "lines") or record.levelno >= blitz.level]
    logging.captureWarnings(True)
    sys.excepthook = _log_end
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable


def log_problem(problem: ConfigProblem) -> None:
    """Say in the log what is wrong with the input."""
    fields = {"file": problem.file, "line": problem.line, "key": problem.key}
    _log.error("%s", problem, extra={name: value for name, value in fields.items() if value})


def _log_end(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    _log.error("the command failed: %s", kind.__name__, exc_info=(kind, error, traceback))


def _log_thread(failed: threading.ExceptHookArgs) -> None:
    name = failed.thread.name if failed.thread is not None else "unknown"
    error = failed.exc_value or failed.exc_type()
    _log.error("a thread failed: %s", name, exc_info=(failed.exc_type, error, failed.exc_traceback))


def _log_unraisable(failed: sys.UnraisableHookArgs) -> None:
    error = failed.exc_value or failed.exc_type()
    where = getattr(failed.object, "__qualname__", type(failed.object).__name__)
    about = (failed.exc_type, error, failed.exc_traceback)
    _log.error("an error that nobody can catch, in %s: %s", where, failed.err_msg or "", exc_info=about)
