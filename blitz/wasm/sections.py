"""The sections of a module in its binary form (WebAssembly core specification, section 5.5).

Custom sections mean nothing to the code, and whatever reads them reads what a stranger wrote. The engine gets
none of them but the names of functions, which are cut: it copies each name of a backtrace at every trap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_NAME", "code_start", "debug_sections", "has_debug_information", "lean", "sections"]

PREAMBLE_SIZE = 8
CUSTOM, CODE = 0, 10
FUNCTION_NAMES = 1  # subsection of "name"
MAX_NAME = 128  # bytes of a function's name


@dataclass(frozen=True, slots=True)
class Section:
    """Attributes: kind: its number. name: of a custom one. start, content, end: offsets; content is what
    follows the section's size, or a custom one's name."""

    kind: int
    name: bytes
    start: int
    content: int
    end: int


class _Malformed(Exception):
    pass


def sections(wasm: bytes) -> Iterator[Section]:
    """The sections in their order; ends before the first that is malformed."""
    at = PREAMBLE_SIZE
    while at < len(wasm):
        try:
            size, content = _number(wasm, at + 1)
            end = content + size
            if end > len(wasm):
                return
            name = b""
            if wasm[at] == CUSTOM:
                name, content = _sized(wasm, content, end)
        except _Malformed:
            return
        yield Section(wasm[at], name, at, content, end)
        at = end


def lean(wasm: bytes) -> bytes:
    """*wasm* without custom sections, but for the names of functions, each of at most MAX_NAME bytes.

    What is malformed stays, for the engine to say so.
    """
    parts, done = [wasm[:PREAMBLE_SIZE]], PREAMBLE_SIZE
    for section in sections(wasm):
        done = section.end
        if section.kind != CUSTOM:
            parts.append(wasm[section.start : section.end])
        elif section.name == b"name":
            parts.append(_cut_names(wasm[section.content : section.end]))
    return b"".join([*parts, wasm[done:]])


def code_start(wasm: bytes) -> int:
    """Offset of the code section's content, which DWARF counts from; 0 when there is none."""
    return next((section.content for section in sections(wasm) if section.kind == CODE), 0)


def has_debug_information(wasm: bytes) -> bool:
    """Whether it says of code, or pretends to, from which lines it comes."""
    return any(section.name == b".debug_line" for section in sections(wasm))


def debug_sections(wasm: bytes) -> dict[str, bytes]:
    """What is in the sections ``.debug_*`` (DWARF for WebAssembly); of two with the same name the first."""
    found: dict[str, bytes] = {}
    for section in sections(wasm):
        if section.name.startswith(b".debug_"):
            found.setdefault(section.name.decode("ascii", "replace"), wasm[section.content : section.end])
    return found


def _cut_names(content: bytes) -> bytes:
    """A section ``name`` with nothing but functions' names in it, up to the first that is malformed."""
    names: list[bytes] = []
    at = 0
    try:
        while at < len(content):
            kind = content[at]
            inner, end = _sized(content, at + 1, len(content))
            if kind == FUNCTION_NAMES:
                names += _cut_each(inner)
            at = end
    except _Malformed:
        pass
    body = _leb(len(names)) + b"".join(names)
    body = bytes([FUNCTION_NAMES]) + _leb(len(body)) + body
    body = _leb(4) + b"name" + body
    return bytes([CUSTOM]) + _leb(len(body)) + body if names else b""


def _cut_each(content: bytes) -> Iterator[bytes]:
    count, at = _number(content, 0)
    for _ in range(count):
        index, at = _number(content, at)
        name, at = _sized(content, at, len(content))
        if len(name) > MAX_NAME or not name.isascii():
            # The engine ignores all names when one is no UTF-8.
            text = name[:MAX_NAME].decode("utf-8", "replace").encode()
            name = text[:MAX_NAME].decode("utf-8", "ignore").encode()
        yield _leb(index) + _leb(len(name)) + name


def _sized(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """The bytes behind their length, and where they end."""
    size, at = _number(data, at)
    if size > end - at:
        raise _Malformed
    return data[at : at + size], at + size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 of at most 32 bits, and where it ends."""
    value = 0
    for shift in (0, 7, 14, 21, 28):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _Malformed


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
