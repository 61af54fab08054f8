"""The environment variables that override the file.

The five that the seed document names: ``PLUGIN_DIR``, ``PLUGIN_MEMORY_LIMIT`` (bytes), ``PLUGIN_TIMEOUT``
(milliseconds), ``PLUGIN_LOG`` and ``QUIC_LOG``; and ``PLUGIN_GRANT`` and ``PLUGIN_DENY`` (names joined by
commas). The two limits hold for every plugin, also for those whose ``[[plugins]]`` entry says something else;
the last two do not touch an entry that has its own, which may be so on purpose. An empty variable is one that
is not set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from blitz.config.positions import Path
from blitz.config.source import Document, Given
from blitz.config.units import parse_duration, parse_size
from blitz.errors import ConfigProblem

__all__ = ["VARIABLES", "apply_environment"]


def _level(text: str) -> Given:
    text = text.strip().lower()
    return Given("warn" if text == "warning" else text)


# variable -> (key it overrides, how it is read)
VARIABLES: dict[str, tuple[Path, Callable[[str], Any]]] = {
    "PLUGIN_DIR": (("plugin_dir",), Given),
    "PLUGIN_MEMORY_LIMIT": (("plugin_defaults", "memory"), parse_size),
    "PLUGIN_TIMEOUT": (("plugin_defaults", "timeout"), lambda text: parse_duration(text, bare="ms")),
    "PLUGIN_GRANT": (("plugin_defaults", "grant"), Given),
    "PLUGIN_DENY": (("plugin_defaults", "deny"), Given),
    "PLUGIN_LOG": (("log", "plugins"), _level),
    "QUIC_LOG": (("log", "level"), _level),
}


FOR_EVERY_PLUGIN = frozenset({"PLUGIN_MEMORY_LIMIT", "PLUGIN_TIMEOUT"})  # whatever its entry says


def apply_environment(document: Document, environ: Mapping[str, str]) -> None:
    """Put the variables that are set into *document*; report those that cannot be read."""
    for name, (path, read) in VARIABLES.items():
        text = environ.get(name, "")
        if not text:
            continue
        try:
            value = read(text)
        except ValueError as error:
            document.problems.append(ConfigProblem(str(error), file=name))
            continue
        _put(document, path, value, name)
        if name in FOR_EVERY_PLUGIN:
            document.variables[str(path[1])] = name
            _put_in_plugins(document, str(path[1]), value, name)


def _put(document: Document, path: Path, value: Any, origin: str) -> None:
    table = document.data
    for part in path[:-1]:
        table = table.setdefault(str(part), {})
        if not isinstance(table, dict):  # the file is wrong there, which is reported later
            return
    table[str(path[-1])] = value
    document.origins[path] = origin
    document.expanded.pop(path, None)


def _put_in_plugins(document: Document, key: str, value: Any, origin: str) -> None:
    entries = document.data.get("plugins")
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict) and key in entry:
            entry[key] = value
            document.origins["plugins", index, key] = origin
