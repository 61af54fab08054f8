"""From an offset in a module's code to the function, file and line that it was written in.

A table is made of a module's DWARF when it is compiled (``blitz.wasm.symbolize``) and lies beside the
compiled module. Looking a frame up is two binary searches; the table is a few arrays of 32-bit numbers:

    rows     offset of code, file, line, column: where the code from this offset on comes from
    spans    offset of code, scope: the innermost scope from this offset on
    scopes   name, and for one that was inlined file, line and column of the call, and the scope around it
    strings  where each ends in the text that follows

Files, names and what they say are a stranger's: they are made printable when they are read.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, repeat
from typing import Any

from blitz.text import one_line

__all__ = ["MAX_TABLE", "NOWHERE", "Scope", "Symbols", "Table", "spell_frames"]

MAGIC = b"blitzsy1"
# Magic; where offsets count from in the module; numbers of rows, spans, scopes, strings; bytes of text.
HEAD = struct.Struct("=8s6I")
WORD = 4
MAX_TABLE = 16 * 1024 * 1024  # bytes: some 600,000 rows, as a module of 20 MB has
MAX_TEXT = 240  # bytes of one name or file
MAX_SHOWN = 200  # letters of one in a frame
MAX_INLINED = 16  # calls that one frame stands for
MAX_FRAMES = 32  # of one fault
MAX_SAME = 3  # frames in a row
KEPT = 256  # frames that are remembered

NOWHERE = 0  # the number of the empty string; and of no scope, which are counted from 1


@dataclass(frozen=True, slots=True)
class Scope:
    """A function (*parent* 0), or one that was inlined into the scope *parent*, called from where it says."""

    name: int
    file: int = NOWHERE
    line: int = 0
    column: int = 0
    parent: int = 0


@dataclass(slots=True)
class Table:
    """What becomes a table.

    Attributes:
        base: added to the offsets, which DWARF counts from the content of the code section.
        rows: (offset, file, line, column), by offset. spans: (offset, scope), by offset.
        scopes: the first is number 1.
    """

    base: int
    rows: Sequence[tuple[int, int, int, int]] = ()
    spans: Sequence[tuple[int, int]] = ()
    scopes: list[Scope] = field(default_factory=list)
    _strings: dict[bytes, int] = field(default_factory=lambda: {b"": NOWHERE})

    def string(self, text: bytes) -> int:
        """The number of *text*, cut."""
        return self._strings.setdefault(text[:MAX_TEXT], len(self._strings))

    def pack(self) -> bytes:
        """The table's bytes, for this kind of machine."""
        ends, end = array("I"), 0
        for text in self._strings:
            end += len(text)
            ends.append(end)
        scopes = [(one.name, one.file, one.line, one.column, one.parent) for one in self.scopes]
        columns = [*_columns(self.rows, 4), *_columns(self.spans, 2), *_columns(scopes, 5), ends]
        counts = (len(self.rows), len(self.spans), len(scopes), len(ends), end)
        head = HEAD.pack(MAGIC, self.base, *counts)
        return b"".join([head, *(column.tobytes() for column in columns), *self._strings])


def _columns(rows: Sequence[Sequence[int]], width: int) -> list[array[int]]:
    return [array("I", (min(row[at], 0xFFFFFFFF) for row in rows)) for at in range(width)]


class Symbols:
    """A table, as it is looked up in."""

    def __init__(self, data: Any) -> None:
        """*data*: what ``Table.pack`` made, as bytes or mapped.

        Raises:
            ValueError: it is something else.
        """
        view = memoryview(data)
        if len(view) < HEAD.size:
            raise ValueError("the table has no head")
        magic, self._base, rows, spans, scopes, strings, text = HEAD.unpack_from(view)
        words = 4 * rows + 2 * spans + 5 * scopes + strings
        if magic != MAGIC or len(view) != HEAD.size + words * WORD + text or not strings:
            raise ValueError("the table is not what its head says")
        numbers = view[HEAD.size : HEAD.size + words * WORD].cast("I")
        self._text = view[HEAD.size + words * WORD :]
        at = 0

        def column(count: int) -> memoryview:
            nonlocal at
            at += count
            return numbers[at - count : at]

        self._rows = [column(rows) for _ in range(4)]
        self._spans = [column(spans) for _ in range(2)]
        self._scopes = [column(scopes) for _ in range(5)]
        self._ends = column(strings)
        self.frames = lru_cache(KEPT)(self._frames)
        self._string = lru_cache(KEPT)(self._read_string)

    def _frames(self, name: str, offset: int) -> tuple[str, ...]:
        """What the frame of function *name*, at *offset* in the module as it was compiled, stands for.

        Returns:
            ``function  file:line:column``, innermost first: the functions that were inlined there, and the
            function itself.
        """
        try:
            return self._look_up(name, offset - self._base)
        except IndexError:  # the table points outside of itself
            return (name,)

    def _look_up(self, name: str, at: int) -> tuple[str, ...]:
        offsets, *place = self._rows
        row = bisect_right(offsets, at) - 1
        where = self._place(*(column[row] for column in place)) if row >= 0 else ""
        offsets, of_span = self._spans
        span = bisect_right(offsets, at) - 1
        scope = of_span[span] if span >= 0 else 0
        names, files, lines, columns, parents = self._scopes
        found: list[str] = []
        while scope and parents[scope - 1] and len(found) < MAX_INLINED:
            scope -= 1
            found.append(f"{self._string(names[scope]) or '<inlined function>'}{where}")
            where = self._place(files[scope], lines[scope], columns[scope])
            scope = parents[scope]
        said = self._string(names[scope - 1]) if scope and not parents[scope - 1] else ""
        return (*found, f"{said or name}{where}")

    def _place(self, file: int, line: int, column: int) -> str:
        if file == NOWHERE:
            return ""
        return f"  {self._string(file)}{f':{line}' if line else ''}{f':{column}' if line and column else ''}"

    def _read_string(self, number: int) -> str:
        begin = self._ends[number - 1] if number else 0
        text = bytes(self._text[begin : self._ends[number]]).decode("utf-8", "replace")
        return one_line(text)[:MAX_SHOWN]


def spell_frames(raw: str, symbols: Symbols | None) -> tuple[str, ...]:
    """The frames of ``blitz_fault``, innermost first, as ``PluginError`` has them."""
    frames: list[str] = []
    for line in raw.rstrip("\n").split("\n") if raw else ():
        name, is_frame, offset = line.partition("\t")
        frames += (name,) if symbols is None or not is_frame else symbols.frames(name, int(offset))
    frames = list(_without_repeats(frames))
    if len(frames) <= MAX_FRAMES:
        return tuple(frames)
    return (*frames[:MAX_FRAMES], f"... {len(frames) - MAX_FRAMES} more")


def _without_repeats(frames: list[str]) -> Iterator[str]:
    """A recursion's frames all look the same: how many, between the first and the last."""
    for frame, same in groupby(frames):
        count = len(list(same))
        if count <= MAX_SAME:
            yield from repeat(frame, count)
        else:
            yield from (frame, f"... {count - 2} more of the same", frame)
