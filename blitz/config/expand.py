"""``${NAME}``, ``${NAME:-default}``, ``${file:PATH}`` and ``${credential:NAME}`` in the strings of a file.

As in a shell, ``:-`` also replaces an empty variable. Where ``NAME`` is not set and ``NAME_FILE`` is, the
value is what stands in that file, as images of databases have it. ``$${`` is a literal ``${``. Keys are never
expanded, and neither is what a variable or a file contained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilesystemPath
from typing import Any

from blitz.config.positions import Path
from blitz.config.secret_files import SecretFiles
from blitz.config.source import Bad, Document, Expanded

__all__ = ["expand_document", "expand_text"]

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
            made = document.expanded[path] = Expanded(expand_text(value, environ, secrets), source=value)
            return made
        except ValueError as error:
            if str(error) not in said:  # one variable that is not set is one mistake, wherever it is named
                document.report(path, str(error))
            said.add(str(error))
            return Bad(value)

    document.data = walk(document.data, ())
    document.sources += [file for secrets in files.values() for file in secrets.read]


def expand_text(text: str, environ: Mapping[str, str], files: SecretFiles | None = None) -> str:
    """Return *text* with its references replaced.

    Args:
        files: reads those that are named; None: relative paths count from the working directory.
    Raises:
        ValueError: one sentence: a variable without default is not set, a file cannot be read, or a
            reference is malformed.
    """
    reader = SecretFiles(FilesystemPath(), environ) if files is None else files

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if not match[2]:
            raise ValueError("`${` is never closed; write `${NAME}`, or `$${` for the two characters")
        from_file = _FROM_FILE.fullmatch(match[1])
        if from_file is not None:
            return reader.file(from_file[2]) if from_file[1] == "file" else reader.credential(from_file[2])
        body = _BODY.fullmatch(match[1])
        if body is None:
            raise ValueError(
                f"`{match[0]}` is not understood; write `${{NAME}}`, `${{NAME:-default}}`, "
                "`${file:PATH}` or `${credential:NAME}`"
            )
        return _variable(body[1], body[2], environ, reader)

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
