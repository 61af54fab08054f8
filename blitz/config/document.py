"""One file -> a :class:`Document`, or a document whose only content is the problem.

TOML; a configuration whose name ends in ``.yaml`` or ``.yml`` is YAML with the same keys (``yaml.py``).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from typing import Any

from blitz.config.positions import OpenString, find_open_string, key_lines
from blitz.config.source import Document
from blitz.config.yaml import YamlRefused, parse_yaml
from blitz.errors import ConfigProblem
from blitz.files import CONFIGURATION, FileRefused, Kind, read_file

__all__ = ["STANDARD_INPUT", "parse_document", "read_document"]

STANDARD_INPUT = "standard input"  # what stands for a file's name in messages

_TYPOGRAPHIC = (
    "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}"
    + ("\N{RIGHT SINGLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}")
)
# Reading a key of n parts takes n * n steps and places in memory, in tomllib and here.
MAX_KEY_PARTS = 64
MAX_DEPTH = 100  # levels of tables and arrays
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*+){{{MAX_KEY_PARTS}}}")

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_document(file: str, kind: Kind = CONFIGURATION) -> Document:
    """Read *file*, once; what is wrong with it is in ``problems``, with its line."""
    try:
        raw = read_file(file, kind)
    except FileRefused as refused:
        return _only(ConfigProblem(str(refused), file=file))
    document = parse_document(raw, file)
    document.sha256 = hashlib.sha256(raw).hexdigest()
    document.sources.append(file)
    return document


def parse_document(raw: bytes, file: str) -> Document:
    """The content of *file*, as ``read_document`` reads it."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _only(ConfigProblem("is not UTF-8; save the file in that encoding", file=file, line=line))
    if file.endswith((".yaml", ".yml")):
        return _read_yaml(text, file)
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        line = text.count("\n", 0, long_key.start()) + 1
        problem = f"has a key of more than {MAX_KEY_PARTS} parts, and no key that means something has as many"
        return _only(ConfigProblem(problem, file=file, line=line))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _only(_syntax_problem(str(error), text, file))
    except RecursionError:
        return _only(_too_deep(file))
    if _is_deeper(data, MAX_DEPTH):
        return _only(_too_deep(file))
    return Document(data=data, file=file, lines=key_lines(text))


def _read_yaml(text: str, file: str) -> Document:
    try:
        data, lines = parse_yaml(text, MAX_DEPTH)
    except YamlRefused as refused:
        return _only(ConfigProblem(str(refused), file=file, line=refused.line))
    return Document(data=data, file=file, lines=lines)


def _too_deep(file: str) -> ConfigProblem:
    return ConfigProblem(f"nests its values too deeply; {MAX_DEPTH} levels are allowed", file=file)


def _is_deeper(data: Any, levels: int) -> bool:
    """*data* has tables and arrays within each other on more levels: too many for those who read it next."""
    inner = [data]
    while inner and levels >= 0:
        levels -= 1
        inner = [
            below
            for one in inner
            for below in (one.values() if isinstance(one, dict) else one)
            if isinstance(below, dict | list)
        ]
    return bool(inner)


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
