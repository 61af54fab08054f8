"""What a refused head asked for, as far as it was read: for logs only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from blitz.http.buffer import Buffer

__all__ = ["NOTHING", "RequestLine", "read_request_line"]

MAX_LINE = 4096  # bytes that are looked at
# RFC 9112 section 3. What does not begin as a request line does may be anything, a password in a body that
# its sender framed badly, say: nothing of it is told. Nor the target of a line that does not end as one does.
_METHOD = re.compile(rb"([A-Z][A-Z_-]{0,31}) ")
_TARGET = re.compile(rb"(?:/|\*|https?://).*", re.DOTALL | re.IGNORECASE)
_VERSION = re.compile(rb"(.*) HTTP/([0-9]\.[0-9])", re.DOTALL)
_CUT_VERSION = re.compile(rb" (?:H(?:T(?:T(?:P(?:/(?:[0-9]\.?)?)?)?)?)?)?\Z")


class RequestLine(NamedTuple):
    """Each b"" or "" where it cannot be told. http: the version, such as ``1.1``."""

    method: bytes = b""
    target: bytes = b""
    http: str = ""


NOTHING = RequestLine()


def read_request_line(buffer: Buffer | None) -> RequestLine:
    """The request line at the front of *buffer*; its end need not be there."""
    if buffer is None:
        return NOTHING
    data = bytes(buffer.view[buffer.start : min(buffer.end, buffer.start + MAX_LINE)])
    line, end, _ = data.partition(b"\n")
    begins = _METHOD.match(line)
    if begins is None:
        return NOTHING
    method, rest = begins[1], line[begins.end() :].removesuffix(b"\r")
    whole = _VERSION.fullmatch(rest)
    version = ""
    if whole is not None:
        rest, version = whole[1], whole[2].decode()
    elif not end:
        rest = _CUT_VERSION.sub(b"", rest)
    if whole is None and (end or b" " in rest):
        rest = b""
    return RequestLine(method, rest if _TARGET.fullmatch(rest) else b"", version)
