"""How a body ends: bytes from the wire in, data bytes out (RFC 9112 section 6.3).

A reader is told what arrived in a buffer and says how much of it is data, now at the front of what it
was given, and how much belongs to whatever comes next on the connection. It never reads past the end
of its body, so left-over bytes are never lost and never mistaken for a message of their own.
"""

from __future__ import annotations

from typing import Any, Protocol

from blitz._native import ffi, lib
from blitz.errors import ClientError, UpstreamError

__all__ = ["BodyReader", "ChunkedBody", "CloseBody", "LengthBody", "NoBody", "body_reader"]

CHUNKS_DONE = 255


class BodyReader(Protocol):
    """
    Attributes:
        done: the body is complete.
        remaining: data bytes still to come, or -1 when the sender did not say.
    """

    done: bool
    remaining: int

    def feed(self, ptr: Any, size: int) -> tuple[int, int]:
        """Take *size* bytes at *ptr* (cffi ``uint8_t *``).

        Returns:
            ``(data, consumed)``: the first *data* bytes at *ptr* are body data (chunked coding is
            removed in place); *consumed* bytes were used. ``consumed < size`` only when done.
        Raises:
            the error class given to ``body_reader``: the coding is malformed or over its bounds.
        """
        ...

    def feed_eof(self) -> None:
        """The sender closed its side. Raises when that cuts the body short."""
        ...


class NoBody:
    __slots__ = ("done", "remaining")

    def __init__(self) -> None:
        self.done = True
        self.remaining = 0

    def feed(self, ptr: Any, size: int) -> tuple[int, int]:
        return 0, 0

    def feed_eof(self) -> None:
        return


class LengthBody:
    __slots__ = ("_error", "done", "remaining")

    def __init__(self, length: int, error: type[ClientError | UpstreamError]) -> None:
        self.remaining = length
        self.done = length == 0
        self._error = error

    def feed(self, ptr: Any, size: int) -> tuple[int, int]:
        if size < self.remaining:
            self.remaining -= size
            return size, size
        data = self.remaining
        self.remaining = 0
        self.done = True
        return data, data

    def pass_by(self, size: int) -> None:
        """*size* data bytes went another way; at most ``remaining``."""
        self.remaining -= size
        self.done = not self.remaining

    def feed_eof(self) -> None:
        if not self.done:
            raise self._error(
                f"body cut short: {self.remaining} bytes of its content-length are missing",
                cause=f"{self._error.source}_reset",
            )


class ChunkedBody:
    __slots__ = ("_chunks", "_consumed", "_error", "done", "remaining")

    def __init__(self, error: type[ClientError | UpstreamError], max_line: int, max_trailers: int) -> None:
        self._chunks = ffi.new("blitz_chunks *", {"max_line": max_line, "max_trailers": max_trailers})
        self._consumed = ffi.new("size_t *")
        self._error = error
        self.done = False
        self.remaining = -1

    def feed(self, ptr: Any, size: int) -> tuple[int, int]:
        data = lib.blitz_chunks_decode(self._chunks, ptr, size, self._consumed)
        if data < 0:
            if data == lib.BLITZ_E_LIMIT:
                raise self._error(
                    "chunk extension or trailer section is over its limit (limits.max_chunk_line_size, "
                    "limits.max_trailer_size)",
                    cause="limit",
                )
            raise self._error("malformed chunked coding")
        if self._chunks.state == CHUNKS_DONE:
            self.done = True
            self.remaining = 0
        return data, self._consumed[0]

    def feed_eof(self) -> None:
        if not self.done:
            raise self._error(
                "body cut short: the last chunk is missing", cause=f"{self._error.source}_reset"
            )


class CloseBody:
    """A response that ends with the connection."""

    __slots__ = ("done", "remaining")

    def __init__(self) -> None:
        self.done = False
        self.remaining = -1

    def feed(self, ptr: Any, size: int) -> tuple[int, int]:
        return size, size

    def feed_eof(self) -> None:
        self.done = True
        self.remaining = 0


def body_reader(
    head: Any,
    error: type[ClientError | UpstreamError],
    *,
    max_chunk_line: int = 4096,
    max_trailers: int = 16384,
) -> BodyReader:
    """The reader for the message whose checked head (cffi ``blitz_head *``) this is."""
    kind = head.body
    if kind == lib.BLITZ_BODY_NONE:
        return NoBody()
    if kind == lib.BLITZ_BODY_LENGTH:
        return LengthBody(head.content_length, error)
    if kind == lib.BLITZ_BODY_CHUNKED:
        return ChunkedBody(error, max_chunk_line, max_trailers)
    return CloseBody()
