"""``${NAME}``, ``${NAME:-default}``, ``${file:PATH}`` and ``${credential:NAME}`` in the strings of a file.

As in a shell, ``:-`` also replaces an empty variable. Where ``NAME`` is not set and ``NAME_FILE`` is, the
value is what stands in that file, as images of databases have it. ``$${`` is a literal ``${``. Keys are never
expanded, and neither is what a variable or a file contained. In routes, names of
facts of a request (``value_text.py``) are left for them, with ``$${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilesystemPath
from typing import Any

from blitz.config.positions import Path
from blitz.config.secret_files import SecretFiles
from blitz.config.source import Bad, Document, Expanded
from blitz.config.value_text import is_fact

__all__ = ["expand_document", "expand_text"]

# Of a route: their texts may name facts of a request.
HOLD_FACTS = [("redirect",), ("rewrite",), ("request_headers",), ("response_headers",)]
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_BODY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL | re.ASCII)
_FROM_FILE = re.compile(r"(file|credential):(.*)", re.DOTALL)


def expand_document(document: Document, environ: Mapping[str, str]) -> None:
    """Replace the references in every string value of *document*; report the ones that fail."""

    said: set[str] = set()
    files: dict[FilesystemPath, SecretFiles] = {}

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        base = document.base_of(path)
        secrets = files.setdefault(base, SecretFiles(base, environ))
        try:
            facts = path[:1] == ("routes",) and path[2:3] in HOLD_FACTS
            expanded = expand_text(value, environ, secrets, facts=facts)
            made = document.expanded[path] = Expanded(expanded, source=value)
            return made
        except ValueError as error:
            if str(error) not in said:  # one variable that is not set is one mistake, wherever it is named
                document.report(path, str(error))
            said.add(str(error))
            return Bad(value)

    document.data = walk(document.data, ())
    document.sources += [file for secrets in files.values() for file in secrets.read]


def expand_text(
    text: str, environ: Mapping[str, str], files: SecretFiles | None = None, *, facts: bool = False
) -> str:
    """Return *text* with its references replaced.

    Args:
        files: reads those that are named; None: relative paths count from the working directory.
        facts: leave those to facts of a request as they are, and what only looks like one escaped.
    Raises:
        ValueError: one sentence: a variable without default is not set, a file cannot be read, or a
            reference is malformed.
    """
    reader = SecretFiles(FilesystemPath(), environ) if files is None else files

    def kept(value: str) -> str:
        return value.replace("${", "$${") if facts else value

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "$${" if facts else "${"
        if not match[2]:
            raise ValueError("`${` is never closed; write `${NAME}`, or `$${` for the two characters")
        if facts and (is_fact(match[1]) or "." in match[1].partition(":")[0]):
            return match[0]  # what is no fact either is said where the text is read
        from_file = _FROM_FILE.fullmatch(match[1])
        if from_file is not None:
            read = reader.file if from_file[1] == "file" else reader.credential
            return kept(read(from_file[2]))
        body = _BODY.fullmatch(match[1])
        if body is None:
            raise ValueError(
                f"`{match[0]}` is not understood; write `${{NAME}}`, `${{NAME:-default}}`, "
                "`${file:PATH}` or `${credential:NAME}`"
            )
        return kept(_variable(body[1], body[2], environ, reader))

    return _REFERENCE.sub(replace, text)


def _variable(name: str, default: str | None, environ: Mapping[str, str], files: SecretFiles) -> str:
    """Raises ValueError with one sentence."""
    value, file = environ.get(name), environ.get(f"{name}_FILE")
    if not value and file:
        return files.file(file)
    if value and file:
        raise ValueError(f"both {name} and {name}_FILE are set; set one of them")
    if value is None and default is None:
        raise ValueError(
            f"the environment variable {name} is not set; set it, or write `${{{name}:-default}}`"
        )
    return value if value or default is None else default  # type: ignore[return-value]
