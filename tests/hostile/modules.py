"""Modules made to be expensive when they trap: names, debug information, many functions, deep stacks.

A compiler writes function names into the section ``name`` and where code comes from into sections
``.debug_*`` (DWARF). Both are bytes that a guest chooses and that whoever reports a trap is tempted to read.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Function",
    "debug_bombs",
    "debug_sections",
    "mangled_names",
    "number",
    "section",
    "trapping",
]

PREAMBLE = b"\0asm\x01\0\0\0"
I32 = b"\x7f"
UNREACHABLE = b"\0\0\x0b"


def number(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def sized(content: bytes) -> bytes:
    return number(len(content)) + content


def vector(items: Sequence[bytes]) -> bytes:
    return number(len(items)) + b"".join(items)


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + sized(content)


def custom(name: bytes, content: bytes) -> bytes:
    return section(0, sized(name) + content)


def names_section(names: Iterable[tuple[int, bytes]]) -> bytes:
    functions = vector([number(index) + sized(name) for index, name in names])
    return custom(b"name", b"\x01" + sized(functions))


def body(code: bytes) -> bytes:
    """A function without locals."""
    return sized(b"\0" + code + b"\x0b")


def trapping(
    names: Sequence[bytes] = (),
    *,
    calls: int | None = None,
    last: bytes = b"\0",
    more: int = 0,
    exports: Sequence[bytes] = (),
    after: bytes = b"",
    before: bytes = b"",
) -> bytes:
    """A plugin whose request hook calls through *calls* functions (of the *names*) to one that traps.

    Args:
        last: code of the innermost function, which has its own index as ``number(2 + calls)``.
        more: further functions, which nothing calls.
        exports: further names of the hook.
        before, after: sections, right behind the preamble and at the end.
    """
    depth = max(len(names), 1) - 1 if calls is None else calls
    total = 3 + depth + more
    chain = [body(b"\x10" + number(3 + step)) for step in range(depth)] + [body(last)]
    hook = body(b"\x10" + number(2) + b"\x41\0") if depth else body(last + b"\x41\0")
    # 0: the hook. 1: where the arguments go. 2: the outermost of the chain ...
    types = vector([b"\x60" + vector([I32] * 4) + vector([I32]), b"\x60\0" + vector([I32]), b"\x60\0\0"])
    kinds = vector([b"\0", b"\x01"] + [b"\x02"] * (total - 2))
    exported = vector(
        [
            sized(b"memory") + b"\x02\0",
            sized(b"process_request") + b"\0\0",
            sized(b"blitz_buffer") + b"\0\x01",
            sized(b"blitz_buffer_size") + b"\0\x01",
            *[sized(name) + b"\0\0" for name in exports],
        ]
    )
    code = vector([hook, body(b"\x41\x80\x08"), *chain, *[body(b"")] * more])
    named = names_section((2 + at, name) for at, name in enumerate(names)) if names else b""
    sections = [
        section(1, types),
        section(3, kinds),
        section(5, vector([b"\0\x01"])),
        section(7, exported),
        section(10, code),
    ]
    return PREAMBLE + before + b"".join(sections) + named + after


# ---------------------------------------------------------------- names


def itanium(doublings: int) -> bytes:
    """A C++ name that says a type of 2 ** *doublings* parts: each is made of the one before, twice."""
    parts = ["1tIiiE"]
    for step in range(doublings):
        last = _seq_id(step)
        parts.append(f"S_IS{last}_S{last}_E")
    return b"_Z1f" + "".join(parts).encode()


def _seq_id(value: int) -> str:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return digits[value] if value < 36 else digits[value // 36] + digits[value % 36]


def itanium_nested(doublings: int) -> bytes:
    """The same as one type within the other."""
    return b"_Z1f" + b"St4pairI" * doublings + b"i" + b"S_E" * doublings


def rust(doublings: int) -> bytes:
    """A Rust name (v0) whose tuples hold the one before twice, by back reference."""
    out = bytearray(b"_RINvC1a1fTllE")
    before = 8
    for _ in range(doublings):
        here = len(out) - 2
        back = _base62(before)
        out += b"TB" + back + b"B" + back + b"E"
        before = here
    return bytes(out) + b"E"


def _base62(value: int) -> bytes:
    digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if value == 0:
        return b"_"
    value -= 1
    out = bytearray()
    while True:
        out.insert(0, digits[value % 62])
        value //= 62
        if value == 0:
            return bytes(out) + b"_"


def mangled_names(seed: int) -> Iterator[tuple[str, bytes]]:
    """(what it is, name): names that take long to read, of 10 to 100,000 bytes; the same for a seed."""
    chance = random.Random(seed)
    for doublings in (4, 20, chance.randint(21, 40), chance.randint(41, 200)):
        yield f"itanium {doublings}", itanium(doublings)
        yield f"itanium nested {doublings}", itanium_nested(doublings)
        yield f"rust {doublings}", rust(doublings)
    for size in (10, 300, 5_000, 60_000, 99_000):
        yield f"legacy rust {size}", b"_ZN" + b"1a" * (size // 2) + b"17h0123456789abcdefE"
        yield f"pointers {size}", b"_Z1f" + b"P" * size + b"i"
        yield f"nested {size}", b"_Z1f" + b"1tI" * (size // 4) + b"i" + b"E" * (size // 4)
        yield f"causes {size}", (b"\n    0: " * size)[:size]
        yield f"letters {size}", chance.choice([b"a", "\u202e".encode(), "é".encode()]) * (size // 3)
        yield f"octets {size}", chance.randbytes(size)


# ---------------------------------------------------------------- debug information (DWARF 4)

UNIT, SUBPROGRAM, INLINED, BLOCK = 0x11, 0x2E, 0x1D, 0x0B
NAME, STMT_LIST, LOW, HIGH, HOME, RANGES = 0x03, 0x10, 0x11, 0x12, 0x1B, 0x55
ORIGIN, CALL_COLUMN, CALL_FILE, CALL_LINE, INLINE = 0x31, 0x57, 0x58, 0x59, 0x20
ADDR, DATA4, STRING, DATA1, REF4, SEC_OFFSET = 0x01, 0x06, 0x08, 0x0B, 0x13, 0x17
SET_ADDRESS, END_SEQUENCE = b"\0\x05\x02", b"\0\x01\x01"
LINE_BASE, LINE_RANGE, OPCODE_BASE = -5, 14, 13


@dataclass(frozen=True)
class Function:
    """Where a function's code lies and what it was written as.

    Attributes:
        begin, end: offsets in the content of the code section.
        lines: (offset, line, column) of the places where another line begins.
        inlined: functions that became part of it, with the (line, column) of their calls.
    """

    name: bytes
    begin: int
    end: int
    lines: Sequence[tuple[int, int, int]] = ()
    inlined: Sequence[tuple[Function, tuple[int, int]]] = field(default=())


def debug_sections(home: bytes, file: bytes, functions: Sequence[Function]) -> bytes:
    """Sections that say that *functions* were written in *file*, as a compiler does."""
    return b"".join(custom(name, content) for name, content in _parts(home, file, functions).items())


def _parts(home: bytes, file: bytes, functions: Sequence[Function]) -> dict[bytes, bytes]:
    abbreviations = _abbreviations(
        (UNIT, True, (NAME, STRING), (HOME, STRING), (STMT_LIST, SEC_OFFSET), (LOW, ADDR)),
        (SUBPROGRAM, True, (NAME, STRING), (LOW, ADDR), (HIGH, DATA4)),
        (SUBPROGRAM, False, (NAME, STRING), (INLINE, DATA1)),
        (INLINED, True, *_INLINED),
    )
    entries = bytearray(b"\x01" + file + b"\0" + home + b"\0" + bytes(8))
    origins: dict[bytes, int] = {}
    for function in _all(functions):
        if function.name not in origins:
            origins[function.name] = UNIT_HEAD + len(entries)
            entries += b"\x03" + function.name + b"\0\x01"
    for function in functions:
        entries += b"\x02" + function.name + b"\0"
        entries += struct.pack("<II", function.begin, function.end - function.begin)
        entries += _inlined(function, origins) + b"\0"
    program = b"".join(_lines(function) for function in functions)
    return {
        b".debug_abbrev": abbreviations,
        b".debug_info": _unit(bytes(entries) + b"\0"),
        b".debug_line": _program(file, program),
    }


UNIT_HEAD = 11
_INLINED = (
    (ORIGIN, REF4),
    (LOW, ADDR),
    (HIGH, DATA4),
    (CALL_FILE, DATA1),
    (CALL_LINE, DATA4),
    (CALL_COLUMN, DATA1),
)


def _all(functions: Iterable[Function]) -> Iterator[Function]:
    for function in functions:
        for one, _ in function.inlined:
            yield one
            yield from _all([one])


def _inlined(function: Function, origins: dict[bytes, int]) -> bytes:
    out = b""
    for one, (line, column) in function.inlined:
        place = struct.pack("<IIIBIB", origins[one.name], one.begin, one.end - one.begin, 1, line, column)
        out += b"\x04" + place + _inlined(one, origins) + b"\0"
    return out


def _abbreviations(*entries: tuple[object, ...]) -> bytes:
    out = b""
    for code, (tag, children, *attributes) in enumerate(entries, 1):
        out += number(code) + number(tag) + bytes([bool(children)])  # type: ignore[arg-type]
        out += b"".join(number(name) + number(form) for name, form in attributes) + b"\0\0"  # type: ignore[misc]
    return out + b"\0"


def _unit(entries: bytes) -> bytes:
    return struct.pack("<IHIB", len(entries) + 7, 4, 0, 4) + entries


def _program(file: bytes, program: bytes) -> bytes:
    after = struct.pack("<BBBbBB", 1, 1, 1, LINE_BASE, LINE_RANGE, OPCODE_BASE)
    after += bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1)) + b"\0" + file + b"\0\0\0\0\0"
    content = struct.pack("<HI", 4, len(after)) + after + program
    return struct.pack("<I", len(content)) + content


def _lines(function: Function) -> bytes:
    out, at, now = SET_ADDRESS + struct.pack("<I", function.begin), function.begin, 1
    for offset, line, column in function.lines:
        out += (
            b"\x02" + number(offset - at) + b"\x03" + _signed(line - now) + b"\x05" + number(column) + b"\x01"
        )
        at, now = offset, line
    return out + b"\x02" + number(function.end - at) + END_SEQUENCE


def _signed(value: int) -> bytes:
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value & 127])


# ---------------------------------------------------------------- debug information that takes for ever


def debug_bombs(seed: int) -> Iterator[tuple[str, bytes]]:
    """(what it is, sections of at most some 100 KB): always the same for a seed."""
    chance = random.Random(seed)
    # Special opcodes that change the line and stay where they are.
    rows = bytes(chance.randrange(OPCODE_BASE, OPCODE_BASE + LINE_RANGE) for _ in range(24_000))
    yield "units that share a program", _units(500, rows)
    yield "units that share ranges", _units(800, rows[:8], ranges=8_000)
    yield "functions that share ranges", _sharing(2_000, 8_000)
    yield "a long program", _units(1, rows * 2)
    yield "entries that lie in one another", _nested(chance.randint(5_000, 20_000))
    yield "an entry that is its own origin", _own_origin()
    yield "long numbers", _units(300, (b"\x02" + b"\x80" * 3_000 + b"\0") * 3)
    yield "noise", b"".join(custom(name, chance.randbytes(20_000)) for name in SECTIONS)
    inner = Function(b"g", 9, 20)
    good = _parts(b"/home", b"a.c", [Function(b"f", 1, 30, [(1, 5, 2), (9, 7, 3)], [(inner, (6, 1))])])
    for _ in range(8):
        broken = {name: bytearray(content) for name, content in good.items()}
        for _ in range(chance.randint(1, 6)):
            content = chance.choice(list(broken.values()))
            content[chance.randrange(len(content))] = chance.randrange(256)
        yield "a broken byte or more", b"".join(custom(name, bytes(one)) for name, one in broken.items())


SPAN = 90  # bytes of code that ``trapping`` has at least, with a chain of 20 functions
SECTIONS = (
    b".debug_abbrev",
    b".debug_info",
    b".debug_line",
    b".debug_str",
    b".debug_ranges",
    b".debug_line_str",
)


def _units(count: int, rows: bytes, ranges: int = 0) -> bytes:
    """*count* units, of all the code, that have one line program in common, and a list of *ranges*."""
    whole = ((RANGES, SEC_OFFSET),) if ranges else ((HIGH, DATA4),)
    abbreviations = _abbreviations((UNIT, False, (STMT_LIST, SEC_OFFSET), (LOW, ADDR), *whole))
    entry = b"\x01" + struct.pack("<III", 0, 1, 0 if ranges else SPAN)
    program = _program(
        b"a.c", SET_ADDRESS + struct.pack("<I", 1) + rows + b"\x02" + number(SPAN) + END_SEQUENCE
    )
    return (
        custom(b".debug_abbrev", abbreviations)
        + custom(b".debug_info", _unit(entry) * count)
        + custom(b".debug_line", program)
        + custom(b".debug_ranges", struct.pack("<II", 1, SPAN) * ranges + bytes(8))
    )


def _sharing(count: int, ranges: int) -> bytes:
    """*count* functions that lie in the same *ranges*."""
    abbreviations = _abbreviations(
        (UNIT, True, (STMT_LIST, SEC_OFFSET), (LOW, ADDR)), (SUBPROGRAM, False, (RANGES, SEC_OFFSET))
    )
    entries = b"\x01" + bytes(8) + (b"\x02" + bytes(4)) * count + b"\0"
    return (
        custom(b".debug_abbrev", abbreviations)
        + custom(b".debug_info", _unit(entries))
        + custom(b".debug_line", _program(b"a.c", END_SEQUENCE))
        + custom(b".debug_ranges", struct.pack("<II", 1, SPAN) * ranges + bytes(8))
    )


def _nested(depth: int) -> bytes:
    """One function with *depth* calls that were inlined into one another; none is ended."""
    abbreviations = _abbreviations(
        (UNIT, True, (STMT_LIST, SEC_OFFSET), (LOW, ADDR)),
        (SUBPROGRAM, True, (NAME, STRING), (LOW, ADDR), (HIGH, DATA4)),
        (INLINED, True, *_INLINED),
    )
    inlined = b"\x03" + struct.pack("<IIIBIB", UNIT_HEAD + 9, 1, SPAN, 1, 7, 7)
    entries = b"\x01" + bytes(8) + b"\x02f\0" + struct.pack("<II", 1, SPAN) + inlined * depth
    rows = SET_ADDRESS + struct.pack("<I", 1) + bytes([20] * 200) + b"\x02" + number(SPAN) + END_SEQUENCE
    return (
        custom(b".debug_abbrev", abbreviations)
        + custom(b".debug_info", _unit(entries))
        + custom(b".debug_line", _program(b"a.c", rows))
    )


def _own_origin() -> bytes:
    abbreviations = _abbreviations(
        (UNIT, True, (STMT_LIST, SEC_OFFSET), (LOW, ADDR)),
        (SUBPROGRAM, False, (ORIGIN, REF4), (LOW, ADDR), (HIGH, DATA4)),
    )
    entries = b"\x01" + bytes(8) + b"\x02" + struct.pack("<III", UNIT_HEAD + 9, 1, SPAN) + b"\0"
    return (
        custom(b".debug_abbrev", abbreviations)
        + custom(b".debug_info", _unit(entries))
        + custom(b".debug_line", _program(b"a.c", END_SEQUENCE))
    )
