"""Content codings as they are written: bytes in, bytes out, in constant memory.

What an encoder holds depends on the size of the body, if that is known: a window that is larger than the
body, and tables for one, would be filled and read for nothing. Levels and windows are bounded so that a
step of ``STEP`` bytes takes 3 ms at most, whatever is in it; most take a thirtieth of that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from blitz.config.codings import brotli_package, zstd_package

__all__ = ["ENCODERS", "STEP", "Encoder", "memory_of"]

STEP = 16 * 1024  # bytes that an encoder gets at once

KIB = 1024
_WINDOW = 17  # bits, of zstd: 128 KiB; with it the tables of level 4 take what those of level 3 do
_WINDOW_BR = 18  # bits; with a smaller one the tables outweigh what is saved
_GZIP = 16  # added to zlib's window bits: its own head and trailer, RFC 1952
_WINDOW_GZIP, _MEMORY_GZIP = 15, 8  # zlib's own
_LEAST_GZIP = 10  # bits
_LEAST_BR = 12
_NEAR_END = 262  # bytes of its window that zlib does not look back into (MIN_LOOKAHEAD)
# What contexts hold, by coding, measured with bodies of 300 KB.
_MEMORY = {"gzip": 256 * KIB, "zstd": 1152 * KIB, "br": 1024 * KIB}


class Encoder(Protocol):
    """Of one body.

    Attributes:
        memory: bytes that it holds, at most.
    """

    memory: int

    def compress(self, data: memoryview) -> bytes:
        """Take *data*, at most ``STEP`` bytes; what comes out may be later."""
        ...

    def flush(self) -> bytes:
        """What it still holds of what it was given, so that the client can read all of it."""
        ...

    def finish(self) -> bytes:
        """The same, and the end of the body."""
        ...


def memory_of(coding: str, size: int | None) -> int:
    """Bytes that an encoder holds for a body of *size* bytes, None: any; at most."""
    if coding == "gzip":
        window, memory = _gzip_sizes(size)
        return int((1 << (window + 2)) + (1 << (memory + 9)))  # zconf.h
    return _MEMORY[coding]


class Gzip:
    __slots__ = ("_made", "compress", "memory")

    def __init__(self, level: int, size: int | None) -> None:
        window, memory = _gzip_sizes(size)
        self.memory = memory_of("gzip", size)
        self._made = zlib.compressobj(level, zlib.DEFLATED, window + _GZIP, memory)
        self.compress = self._made.compress

    def flush(self) -> bytes:
        return self._made.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._made.flush()


def _gzip_sizes(size: int | None) -> tuple[int, int]:
    """Bits of the window, and zlib's memLevel."""
    window, memory = _WINDOW_GZIP, _MEMORY_GZIP
    while size is not None and window > _LEAST_GZIP and size < (1 << (window - 1)) - _NEAR_END:
        window -= 1
        memory -= 1
    return window, memory


class Zstd:
    __slots__ = ("_finish", "_flush", "_made", "compress", "memory")

    def __init__(self, level: int, size: int | None) -> None:
        made = zstd_package().ZstdCompressor
        key = zstd_package().CompressionParameter
        options = {
            key.compression_level: level,
            key.window_log: _window(size, key.window_log.bounds()[0], _WINDOW),
        }
        self.memory = memory_of("zstd", size)
        self._made = made(options=options)
        self._flush, self._finish = made.FLUSH_BLOCK, made.FLUSH_FRAME
        self.compress = self._made.compress

    def flush(self) -> bytes:
        data: bytes = self._made.flush(self._flush)
        return data

    def finish(self) -> bytes:
        data: bytes = self._made.flush(self._finish)
        return data


class Brotli:
    __slots__ = ("_made", "compress", "finish", "flush", "memory")

    def __init__(self, level: int, size: int | None) -> None:
        self.memory = memory_of("br", size)
        self._made = brotli_package().Compressor(quality=level, lgwin=_window(size, _LEAST_BR, _WINDOW_BR))
        self.compress = self._made.process
        self.flush = self._made.flush
        self.finish = self._made.finish


def _window(size: int | None, least: int, most: int) -> int:
    """Bits."""
    return most if size is None else max(least, min(most, size.bit_length()))


# Level, and the size of the body, None: it is not known.
ENCODERS: dict[str, Callable[[int, int | None], Encoder]] = {"gzip": Gzip, "zstd": Zstd, "br": Brotli}
