"""Files + environment + overrides -> Config, or every problem at once.

Precedence: ``--set`` over the environment over the file over the defaults of ``model.py``. The steps:
read, include, expand ``${NAME}``, lay the environment and the overrides on top, check the shape, check the
meaning, look at the plugins. A later step runs over what an earlier one found wrong, so that one run
reports everything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blitz.config.check import build, closest
from blitz.config.document import read_document
from blitz.config.environment import apply_environment
from blitz.config.expand import expand_document
from blitz.config.include import include_files
from blitz.config.model import Config
from blitz.config.overrides import apply_overrides
from blitz.config.resolve import resolve_document
from blitz.config.resolved import Resolved
from blitz.config.rules import check_rules
from blitz.config.source import Document
from blitz.errors import ConfigError, ConfigProblem

__all__ = ["Loaded", "load_config", "read_config"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that has been read, right or wrong.

    Attributes:
        config, resolved: meaningful only while there are no problems.
        document: where each key stands, for problems that are found later.
        problems: in the order of their lines.
    """

    config: Config
    resolved: Resolved
    document: Document
    problems: list[ConfigProblem]


def load_config(
    path: str | Path | None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """Read a configuration.

    Args:
        path: of a TOML file, or of a YAML file (``.yaml``, ``.yml``); None: only environment and overrides.
        environ: the process's own when None.
        overrides: ``dotted.key=value``, as ``--set`` takes them.
    Raises:
        ConfigError: with every problem: file, line, key, what was seen, what was expected.
    """
    loaded = read_config(path, environ, overrides)
    if loaded.problems:
        raise ConfigError(loaded.problems)
    return loaded.config


def read_config(
    path: str | Path | None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    *,
    flags: Sequence[tuple[str, str]] = (),
    start: Document | None = None,
) -> Loaded:
    """Read a configuration and say everything that is wrong with it, without raising.

    Args:
        flags: (name of a command-line flag, ``dotted.key=value``), for flags other than ``--set``.
        start: stands in for the file where a command makes one up.
    """
    environ = os.environ if environ is None else environ
    document = start if start is not None else Document()
    if path is not None:
        document = read_document(str(path))
    unreadable = bool(document.problems)
    include_files(document)
    expand_document(document, environ)
    apply_environment(document, environ)
    apply_overrides(document, overrides, flags)
    config = build(Config, document)
    if not unreadable:
        check_rules(config, document)
        misspelt = any(key != "routes" and closest(key, ["routes"]) for key in document.data)
        if not config.routes and not document.data.get("routes") and not misspelt:
            document.report(
                ("routes",),
                'there is no [[routes]]; write at least one, such as upstream = "http://127.0.0.1:9000"',
            )
    resolved = resolve_document(config, document, environ)
    return Loaded(config, resolved, document, _sorted(document))


def _sorted(document: Document) -> list[ConfigProblem]:
    """By line and key, the configuration file first."""

    def place(problem: ConfigProblem) -> tuple[bool, str, int, str]:
        return (problem.file != document.file, problem.file, problem.line, problem.key)

    return sorted(document.problems, key=place)
