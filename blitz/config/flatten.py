"""A plugin's configuration as it gets it: one JSON text, and flat values for lookups of one key.

C guests have no JSON parser; ``get_property("config.limits.burst")`` gives them one value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

__all__ = ["encode", "flatten", "merge"]


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """*over* on top of *under*; tables are merged, everything else is replaced."""
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def encode(config: dict[str, Any]) -> bytes:
    """JSON, keys in their order."""
    return msgspec.json.encode(config)


def flatten(config: dict[str, Any]) -> dict[str, str]:
    """Dotted key -> text.

    A list of plain values is their texts joined by newlines; other lists contribute a key for each
    position. true and false for booleans. Empty tables contribute nothing.

    Raises:
        ValueError: two keys get the same dotted name, or an element of a joined list has a newline.
    """
    flat: dict[str, str] = {}
    for key, text in _walk(config, ""):
        if key in flat:
            raise ValueError(f'two keys have the dotted name "{key}"; rename one')
        flat[key] = text
    return flat


def _walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _walk(item, f"{key}.{name}" if key else str(name))
    elif not isinstance(value, list):
        yield key, _text(value)
    elif any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _walk(item, f"{key}.{index}")
    else:
        texts = [_text(item) for item in value]
        if any("\n" in text for text in texts):
            raise ValueError(f'an element of "{key}" has a line break, which is what separates the elements')
        yield key, "\n".join(texts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
