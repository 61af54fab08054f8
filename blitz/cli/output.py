"""How the commands speak: problems, results, log lines.

Problems and log lines go to standard error, one per line; results to standard output. Colours only
where a terminal reads them (click strips them elsewhere).
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import click

from blitz.cli.stderr import StderrHandler
from blitz.errors import AT, BlitzError, ConfigError, ConfigProblem, PluginLoadError, only_error
from blitz.text import one_line

__all__ = ["EXIT_BAD_INPUT", "EXIT_FAILED", "fail_on_errors", "print_json", "refuse", "set_up_logging"]

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2

LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}
_NAMES = {number: name for name, number in LEVELS.items()}
_COLOURS = {"warn": "yellow", "error": "red", "critical": "red"}


def print_problem(problem: ConfigProblem) -> None:
    where, _, message = str(problem).rpartition(problem.message)
    shown = click.style(one_line(where), bold=True) + one_line(problem.message + message)
    click.echo(AT.join((shown, *map(one_line, problem.frames))), err=True)


def refuse(problems: Sequence[ConfigProblem]) -> NoReturn:
    """Print what is wrong with the input and exit with 2."""
    for problem in problems:
        print_problem(problem)
    raise SystemExit(EXIT_BAD_INPUT)


@contextlib.contextmanager
def fail_on_errors() -> Iterator[None]:
    """Turn Blitz's errors into sentences and exit codes; anything else is a bug and keeps its traceback."""
    try:
        yield
    except ConfigError as error:
        refuse(error.problems)
    except PluginLoadError as error:
        refuse([ConfigProblem(error.message, frames=error.frames)])
    except BlitzError as error:
        click.echo(one_line(str(error)), err=True)
        raise SystemExit(EXIT_FAILED) from None
    except BaseExceptionGroup as group:
        inner = only_error(group)
        if inner is None:
            raise
        with fail_on_errors():
            raise inner from None


def print_json(value: Any) -> None:
    """In ASCII: what others have written in it does nothing to a terminal."""
    click.echo(json.dumps(value, indent=2))


def set_up_logging(level: str, plugin_level: str) -> None:
    """Send Blitz's log to standard error. For commands that serve; a library never does this."""
    handler = _handler()
    handler.setFormatter(_Lines(colour=sys.stderr.isatty()))
    root = logging.getLogger("blitz")
    for before in root.handlers[:]:
        root.removeHandler(before)
        before.close()
    root.addHandler(handler)
    root.propagate = False
    root.setLevel(LEVELS[level])
    logging.getLogger("blitz.plugin").setLevel(LEVELS[plugin_level])


def _handler() -> logging.Handler:
    try:
        return StderrHandler(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or somebody has put another stream in its place
        return logging.StreamHandler(sys.stderr)


class _Lines(logging.Formatter):
    """``time level area: message``. Lines of plugins begin with their own mark, ``[WASM Plugin]``."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        # Line ends are ours; whatever else does not show is somebody else's, meant for the terminal.
        text = "\n".join(map(one_line, text.split("\n")))
        if record.name == "blitz.plugin":
            return text
        level = _NAMES.get(record.levelno, record.levelname.lower())
        if self.colour and level in _COLOURS:
            level = click.style(level, fg=_COLOURS[level])
        area = record.name.removeprefix("blitz.")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{stamp}.{int(record.msecs):03d}Z {level} {area}: {text}"
