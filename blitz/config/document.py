"""One TOML file -> a :class:`Document`, or a document whose only content is the problem."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from blitz.config.positions import key_lines
from blitz.config.source import Document
from blitz.errors import ConfigProblem

__all__ = ["MAX_FILE_SIZE", "read_document", "unreadable"]

MAX_FILE_SIZE = 16 * 1024 * 1024  # a configuration; not the disk image that somebody named by mistake

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_document(file: str) -> Document:
    """Read *file*; what is wrong with it is in ``problems``, with its line."""
    try:
        with Path(file).open("rb") as stream:
            raw = stream.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        return _only(ConfigProblem(unreadable(error), file=file))
    if len(raw) > MAX_FILE_SIZE:
        return _only(ConfigProblem("is larger than 16MiB and surely not a configuration", file=file))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _only(ConfigProblem("is not UTF-8; save the file in that encoding", file=file, line=line))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _only(_syntax_problem(str(error), text, file))
    except RecursionError:
        return _only(ConfigProblem("nests its values too deeply", file=file))
    return Document(data=data, file=file, lines=key_lines(text))


def unreadable(error: OSError) -> str:
    """One sentence for an ``open`` or ``read`` that failed."""
    if isinstance(error, FileNotFoundError):
        return "no such file; check the path"
    if isinstance(error, IsADirectoryError):
        return "is a directory, not a file"
    return f"cannot be read: {(error.strerror or str(error)).lower()}; check the path and its permissions"


def _syntax_problem(message: str, text: str, file: str) -> ConfigProblem:
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.rstrip("\n").count("\n") + 1
    what = _PLACE.sub("", message)
    column = f" at column {place[2]}" if place and place[2] else ""
    return ConfigProblem(f"not TOML: {what[:1].lower()}{what[1:]}{column}", file=file, line=line)


def _only(problem: ConfigProblem) -> Document:
    return Document(file=problem.file, problems=[problem])
