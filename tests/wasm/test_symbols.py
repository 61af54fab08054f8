"""File and line of a frame: read from a module's debug information when it is compiled, kept beside it, and
looked up when a guest traps. What is missing or damaged costs lines, nothing else."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitz.errors import PluginError
from blitz.wasm import cache as cache_module
from blitz.wasm import compile_process as apart_module
from blitz.wasm.cache import CompileCache
from blitz.wasm.dwarf import read_symbols
from blitz.wasm.engine import Engine
from blitz.wasm.sections import code_start, lean
from blitz.wasm.symbols import MAX_INLINED, NOWHERE, Scope, Symbols, Table, spell_frames
from tests.hostile.modules import Function, custom, debug_bombs, debug_sections, trapping

from .support import exchanging, running

# The hook calls a function that calls one that traps. Where they lie in the code section's content, which is
# a count, then each function as size, number of locals, code.
WASM = trapping([b"_RNvNtC5outer", b"_RNvNtC5inner"])
HOOK, OUTER, INNER = (2, 8), (15, 19), (20, 23)
CALLED = Function(b"deeper", INNER[0], INNER[1])
DEBUG = debug_sections(
    b"/home/user",
    b"src/plugin.c",
    [
        Function(b"handle", *HOOK, lines=[(HOOK[0], 10, 3)]),
        Function(
            b"work",
            *INNER,
            lines=[(INNER[0], 30, 1)],
            inlined=[(Function(b"middle", *INNER, inlined=[(CALLED, (25, 7))]), (21, 5))],
        ),
    ],
)


def test_the_offsets_above_are_those_of_the_code() -> None:
    start = code_start(WASM)
    code = [WASM[start + begin : start + end] for begin, end in (HOOK, OUTER, INNER)]
    assert code == [b"\0\x10\x02\x41\0\x0b", b"\0\x10\x03\x0b", b"\0\0\x0b"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plugin.wasm"
    path.write_bytes(WASM + DEBUG)
    return path


def fault(engine: Engine, file: Path, cache: CompileCache) -> PluginError:
    module, _ = cache.load(engine, str(file))
    with running(engine, module) as guest, exchanging() as exchange:
        return guest.fails(guest.request(exchange))


LINES = (
    "deeper  /home/user/src/plugin.c:30:1",
    "middle  /home/user/src/plugin.c:25:7",
    "work  /home/user/src/plugin.c:21:5",
    "_RNvNtC5outer",  # about which nothing is said
    "handle  /home/user/src/plugin.c:10:3",
)
NAMES = ("_RNvNtC5inner", "_RNvNtC5outer", "<wasm function 0>")


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_frames_have_file_line_and_what_was_inlined(
    engine: Engine, file: Path, tmp_path: Path, *, kept: bool
) -> None:
    for _ in range(2):  # compiled, then from the cache
        cache = CompileCache(tmp_path / "cache" if kept else None)
        assert fault(engine, file, cache).frames == LINES


def test_sections_in_front_of_the_code_move_nothing(engine: Engine, file: Path, tmp_path: Path) -> None:
    start = WASM[:8]
    file.write_bytes(start + DEBUG + custom(b"producers", b"x" * 500) + WASM[8:])
    assert fault(engine, file, CompileCache(tmp_path / "cache")).frames == LINES


def test_a_module_without_debug_information_starts_no_further_process(
    engine: Engine, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(WASM)
    monkeypatch.setattr(cache_module, "symbolize_apart", None)
    assert fault(engine, file, CompileCache(tmp_path / "cache")).frames == NAMES
    assert not list(tmp_path.rglob("*.symbols"))


def test_without_pyelftools_frames_have_names_and_the_log_says_what_to_install(
    engine: Engine,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cache_module, "_warned", set())
    monkeypatch.setattr(cache_module, "can_symbolize", lambda: False)
    with caplog.at_level(logging.INFO, "blitz.wasm"):
        for name in ("one", "two"):
            assert fault(engine, file, CompileCache(tmp_path / name)).frames == NAMES
    (record,) = caplog.records
    assert "pip install pyelftools" in record.getMessage()
    monkeypatch.undo()
    # Once it is there, the module is compiled again, with them.
    assert fault(engine, file, CompileCache(tmp_path / "one")).frames == LINES


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a byte": damage,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 4),
    "empty": lambda path: os.truncate(path, 0),
    "gone": Path.unlink,
    "writable by others": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_table_that_is_not_ours_is_not_read(engine: Engine, file: Path, tmp_path: Path, how: str) -> None:
    assert fault(engine, file, CompileCache(tmp_path / "cache")).frames == LINES
    (table,) = tmp_path.rglob("*.symbols")
    DAMAGE[how](table)
    assert fault(engine, file, CompileCache(tmp_path / "cache")).frames == NAMES


def test_an_entry_without_a_table_still_loads(engine: Engine, file: Path, tmp_path: Path) -> None:
    fault(engine, file, CompileCache(tmp_path / "cache"))
    (about,) = tmp_path.rglob("*.json")
    said = json.loads(about.read_text(encoding="utf-8"))
    del said["symbols"]
    about.write_text(json.dumps(said), encoding="utf-8")
    assert fault(engine, file, CompileCache(tmp_path / "cache")).frames == NAMES


BREAKS = [
    pytest.param("exit 3", "its debug information cannot be read", id="fails"),
    pytest.param("kill -9 $$", "its debug information cannot be read", id="killed"),
    pytest.param("kill -XCPU $$", "takes more than 20 s of CPU time", id="time"),
    pytest.param("echo ready; echo made 5 0; exit 0", "cannot be read", id="lies"),
    pytest.param("head -c 3000000 /dev/zero; echo made 0", "cannot be read", id="noise"),
    pytest.param("exec sleep 60", "takes longer than 1 s", id="hangs"),
]


@pytest.mark.parametrize(("script", "sentence"), BREAKS)
def test_whatever_happens_to_the_process_costs_lines_only(
    engine: Engine,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str,
    sentence: str,
) -> None:
    python = apart_module.sys.executable
    stand_in = tmp_path / "python.sh"
    stand_in.write_text(
        f'#!/bin/sh\ncase "$2" in *symbolize) {script};; *) exec {python} "$@";; esac\n', encoding="utf-8"
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(apart_module.sys, "executable", str(stand_in))
    monkeypatch.setattr(apart_module, "SYMBOLS_TIMEOUT", 1.0)
    with caplog.at_level(logging.WARNING, "blitz.wasm"):
        assert fault(engine, file, CompileCache(tmp_path / "cache")).frames == NAMES
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{file}: no frames of its faults have file and line: ")
    assert sentence in record.getMessage()


def test_what_the_module_says_of_itself_is_made_printable(engine: Engine, file: Path, tmp_path: Path) -> None:
    name, path = "f\n[WASM Plugin] forged\u202e".encode(), "\x1b[2J\u2066a.c".encode()
    function = Function(name, INNER[0], INNER[1], lines=[(INNER[0], 1, 1)])
    file.write_bytes(WASM + debug_sections(b"/", path, [function]))
    frames = fault(engine, file, CompileCache(tmp_path / "cache")).frames
    assert frames[0] == r"f\n[WASM Plugin] forged\u202e  /\x1b[2J\u2066a.c:1:1"


# ---------------------------------------------------------------- hostile debug information


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading debug information may take no time."""
    monkeypatch.setattr(apart_module, "MAX_SYMBOLS_CPU", 1)
    monkeypatch.setattr(apart_module, "MAX_SYMBOLS_DATA", 100 << 20)


LONG = "functions that share ranges"
QUICK = ("long numbers", "entries that lie in one another")
BOMBS = [
    pytest.param(debug, id=what, marks=() if what in QUICK else pytest.mark.slow)
    for what, debug in list(debug_bombs(4))[:8]
    if what != LONG
]


@pytest.mark.parametrize("debug", BOMBS)
@pytest.mark.usefixtures("impatient")
def test_hostile_debug_information_costs_lines_not_the_plugin(
    engine: Engine, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, debug: bytes
) -> None:
    file.write_bytes(trapping([b"f"] * 22, after=debug))
    with caplog.at_level(logging.WARNING, "blitz.wasm"):
        assert fault(engine, file, CompileCache(tmp_path / "cache")).frames
    assert len(caplog.records) <= 1


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_debug_information_that_takes_too_long_is_given_up(
    engine: Engine, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(trapping([b"f"] * 22, after=dict(debug_bombs(5))[LONG]))
    with caplog.at_level(logging.WARNING, "blitz.wasm"):
        for _ in range(2):  # from the cache nothing is read again, and nothing said
            assert fault(engine, file, CompileCache(tmp_path / "cache")).frames
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{file}: ")


# ---------------------------------------------------------------- the table

OFFSETS = st.integers(0, 60)
ROWS = st.lists(st.tuples(OFFSETS, st.integers(0, 3), st.integers(0, 50), st.integers(0, 9)), max_size=20)
SCOPES = st.lists(st.builds(Scope, st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), max_size=6)


def packed(rows: list[tuple[int, int, int, int]], spans: list[tuple[int, int]], scopes: list[Scope]) -> bytes:
    table = Table(7, sorted(rows), sorted(spans), scopes)
    for text in (b"a", b"b", b"c"):
        table.string(text)
    return table.pack()


@given(ROWS, OFFSETS)
def test_a_place_is_that_of_the_last_row_before(rows: list[tuple[int, int, int, int]], at: int) -> None:
    (frame,) = Symbols(packed(rows, [], [])).frames("f", at + 7)
    before = [row for row in sorted(rows) if row[0] <= at]
    if not before or before[-1][1] == NOWHERE:
        assert frame == "f"
    else:
        _, file, line, column = before[-1]
        assert frame.startswith(f"f  {' abc'[file]}")
        assert (f":{line}" in frame) == bool(line) and (frame.count(":") == 2) == bool(line and column)


@given(st.lists(st.tuples(OFFSETS, OFFSETS, st.integers(0, 5)), max_size=12), OFFSETS)
def test_of_spans_in_any_order_the_deepest_counts(spans: list[tuple[int, int, int]], at: int) -> None:
    from blitz.wasm.dwarf import _flatten

    given_spans = [(begin, end, depth, number) for number, (begin, end, depth) in enumerate(spans, 1)]
    given_spans = [one for one in given_spans if one[0] < one[1]]
    flat = _flatten(list(given_spans))
    found = next((scope for point, scope in reversed(flat) if point <= at), 0)
    around = [one for one in given_spans if one[0] <= at < one[1]]
    deepest = max((one[2] for one in around), default=None)
    assert (found == 0) == (not around)
    assert not around or next(one[2] for one in around if one[3] == found) == deepest


@given(st.data())
@settings(max_examples=40)
def test_a_table_that_lies_raises_nothing_later(data: st.DataObject) -> None:
    """Whatever numbers are in it: names and places may be wrong, and frames are few."""
    number = st.integers(0, 6) | st.sampled_from([0xFFFFFFFF, 0x80000000])
    scopes = [Scope(*data.draw(st.tuples(number, number, number, number, number))) for _ in range(4)]
    rows = data.draw(st.lists(st.tuples(number, number, number, number), max_size=5))
    spans = data.draw(st.lists(st.tuples(number, number), max_size=5))
    symbols = Symbols(packed(rows, spans, scopes))
    for at in (0, 7, 8, 10, 13, 2**32, 2**64 - 1):
        assert 1 <= len(symbols.frames("f", at)) <= MAX_INLINED + 1


@given(st.binary(max_size=80) | st.integers(0, 119).map(lambda cut: packed([(1, 1, 1, 1)], [], [])[:cut]))
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Symbols(data[:-1] if data == packed([(1, 1, 1, 1)], [], []) else data)


def test_frames_without_a_table_are_the_engines() -> None:
    assert spell_frames("", None) == ()
    assert spell_frames("f\t12\n<wasm function 3>\t18446744073709551615\n", None) == (
        "f",
        "<wasm function 3>",
    )


def test_the_base_is_where_the_code_begins_in_what_was_compiled() -> None:
    wasm = WASM[:8] + custom(b"x", b"y" * 100) + WASM[8:] + DEBUG
    table, why = read_symbols(wasm, 10.0)
    assert not why and table.base == code_start(lean(wasm)) != code_start(wasm)
