"""A module's DWARF read into a table of symbols, as far as time and memory go.

For the process that a hostile module may hang or balloon (``blitz.wasm.symbolize``) only: nothing here is
safe elsewhere. What cannot be read is left out; what was read before stays.

DWARF 5 (and 2 to 4), read by pyelftools; "DWARF for WebAssembly" says what addresses are: offsets in the
content of the code section. Code that the linker dropped has an address outside of it, or 0.
"""

from __future__ import annotations

import inspect
import io
import time
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any

from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo
from elftools.dwarf.ranges import BaseAddressEntry

from blitz.wasm.sections import code_start, debug_sections, lean, sections
from blitz.wasm.symbols import MAX_TABLE, MAX_TEXT, NOWHERE, Scope, Table

__all__ = ["read_symbols"]

MAX_ROWS = MAX_TABLE // 32  # half of the table
MAX_SPANS = MAX_TABLE // 64
MAX_HOPS = 8  # from an entry to the one that has its name
NAMED = frozenset({"DW_TAG_namespace", "DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type"})
LOCAL = ("DW_FORM_ref1", "DW_FORM_ref2", "DW_FORM_ref4", "DW_FORM_ref8", "DW_FORM_ref", "DW_FORM_ref_udata")


class _Enough(Exception):
    """The time is over, or the table is full."""


def read_symbols(wasm: bytes, max_cpu: float) -> tuple[Table, str]:
    """The table of *wasm*, and why it is not complete, or "".

    Args:
        max_cpu: seconds of CPU time after which no further unit or entry is read.
    """
    reader = _Reader(wasm, time.process_time() + max_cpu)
    reasons = [_attempt(reader.read_lines), _attempt(reader.read_scopes)]
    return reader.table(), next((reason for reason in reasons if reason), "")


def _attempt(read: Callable[[], None]) -> str:
    try:
        read()
    except Exception as error:  # pyelftools raises whatever it trips over
        if isinstance(error, MemoryError):
            return "reading its debug information takes too much memory"
        return str(error) if isinstance(error, _Enough) else "its debug information is malformed"
    return ""


class _Reader:
    def __init__(self, wasm: bytes, deadline: float) -> None:
        self._deadline = deadline
        self._given = debug_sections(wasm)
        self._size = max((one.end - one.content for one in sections(wasm) if one.kind == 10), default=0)
        self._table = Table(code_start(lean(wasm)))
        self._rows: list[tuple[int, int, int, int]] = []
        self._spans: list[tuple[int, int, int, int]] = []  # begin, end, depth, scope
        self._origins: list[int] = []  # of the scopes: offset of the entry that may have the name
        self._names: dict[int, bytes] = {}
        self._references: dict[int, int] = {}

    def table(self) -> Table:
        """What was read so far."""
        table = self._table
        self._rows.sort()
        table.rows = self._rows
        for at, scope in enumerate(table.scopes):
            name = table.string(self._name(self._origins[at]))
            table.scopes[at] = Scope(name, scope.file, scope.line, scope.column, scope.parent)
        table.spans = _flatten(self._spans)
        return table

    def _units(self) -> Iterator[tuple[DWARFInfo, Any]]:
        info = _info(self._given)
        for unit in info.iter_CUs():
            self._check()
            yield info, unit

    def _check(self) -> None:
        if time.process_time() > self._deadline:
            raise _Enough("reading its debug information takes too long")
        if len(self._rows) > MAX_ROWS or len(self._spans) > MAX_SPANS or len(self._table.scopes) > MAX_SPANS:
            raise _Enough("it has too much debug information")

    # -- lines

    def read_lines(self) -> None:
        seen: set[int] = set()
        for info, unit in self._units():
            program = info.line_program_for_CU(unit)
            if program is None or program.program_start_offset in seen:
                continue
            seen.add(program.program_start_offset)
            files = _Files(program, unit, self._table)
            sequence: list[tuple[int, int, int, int]] = []
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                if state.end_sequence:
                    self._add_sequence(sequence, state.address)
                    sequence = []
                else:
                    file = files.number(state.file)
                    sequence.append((state.address, file, max(state.line, 0), max(state.column, 0)))
            self._check()

    def _add_sequence(self, rows: list[tuple[int, int, int, int]], end: int) -> None:
        if not rows or not 0 < rows[0][0] < end <= self._size:
            return
        last = (-1, -1, -1)
        for address, *place in rows:
            if last != (last := (place[0], place[1], place[2])) and address < end:
                self._rows.append((address, *last))
        self._rows.append((end, NOWHERE, 0, 0))

    # -- functions, and what was inlined into them

    def read_scopes(self) -> None:
        for info, unit in self._units():
            top = unit.get_top_DIE()
            program = info.line_program_for_CU(unit)
            files = _Files(program, unit, self._table) if program is not None else None
            ranges = _Ranges(info, unit, top, self._size)
            # Per level: the scope around, and the name in front of the names in it.
            levels: list[tuple[int, bytes]] = []
            for entry in unit.iter_DIEs():
                self._check()
                if entry.tag is None:
                    if levels:
                        levels.pop()
                    continue
                scope, prefix = levels[-1] if levels else (0, b"")
                scope, prefix = self._enter(entry, scope, prefix, len(levels), ranges, files)
                if entry.has_children:
                    levels.append((scope, prefix))

    def _enter(
        self, entry: Any, scope: int, prefix: bytes, depth: int, ranges: _Ranges, files: _Files | None
    ) -> tuple[int, bytes]:
        """What is around the children of *entry*."""
        if entry.tag in NAMED:
            return scope, _qualified(prefix, _octets(entry, "DW_AT_name") or b"{anonymous}")
        inlined = entry.tag == "DW_TAG_inlined_subroutine"
        if not inlined and entry.tag != "DW_TAG_subprogram":
            return scope, prefix
        name = _octets(entry, "DW_AT_name")
        if name:
            self._names[entry.offset] = prefix = _qualified(prefix, name)
        reference = _reference(entry)
        if reference is not None:
            self._references[entry.offset] = reference
        if inlined and not scope:
            return 0, prefix
        found = list(ranges.of(entry))
        if not found:
            return scope if inlined else 0, prefix
        made = Scope(NOWHERE)
        if inlined:
            file = files.number(_plain(entry, "DW_AT_call_file")) if files is not None else NOWHERE
            line, column = _plain(entry, "DW_AT_call_line"), _plain(entry, "DW_AT_call_column")
            made = Scope(NOWHERE, file, line, column, scope)
        self._table.scopes.append(made)
        self._origins.append(entry.offset)
        number = len(self._table.scopes)
        self._spans += [(begin, end, depth, number) for begin, end in found]
        return number, prefix

    def _name(self, offset: int) -> bytes:
        for _ in range(MAX_HOPS):
            name = self._names.get(offset)
            if name is not None:
                return name
            if offset not in self._references:
                break
            offset = self._references[offset]
        return b""


def _info(given: dict[str, bytes]) -> DWARFInfo:
    wanted = [name for name in inspect.signature(DWARFInfo).parameters if name.endswith("_sec")]
    found = {
        name: DebugSectionDescriptor(io.BytesIO(content), name, 0, len(content), 0)
        if (content := given.get(f".{name.removesuffix('_sec')}")) is not None
        else None
        for name in wanted
    }
    config = DwarfConfig(little_endian=True, machine_arch="wasm", default_address_size=4)
    return DWARFInfo(config=config, **found)


def _qualified(prefix: bytes, name: bytes) -> bytes:
    return (b"%b::%b" % (prefix, name) if prefix else name)[:MAX_TEXT]


def _octets(entry: Any, name: str) -> bytes:
    value = entry.attributes[name].value if name in entry.attributes else b""
    return value if isinstance(value, bytes) else b""


def _plain(entry: Any, name: str) -> int:
    value = entry.attributes[name].value if name in entry.attributes else 0
    return value if isinstance(value, int) and value >= 0 else 0


def _reference(entry: Any) -> int | None:
    """Offset of the entry that says what this one is an instance of."""
    for name in ("DW_AT_abstract_origin", "DW_AT_specification"):
        said = entry.attributes.get(name)
        if said is not None and isinstance(said.raw_value, int):
            if said.form in LOCAL:
                return int(entry.cu.cu_offset + said.raw_value)
            if said.form == "DW_FORM_ref_addr":
                return int(said.raw_value)
    return None


class _Files:
    """The files of a unit, by the numbers that its lines give them."""

    def __init__(self, program: Any, unit: Any, table: Table) -> None:
        self._new = program["version"] >= 5
        self._header = program.header
        self._home = _octets(unit.get_top_DIE(), "DW_AT_comp_dir")
        self._table = table
        self._known: dict[int, int] = {}

    def number(self, file: int) -> int:
        known = self._known.get(file)
        if known is None:
            known = self._known[file] = self._table.string(self._path(file))
        return known

    def _path(self, file: int) -> bytes:
        try:
            if self._new:
                entry = self._header["file_names"][file]
                folder = self._header["directories"][entry["DW_LNCT_directory_index"]]["DW_LNCT_path"]
                name = entry["DW_LNCT_path"]
            elif file < 1:
                return b""
            else:
                entry = self._header["file_entry"][file - 1]
                name, place = entry["name"], entry["dir_index"]
                folder = self._header["include_directory"][place - 1] if place > 0 else b""
        except (IndexError, KeyError, TypeError):
            return b""
        path: bytes = name
        for before in (folder, self._home):
            if before and not path.startswith(b"/"):
                path = b"%b/%b" % (before.rstrip(b"/"), path)
        # The end of a path says more than its beginning.
        return path if len(path) <= MAX_TEXT else b"..." + path[-(MAX_TEXT - 3) :]


class _Ranges:
    """Where the code of a unit's entries lies."""

    def __init__(self, info: DWARFInfo, unit: Any, top: Any, size: int) -> None:
        self._lists = info.range_lists()
        self._unit = unit
        self._base = _plain(top, "DW_AT_low_pc")
        self._size = size

    def of(self, entry: Any) -> Iterator[tuple[int, int]]:
        """(begin, end) of each range of *entry* that lies in the code."""
        for begin, end in self._said(entry):
            if 0 < begin < end <= self._size:
                yield begin, end

    def _said(self, entry: Any) -> Iterator[tuple[int, int]]:
        said = entry.attributes
        if "DW_AT_ranges" in said and self._lists is not None:
            base = self._base
            for one in self._lists.get_range_list_at_offset(said["DW_AT_ranges"].value, self._unit):
                if isinstance(one, BaseAddressEntry):
                    base = one.base_address
                else:
                    add = 0 if one.is_absolute else base
                    yield one.begin_offset + add, one.end_offset + add
        elif "DW_AT_low_pc" in said and "DW_AT_high_pc" in said:
            low, high = said["DW_AT_low_pc"].value, said["DW_AT_high_pc"].value
            # An address, or a size.
            yield low, high if said["DW_AT_high_pc"].form.startswith("DW_FORM_addr") else low + high


def _flatten(spans: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """(offset, the deepest scope from there on) out of spans that lie in one another in any way."""
    spans.sort()
    open_now: list[tuple[int, int, int]] = []  # minus depth, scope, end
    out: list[tuple[int, int]] = []
    next_span, last = 0, 0
    for point in sorted({edge for begin, end, _, _ in spans for edge in (begin, end)}):
        while next_span < len(spans) and spans[next_span][0] <= point:
            _, end, depth, scope = spans[next_span]
            heappush(open_now, (-depth, scope, end))
            next_span += 1
        while open_now and open_now[0][2] <= point:
            heappop(open_now)
        inner = open_now[0][1] if open_now else 0
        if inner != last:
            out.append((point, inner))
            last = inner
    return out
