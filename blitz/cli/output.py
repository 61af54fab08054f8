"""How the commands speak: problems and results; ``log.py`` has the log.

Problems go to standard error, one per line; results to standard output. Colours only where a terminal reads
them (click strips them elsewhere).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import click

from blitz.errors import AT, BlitzError, ConfigError, ConfigProblem, PluginLoadError, only_error
from blitz.text import one_line

__all__ = ["EXIT_BAD_INPUT", "EXIT_FAILED", "Say", "fail_on_errors", "print_json", "print_problem", "refuse"]

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2

Say = Callable[[ConfigProblem], None]


def print_problem(problem: ConfigProblem) -> None:
    where, _, message = str(problem).rpartition(problem.message)
    shown = click.style(one_line(where), bold=True) + one_line(problem.message + message)
    click.echo(AT.join((shown, *map(one_line, problem.frames))), err=True)


def refuse(problems: Sequence[ConfigProblem], say: Say = print_problem) -> NoReturn:
    """Say what is wrong with the input and exit with 2."""
    for problem in problems:
        say(problem)
    raise SystemExit(EXIT_BAD_INPUT)


@contextlib.contextmanager
def fail_on_errors(say: Say = print_problem) -> Iterator[None]:
    """Turn Blitz's errors into sentences and exit codes; anything else is a bug and keeps its traceback."""
    try:
        yield
    except ConfigError as error:
        refuse(error.problems, say)
    except PluginLoadError as error:
        refuse([ConfigProblem(error.message, frames=error.frames)], say)
    except BlitzError as error:
        say(ConfigProblem(str(error)))
        raise SystemExit(EXIT_FAILED) from None
    except BaseExceptionGroup as group:
        inner = only_error(group)
        if inner is None:
            raise
        with fail_on_errors(say):
            raise inner from None


def print_json(value: Any) -> None:
    """In ASCII: what others have written in it does nothing to a terminal."""
    click.echo(json.dumps(value, indent=2))
