"""Where each key of a TOML document stands: key path -> line.

``tomllib`` reads the document and forgets the lines; an error message needs them. This scanner only
walks over a document that ``tomllib`` has accepted and notes where keys begin. It decides nothing:
values are skipped, never interpreted, and on a document that is not TOML its answer means nothing. There,
``find_open_string`` looks for the quote that ``tomllib`` ran past.
Spec: toml.io v1.0.0, which is what tomllib implements.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import NamedTuple

__all__ = ["OpenString", "Path", "find_open_string", "key_lines", "path_text"]

Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\n]|#[^\n]*)*")  # between elements of an array: newlines and comments too
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")  # numbers, booleans, dates
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
# A closing delimiter may be preceded by one or two quotes that belong to the string.
_BASIC_BLOCK = re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)
_LITERAL_BLOCK = re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


_QUOTE_OR_COMMENT = re.compile(r"""#[^\n]*|\"{3}|'{3}|["']""")
_BLOCK_END = {'"""': re.compile(r'\\.|("{3,5})', re.DOTALL), "'''": re.compile(r"('{3,5})")}


class OpenString(NamedTuple):
    """A string without end. line and column, from 1, are those of the quote that opens it."""

    line: int
    column: int
    quote: str


def find_open_string(text: str) -> OpenString | None:
    """The first string of *text*, TOML or not, that does not end where it has to. Linear."""
    at = 0
    while found := _QUOTE_OR_COMMENT.search(text, at):
        at = found.end() if found[0][0] == "#" else _string_end(text, found)
        if at < 0:
            before = text.rfind("\n", 0, found.start()) + 1
            line = text.count("\n", 0, found.start()) + 1
            return OpenString(line, found.start() - before + 1, found[0])
    return None


def _string_end(text: str, opening: re.Match[str]) -> int:
    """Position behind the string that *opening* opens; -1: it does not end."""
    if len(opening[0]) == 1:
        whole = (_BASIC if opening[0] == '"' else _LITERAL).match(text, opening.start())
        return -1 if whole is None else whole.end()
    for piece in _BLOCK_END[opening[0]].finditer(text, opening.end()):
        if piece[1]:
            return piece.end()
    return -1


def key_lines(text: str) -> dict[Path, int]:
    """Return the 1-based line of every key, table and array element in *text*.

    A table that several lines made (dotted keys, sub-tables) stands where it first appears. *text*
    must be a document that ``tomllib.loads`` accepts.
    """
    return _Scanner(text.replace("\r\n", "\n")).document()


def path_text(path: Path) -> str:
    """``("routes", 0, "upstream")`` as ``routes[0].upstream``."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            name = part if _PLAIN_KEY.fullmatch(part) else '"' + part.replace('"', '\\"') + '"'
            out += f".{name}" if out else name
    return out


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.lines: dict[Path, int] = {}
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.lengths: dict[Path, int] = {}  # arrays of tables: elements so far

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self.skip(_FILLER)
            if self.pos >= len(self.text):
                return self.lines
            table = self.header() if self.text[self.pos] == "[" else self.pair(table, table)

    def header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]`` -> the path of the table it opens."""
        start = self.pos
        many = self.text.startswith("[[", start)
        self.pos += 2 if many else 1
        names = self.key()
        self.pos += 2 if many else 1
        path: Path = ()
        for index, name in enumerate(names):
            path = (*path, name)
            self.note(path, start)
            if many and index == len(names) - 1:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            if path in self.lengths:  # a name of an array of tables means its last element
                path = (*path, self.lengths[path] - 1)
                self.note(path, start)
        return path

    def pair(self, table: Path, result: Path) -> Path:
        """``key = value`` inside *table*."""
        start = self.pos
        path = table
        for name in self.key():
            path = (*path, name)
            self.note(path, start)
        self.pos += 1  # the equals sign, where key() stopped
        self.skip(_BLANK)
        self.value(path)
        return result

    def key(self) -> list[str]:
        """Read ``a."b c".d``; stop at what follows it."""
        names = []
        while True:
            self.skip(_BLANK)
            if self.text[self.pos] in "\"'":
                raw = self.skip(_BASIC if self.text[self.pos] == '"' else _LITERAL)
                names.append(next(iter(tomllib.loads(f"{raw} = 0"))))
            else:
                names.append(self.skip(_BARE_KEY))
            self.skip(_BLANK)
            if self.text[self.pos] != ".":
                return names
            self.pos += 1

    def value(self, path: Path) -> None:
        rest = self.text[self.pos : self.pos + 3]
        if rest.startswith("["):
            self.array(path)
        elif rest.startswith("{"):
            self.inline_table(path)
        elif rest == '"""':
            self.skip(_BASIC_BLOCK)
        elif rest == "'''":
            self.skip(_LITERAL_BLOCK)
        elif rest.startswith('"'):
            self.skip(_BASIC)
        elif rest.startswith("'"):
            self.skip(_LITERAL)
        else:
            self.skip(_BARE_VALUE)

    def array(self, path: Path) -> None:
        self.pos += 1
        index = 0
        while True:
            self.skip(_FILLER)
            if self.text[self.pos] == "]":
                break
            if self.text[self.pos] == ",":
                self.pos += 1
                continue
            self.note((*path, index), self.pos)
            self.value((*path, index))
            index += 1
        self.pos += 1

    def inline_table(self, path: Path) -> None:
        self.pos += 1
        while True:
            self.skip(_FILLER)
            if self.text[self.pos] == "}":
                break
            if self.text[self.pos] == ",":
                self.pos += 1
                continue
            self.pair(path, path)
        self.pos += 1

    def note(self, path: Path, position: int) -> None:
        self.lines.setdefault(path, bisect_right(self.starts, position))

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Go past what *pattern* matches here and return it."""
        match = pattern.match(self.text, self.pos)
        assert match is not None, "not a TOML document"
        self.pos = match.end()
        return match[0]
