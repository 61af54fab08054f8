"""A plugin that writes whatever a request asks for, through every host function that writes.

``writer.wat`` runs a program that comes in the request's field ``x-write``: in which hook, with what verdict,
and a list of calls. So one guest can try every form there is, each in an exchange of its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import compile_wat

__all__ = [
    "ADD",
    "BODY",
    "METHOD",
    "PATH",
    "REMOVE",
    "SET",
    "STATUS",
    "Program",
    "Write",
    "request_writer",
    "writer",
]

SET, ADD, REMOVE, STATUS, BODY, PATH, METHOD = range(1, 8)
NAMES = ("", "set_header", "add_header", "remove_header", "set_status", "set_body", "set_path", "set_method")
MANY = 128


@dataclass(frozen=True)
class Write:
    """One call; with *times*, ``value`` is one byte that is written so many times."""

    call: int
    name: bytes = b""
    value: bytes = b""
    times: int = 0

    def encoded(self) -> bytes:
        code, value = self.call, self.value
        if self.times:
            code, value = code | MANY, struct.pack("<cI", self.value, self.times)
        return struct.pack("<BH", code, len(self.name)) + self.name + struct.pack("<H", len(value)) + value

    def __str__(self) -> str:
        times = f" * {self.times}" if self.times else ""
        return f"{NAMES[self.call]}({self.name[:60]!r}, {self.value[:60]!r}{times})"


@dataclass(frozen=True)
class Program:
    """Calls in one hook.

    Attributes:
        place: ``request`` (the request goes on), ``answer`` (the plugin answers it), ``response``.
    """

    place: str
    writes: tuple[Write, ...]

    def field(self) -> bytes:
        hook, verdict = {"request": (0, 0), "answer": (0, 1), "response": (1, 0)}[self.place]
        return (bytes((hook, verdict)) + b"".join(write.encoded() for write in self.writes)).hex().encode()

    def __str__(self) -> str:
        return f"{self.place}: {'; '.join(map(str, self.writes[:4]))}"


def writer() -> bytes:
    return compile_wat(_source())


def request_writer() -> bytes:
    """The same without a response hook: its exchanges may take the fast path."""
    return compile_wat(_source().partition("  ;; RESPONSE")[0] + ")")


def _source() -> str:
    return Path(__file__).with_name("writer.wat").read_text(encoding="utf-8")
