"""``--set timeouts.head=5s``: one key of the configuration from the command line.

The key is a dotted path. An element of a list is named by its position (``routes.0.host`` or
``routes[0].host``) or, where elements have names, by its name (``plugins.auth_custom.timeout``); a
name that is not there yet makes a new element. The value is read as the key's type wants; lists and
tables are written as in TOML.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import msgspec

from blitz.config.model import Config
from blitz.config.positions import Path, path_text
from blitz.config.source import Document, Given
from blitz.errors import ConfigProblem

__all__ = ["apply_overrides", "parse_key"]

_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([A-Za-z0-9_-]+)')

# Top-level keys that are lists of tables with names: plugins, routes.
NAMED_LISTS = frozenset(
    field.name
    for field in msgspec.inspect.type_info(Config).fields  # type: ignore[attr-defined]
    if isinstance(field.type, msgspec.inspect.ListType)
    and isinstance(field.type.item_type, msgspec.inspect.StructType)
)


class _Refused(ValueError):
    pass


def apply_overrides(
    document: Document, overrides: Sequence[str], flags: Sequence[tuple[str, str]] = ()
) -> None:
    """Put each ``key=value`` into *document*, later ones over earlier ones; report what is malformed.

    *flags* are those that have a name of their own, such as ``("--workers", "workers=2")``; ``--set`` wins.
    """
    named = [(f"--set {text.partition('=')[0]}", text) for text in overrides]
    for origin, text in [*flags, *named]:
        try:
            key, equals, value = text.partition("=")
            if not equals:
                raise _Refused(f"`{text}` has no `=`; write key=value, such as timeouts.head=5s")
            _put(document, parse_key(key.strip()), Given(value), origin)
        except ValueError as error:
            document.problems.append(ConfigProblem(str(error), file=origin))


def parse_key(text: str) -> list[str]:
    """``routes[0]."x.y".host`` -> its parts. Raises ValueError with one sentence."""
    spelled = re.sub(r"\[(\d+)\]", r".\1", text)
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(spelled, position)
        if match is None:
            raise _Refused(f"`{text}` is not a key; write names joined by dots, such as timeouts.head")
        parts.append(match[2] if match[2] is not None else tomllib.loads(f"k = {match[0]}")["k"])
        position = match.end()
        if position == len(spelled):
            return parts
        if spelled[position] != ".":
            raise _Refused(f"`{text}` is not a key; write names joined by dots, such as timeouts.head")
        position += 1


def _put(document: Document, parts: list[str], value: Given, origin: str) -> None:
    holder: Any = document.data
    path: Path = ()
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if isinstance(holder, list):
            step: str | int = _element(holder, part, path)
            if (*path, step) not in document.lines:  # just made
                document.origins.setdefault((*path, step), origin)
        elif isinstance(holder, dict):
            step = part
            if not last and (part not in holder or _is_text(holder[part])):
                holder[part] = [] if not path and part in NAMED_LISTS else _list_or_table(parts[index + 1])
                document.origins.setdefault((*path, part), origin)
        else:
            raise _Refused(
                f"`{path_text(path)}` holds no keys, so `{path_text((*path, part))}` cannot be set"
            )
        path = (*path, step)
        if last:
            holder[step] = value
            _forget(document, path)
            document.origins[path] = origin
        else:
            holder = holder[step]


def _is_text(value: Any) -> bool:
    """An earlier override or ``config = ""``: a table may take its place."""
    return isinstance(value, Given) or value == ""


def _list_or_table(next_part: str) -> Any:
    return [] if next_part == "0" else {}


def _element(items: list[Any], part: str, path: Path) -> int:
    """Position of the element that *part* names, made if it is the next one or a new name."""
    if part.isdigit():
        index = int(part)
        if index > len(items):
            raise _Refused(f"`{path_text(path)}` has {len(items)} elements, so there is no number {index}")
        if index == len(items):
            items.append({} if path and path[0] in NAMED_LISTS else "")
        return index
    if len(path) != 1 or path[0] not in NAMED_LISTS:
        raise _Refused(f"`{path_text(path)}` is a list; name an element by its position, from 0")
    for index, item in enumerate(items):
        if isinstance(item, dict) and _name_of(item) == part:
            return index
    items.append({"name": part})
    return len(items) - 1


def _name_of(item: dict[str, Any]) -> str:
    """The name of an element; a plugin that has none goes by its file's."""
    return str(item.get("name") or PurePath(str(item.get("file", ""))).stem)


def _forget(document: Document, path: Path) -> None:
    """What stood below *path* is gone; it must not lend its lines to the new value."""
    for known in (document.lines, document.origins, document.expanded):
        for old in [old for old in known if old[: len(path)] == path]:
            del known[old]
