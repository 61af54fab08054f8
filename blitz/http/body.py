"""How a body ends: bytes from the wire in, data bytes out (RFC 9112 section 6.3).

The rules are ``native/body_pipe.c``, which the fast path uses as well; errors are told here. A reader never
takes a byte behind the end of its body, so left-over bytes are never lost and never mistaken for a message of
their own.
"""

from __future__ import annotations

from typing import Any

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientError, UpstreamError

__all__ = ["BodyReader", "body_reader"]

_LENGTH = lib.BLITZ_BODY_LENGTH


class BodyReader:
    """The reader of one body.

    Attributes:
        cdata: cffi ``blitz_body *``.
        error: the class for what its sender does wrong.
    """

    __slots__ = ("_consumed", "cdata", "error")

    def __init__(self, cdata: Any, error: type[ClientError | UpstreamError]) -> None:
        self.cdata = cdata
        self.error = error
        self._consumed = ffi.new("size_t *")

    @property
    def done(self) -> bool:
        """The body is complete."""
        return bool(self.cdata.done)

    @property
    def remaining(self) -> int:
        """Data bytes still to come, or -1 when the sender did not say."""
        return int(self.cdata.remaining)

    @property
    def received(self) -> int:
        """Data bytes so far."""
        return int(self.cdata.received)

    def limit(self, size: int) -> None:
        """It may have at most *size* data bytes; 0: any."""
        self.cdata.limit = size

    @property
    def has_length(self) -> bool:
        """Its sender said how long it is, so its bytes need not be looked at."""
        return bool(self.cdata.kind == _LENGTH)

    def feed(self, ptr: Any, size: int) -> tuple[int, int]:
        """Take *size* bytes at *ptr* (cffi ``uint8_t *``).

        Returns:
            ``(data, consumed)``: the first *data* bytes at *ptr* are body data (chunked coding is
            removed in place); *consumed* bytes were used. ``consumed < size`` only when done.
        Raises:
            what ``failure`` says.
        """
        data = lib.blitz_body_feed(self.cdata, ptr, size, self._consumed)
        if data < 0:
            raise self.failure(data)
        return data, self._consumed[0]

    def pass_by(self, size: int) -> None:
        """*size* data bytes of a known length went another way; at most ``remaining``."""
        lib.blitz_body_pass_by(self.cdata, size)

    def feed_eof(self) -> None:
        """The sender closed its side. Raises when that cuts the body short."""
        result = lib.blitz_body_end(self.cdata)
        if result < 0:
            raise self.failure(result)

    def failure(self, code: int) -> BlitzError:
        """What a ``BLITZ_BODY_*`` below 0 means."""
        error, length = self.error, self.cdata.remaining
        if code == lib.BLITZ_BODY_CUT:
            missing = (
                f"{length} bytes of its content-length are missing"
                if self.has_length
                else "the last chunk is missing"
            )
            return error(f"body cut short: {missing}", cause=f"{error.source}_reset")
        if code == lib.BLITZ_BODY_CODING_LIMIT:
            return error(
                "chunk extension or trailer section is over its limit (limits.max_chunk_line_size, "
                "limits.max_trailer_size)",
                cause="limit",
            )
        if code == lib.BLITZ_BODY_TOO_LONG:
            return ClientError(
                f"request body is over {self.cdata.limit} bytes (limits.max_body_size)", status=413
            )
        return error("malformed chunked coding")


def body_reader(
    head: Any,
    error: type[ClientError | UpstreamError],
    *,
    limit: int = 0,
    max_chunk_line: int = 4096,
    max_trailers: int = 16384,
) -> BodyReader:
    """The reader for the message whose checked head (cffi ``blitz_head *``) this is.

    Args:
        limit: data bytes it may have; 0: any number.
    """
    body = ffi.new("blitz_body *")
    lib.blitz_body_begin(body, head.body, head.content_length, limit, max_chunk_line, max_trailers)
    return BodyReader(body, error)
