"""One TOML file -> a :class:`Document`, or a document whose only content is the problem."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from blitz.config.positions import OpenString, find_open_string, key_lines
from blitz.config.source import Document
from blitz.errors import ConfigProblem

__all__ = ["MAX_FILE_SIZE", "read_document", "unreadable"]

MAX_FILE_SIZE = 16 * 1024 * 1024  # a configuration; not the disk image that somebody named by mistake

_TYPOGRAPHIC = (
    "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}"
    + ("\N{RIGHT SINGLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}")
)
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
    at_end = not (place and place[1])
    line = text.rstrip("\n").count("\n") + 1 if at_end else int(place[1])  # type: ignore[index]
    what = _PLACE.sub("", message)
    opened = find_open_string(text)
    if opened is not None and (at_end or opened.line == line):
        return ConfigProblem(f"not TOML: {_not_closed(opened)}", file=file, line=opened.line)
    seen = "" if at_end else text.replace("\r\n", "\n").split("\n")[line - 1][int(place[2]) - 1 :][:1]  # type: ignore[index]
    if seen and seen in _TYPOGRAPHIC:
        what = f"{seen} is a typographic quote, and TOML's are \" and '; found"
    column = f" at column {place[2]}" if place and place[2] else ""
    return ConfigProblem(f"not TOML: {what[:1].lower()}{what[1:]}{column}", file=file, line=line)


def _not_closed(opened: OpenString) -> str:
    where = f"the quote {opened.quote} at column {opened.column} is not closed"
    if len(opened.quote) == 1:
        return f"{where} on its line; end the string with {opened.quote}"
    return f"{where}; end the string with {opened.quote}"


def _only(problem: ConfigProblem) -> Document:
    return Document(file=problem.file, problems=[problem])
