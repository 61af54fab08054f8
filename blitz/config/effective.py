"""What a configuration comes to, key by key, and where each value is from: ``blitz config show``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from blitz.config.load import Loaded
from blitz.config.positions import Path, path_text
from blitz.config.source import Document
from blitz.config.units import format_duration, format_size
from blitz.config.values import unit_of

__all__ = ["Effective", "effective_values"]

HIDDEN = "(hidden)"
DEFAULT = "default"
_SECRET = re.compile(
    r"(?:^|[_-])(?:token|secret|password|passwd|credentials?|keys?)(?:$|[_-])", re.IGNORECASE
)


class Effective(NamedTuple):
    """One key. value: as files write it; origin: ``blitz.toml:3``, a variable, a flag, or ``default``."""

    key: str
    value: str
    origin: str

    @property
    def plain(self) -> Any:
        """The value as JSON has it."""
        return self.value if self.value == HIDDEN else json.loads(self.value)


def effective_values(loaded: Loaded) -> Iterator[Effective]:
    """Every key of a configuration without problems. What may be a secret is not shown."""
    document = loaded.document
    for path, value, unit in _walk(loaded.config, ()):
        yield Effective(path_text(path), _shown(document, path, value, unit), _origin(document, path))


def _walk(value: msgspec.Struct, path: Path) -> Iterator[tuple[Path, Any, str]]:
    described = inspect.type_info(type(value))
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        yield from _values(getattr(value, field.name), (*path, field.encode_name), unit_of(field.type))


def _values(value: Any, path: Path, unit: str) -> Iterator[tuple[Path, Any, str]]:
    if isinstance(value, msgspec.Struct):
        yield from _walk(value, path)
    elif isinstance(value, list) and any(isinstance(item, msgspec.Struct) for item in value):
        for index, item in enumerate(value):
            yield from _values(item, (*path, index), unit)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _values(item, (*path, key), unit)
    elif value is not None:
        yield path, value, unit


def _shown(document: Document, path: Path, value: Any, unit: str) -> str:
    expanded = document.expanded.get(path)
    if expanded is not None:
        return json.dumps(expanded.source, ensure_ascii=False)
    named = str(path[-1]) if isinstance(path[-1], str) else str(path[-2])
    if unit != "path" and value and _SECRET.search(named):
        return HIDDEN
    if unit == "duration":
        return f'"{format_duration(value)}"' if value else "0"
    if unit == "size":
        return f'"{format_size(value)}"' if value else "0"
    if any(inner[: len(path)] == path for inner in document.expanded):  # some element of a list
        return json.dumps(_with_sources(document, path, value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def _with_sources(document: Document, path: Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_with_sources(document, (*path, index), item) for index, item in enumerate(value)]
    expanded = document.expanded.get(path)
    return value if expanded is None else expanded.source


def _origin(document: Document, path: Path) -> str:
    for end in range(len(path), 0, -1):
        if path[:end] in document.origins:
            return document.origins[path[:end]]
        if end == len(path) and path in document.lines:
            break
    if path not in document.lines:
        return DEFAULT
    file, line = document.where(path)
    return f"{file}:{line}"
