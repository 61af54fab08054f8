"""``include = ["routes.d/*.toml"]``: one configuration in several files.

Tables of the same name become one, lists go one behind the other in the order of the files' names, and a key
that two files set is refused: which one counts would depend on a name. An included file includes nothing.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path as FilesystemPath
from typing import Any

from blitz.config.document import read_document
from blitz.config.positions import Path, path_text
from blitz.config.source import Document

__all__ = ["include_directories", "include_files"]

MAX_FILES = 1000
KEY = "include"


def include_files(document: Document) -> None:
    """Read the files that *document* includes into it; report those that cannot be read, or do not fit."""
    wanted = document.data.get(KEY)
    if not isinstance(wanted, list):
        return  # what is no list is reported with the other keys
    base = FilesystemPath(document.file).parent
    seen: set[str] = set()
    for index, pattern in enumerate(wanted):
        if not isinstance(pattern, str) or not pattern:
            continue
        for file in _files(document, (KEY, index), pattern, base):
            if os.path.realpath(file) in seen:
                continue  # two patterns may match it
            seen.add(os.path.realpath(file))
            _include(document, read_document(file))


def include_directories(document: Document) -> tuple[str, ...]:
    """Where files may come that a pattern of *document* matches."""
    wanted = document.data.get(KEY)
    patterns = [one for one in wanted if isinstance(one, str)] if isinstance(wanted, list) else []
    base = FilesystemPath(document.file).parent
    return tuple(
        sorted({str((base / one).parent) for one in patterns if glob.has_magic(os.path.basename(one))})
    )


def _files(document: Document, path: Path, pattern: str, base: FilesystemPath) -> Iterator[str]:
    """Files whose names *pattern*, the element at *path*, matches, in the order of their names."""
    whole = str(base / pattern)
    if "\0" in pattern or "**" in pattern:
        document.report(path, "may have no `**` and no NUL; name the directory, such as `routes.d/*.toml`")
        return
    if not glob.has_magic(pattern):
        yield whole
        return
    found = sorted(
        file for file in glob.iglob(whole) if os.path.normpath(file) != os.path.normpath(document.file)
    )
    if len(found) > MAX_FILES:
        document.report(
            path, f"matches {len(found)} files, limit {MAX_FILES}; put routes together into files"
        )
    yield from found[:MAX_FILES]


def _include(document: Document, part: Document) -> None:
    document.sources += part.sources
    document.problems += part.problems
    if part.problems:
        return
    if KEY in part.data:
        part.report((KEY,), "stands in an included file; only the main one includes")
        document.problems += part.problems
        return
    offsets: dict[Path, int] = {}
    refused: list[Path] = []
    _merge(document, document.data, part, part.data, (), offsets, refused)
    for path, line in part.lines.items():
        if any(path[: len(one)] == one for one in refused):
            continue
        place = _moved(path, offsets)
        if place not in document.lines:
            document.lines[place] = line
            document.files[place] = part.file
    document.problems += part.problems


def _merge(
    document: Document,
    into: dict[str, Any],
    part: Document,
    table: dict[str, Any],
    path: Path,
    offsets: dict[Path, int],
    refused: list[Path],
) -> None:
    """Put *table*, which stands at *path* of *part*, into *into*.

    *offsets* gets what is added to the positions of each list that goes behind another one, and *refused* the
    paths of keys that are there already.
    """
    for key, value in table.items():
        here = (*path, key)
        there = into.get(key)
        if key not in into:
            into[key] = value
        elif isinstance(there, dict) and isinstance(value, dict):
            _merge(document, there, part, value, here, offsets, refused)
        elif isinstance(there, list) and isinstance(value, list):
            offsets[here] = len(there)
            there.extend(value)
        else:
            file, line = document.where(here)
            refused.append(here)
            part.report(here, f"{path_text(here)} is set in {file}:{line} too; keep one of them")


def _moved(path: Path, offsets: dict[Path, int]) -> Path:
    """Where what stood at *path* stands after its list went behind another one."""
    for end in range(len(path) - 1, 0, -1):
        offset = offsets.get(path[:end])
        if offset is not None:
            step = path[end]
            assert isinstance(step, int)
            return (*path[:end], step + offset, *path[end + 1 :])
    return path
