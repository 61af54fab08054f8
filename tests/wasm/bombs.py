"""Small modules that are much work to compile."""

from __future__ import annotations

__all__ = ["LONG", "MANY_LOCALS", "functions", "many_locals"]


def number(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + number(len(content)) + content


def functions(count: int, body: bytes) -> bytes:
    """A module of *count* functions () -> () with the same body."""
    declared = section(3, number(count) + b"\0" * count)
    code = section(10, number(count) + (number(len(body)) + body) * count)
    return b"\0asm\x01\0\0\0" + section(1, b"\x01\x60\0\0") + declared + code


def many_locals(count: int) -> bytes:
    """*count* functions of 49,000 vectors as locals: some 3 ms of compiling for 7 bytes."""
    return functions(count, b"\x01" + number(49_000) + b"\x7b\x0b")


MANY_LOCALS = many_locals(3000)
# One function of a megabyte.
LONG = functions(1, b"\x01\x01\x7f" + b"\x20\x00\x45\x21\x00" * 200_000 + b"\x0b")
