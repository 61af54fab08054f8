"""``${NAME}`` and ``${NAME:-default}`` in the strings of a file.

As in a shell, ``:-`` also replaces an empty variable. ``$${`` is a literal ``${``. Keys are never
expanded, and neither is what a variable contained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from blitz.config.positions import Path
from blitz.config.source import Bad, Document, Expanded

__all__ = ["expand_document", "expand_text"]

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_BODY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL | re.ASCII)


def expand_document(document: Document, environ: Mapping[str, str]) -> None:
    """Replace the references in every string value of *document*; report the ones that fail."""

    said: set[str] = set()

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            made = document.expanded[path] = Expanded(expand_text(value, environ), source=value)
            return made
        except ValueError as error:
            if str(error) not in said:  # one variable that is not set is one mistake, wherever it is named
                document.report(path, str(error))
            said.add(str(error))
            return Bad(value)

    document.data = walk(document.data, ())


def expand_text(text: str, environ: Mapping[str, str]) -> str:
    """Return *text* with its references replaced.

    Raises:
        ValueError: one sentence: a variable without default is not set, or a reference is malformed.
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if not match[2]:
            raise ValueError("`${` is never closed; write `${NAME}`, or `$${` for the two characters")
        body = _BODY.fullmatch(match[1])
        if body is None:
            raise ValueError(f"`{match[0]}` is not understood; write `${{NAME}}` or `${{NAME:-default}}`")
        name, default = body[1], body[2]
        value = environ.get(name)
        if value is None and default is None:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or write `${{{name}:-default}}`"
            )
        return value if value or default is None else default  # type: ignore[return-value]

    return _REFERENCE.sub(replace, text)
