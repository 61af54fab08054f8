"""One layout for TOML files: ``blitz fmt``. Comments, the order of keys and every value stay as they are.

tomlkit reads and writes the file; here only the white space between its parts is changed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from blitz.extras import how_to_install

__all__ = ["LayoutRefused", "lay_out"]

BLOCKS = ('"""', "'''")
_TOKEN = re.compile(
    r'''#[^\n]*|"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|"(?:[^"\\\n]|\\.)*"'''
    r"""|'{3}(?:[^']|'{1,2}(?!'))*'{3,5}|'[^'\n]*'""",
    re.DOTALL,
)
_PLACE = re.compile("\0([0-9]+)\0")
_PAIR = re.compile(r"^([A-Za-z0-9_.-]+)[ \t]+= ")
_BLANKS = re.compile(r"\n{3,}")


class LayoutRefused(Exception):
    """The text cannot be laid out; the argument is a sentence about it."""


def lay_out(text: str) -> str:
    """*text*, a TOML document, with one space around ``=``, no indentation, no white space at the ends of
    lines, one empty line before each table, and one line break at its end.

    Raises:
        LayoutRefused: it is not TOML, or tomlkit is not there.
    """
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
        from tomlkit.items import AoT, Table, Whitespace
    except ModuleNotFoundError:
        raise LayoutRefused(f"needs the package tomlkit: {how_to_install('tomlkit')}") from None
    try:
        before = tomllib.loads(text)
        document = tomlkit.parse(text.replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, TOMLKitError, RecursionError) as error:
        raise LayoutRefused(f"is not TOML ({error}); blitz validate says more") from None

    def tidy(body: Sequence[tuple[Any, Any]]) -> None:
        for key, item in body:
            if isinstance(item, Whitespace):
                continue
            item.trivia.indent = ""
            item.trivia.comment_ws = "  " if item.trivia.comment and key is not None else ""
            if key is not None and hasattr(key, "sep") and not isinstance(item, Table | AoT):
                key.sep = "= " if key.as_string().endswith(" ") else " = "  # it keeps what is behind it
            if isinstance(item, Table):
                tidy(item.value.body)
            elif isinstance(item, AoT):
                for table in item.body:
                    table.trivia.indent = ""
                    table.trivia.comment_ws = "  " if table.trivia.comment else ""
                    tidy(table.value.body)

    tidy(document.body)
    made = _spaced(tomlkit.dumps(document))
    if tomllib.loads(made) != before:  # never change what a file says
        raise LayoutRefused("cannot be laid out without changing what it says; it was left as it is")
    return made


def _spaced(text: str) -> str:
    """One empty line before each table and none at the ends, one space before each ``=``."""
    blocks: list[str] = []

    def put_by(token: re.Match[str]) -> str:
        """Strings of several lines are nobody's business here."""
        if not token[0].startswith(BLOCKS):
            return token[0]
        blocks.append(token[0])
        return f"\0{len(blocks) - 1}\0"

    lines: list[str] = []
    for line in _TOKEN.sub(put_by, text).split("\n"):
        line = _PAIR.sub(r"\1 = ", line.rstrip())
        if line.startswith("[") and lines and lines[-1] and not lines[-1].startswith("#"):
            lines.append("")
        lines.append(line)
    tidy = _BLANKS.sub("\n\n", "\n".join(lines)).strip("\n") + "\n"
    return _PLACE.sub(lambda place: blocks[int(place[1])], tidy)
