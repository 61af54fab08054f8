"""``${NAME}`` and ``${NAME:-default}`` in the strings of a file.

As in a shell, ``:-`` also replaces an empty variable. ``$${`` is a literal ``${``. Keys are never
expanded, and neither is what a variable contained. In routes, names of facts of a request
(``value_text.py``) are left for them, with ``$${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from blitz.config.positions import Path
from blitz.config.source import Bad, Document, Expanded
from blitz.config.value_text import is_fact

__all__ = ["expand_document", "expand_text"]

# Of a route: their texts may name facts of a request.
HOLD_FACTS = [("redirect",), ("rewrite",), ("request_headers",), ("response_headers",)]
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
            facts = path[:1] == ("routes",) and path[2:3] in HOLD_FACTS
            expanded = expand_text(value, environ, facts=facts)
            made = document.expanded[path] = Expanded(expanded, source=value)
            return made
        except ValueError as error:
            if str(error) not in said:  # one variable that is not set is one mistake, wherever it is named
                document.report(path, str(error))
            said.add(str(error))
            return Bad(value)

    document.data = walk(document.data, ())


def expand_text(text: str, environ: Mapping[str, str], *, facts: bool = False) -> str:
    """Return *text* with its references replaced.

    Args:
        facts: leave those to facts of a request as they are, and what only looks like one escaped.

    Raises:
        ValueError: one sentence: a variable without default is not set, or a reference is malformed.
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "$${" if facts else "${"
        if not match[2]:
            raise ValueError("`${` is never closed; write `${NAME}`, or `$${` for the two characters")
        if facts and (is_fact(match[1]) or "." in match[1].partition(":")[0]):
            return match[0]  # what is no fact either is said where the text is read
        body = _BODY.fullmatch(match[1])
        if body is None:
            raise ValueError(f"`{match[0]}` is not understood; write `${{NAME}}` or `${{NAME:-default}}`")
        name, default = body[1], body[2]
        value = environ.get(name)
        if value is None and default is None:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or write `${{{name}:-default}}`"
            )
        made = value if value or default is None else default
        assert made is not None
        return made.replace("${", "$${") if facts else made

    return _REFERENCE.sub(replace, text)
