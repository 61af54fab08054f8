"""What the refusals of ``blitz_head_check`` mean: status and sentence for each.

The rules themselves are in ``native/head_rules.c``, once, for heads from either producer; this is
their Python face.
"""

from __future__ import annotations

import re
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import ClientError, InternalError, UpstreamError

__all__ = [
    "IDEMPOTENT",
    "REFUSALS",
    "client_refusal",
    "field_value",
    "part_size",
    "take_hop",
    "upstream_refusal",
]

# Doing it twice is as doing it once (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

# code -> (status for a client's request, what was wrong)
REFUSALS: dict[int, tuple[int, str]] = {
    lib.BLITZ_BAD_FRAMING_BOTH: (400, "content-length and transfer-encoding in one message"),
    lib.BLITZ_BAD_CONTENT_LENGTH: (400, "content-length is not one plain decimal number"),
    lib.BLITZ_BAD_TRANSFER_ENCODING: (501, "transfer-encoding is not a lone 'chunked'"),
    lib.BLITZ_BAD_TE_IN_10: (400, "transfer-encoding in an HTTP/1.0 message"),
    lib.BLITZ_BAD_HOST_MISSING: (400, "host is missing"),
    lib.BLITZ_BAD_HOST_SYNTAX: (400, "host is not a valid authority"),
    lib.BLITZ_BAD_HOST_MANY: (400, "more than one host"),
    lib.BLITZ_BAD_TARGET: (400, "request target is malformed"),
    lib.BLITZ_BAD_TARGET_HOST: (400, "host differs from the authority of the request target"),
    lib.BLITZ_BAD_METHOD_CONNECT: (405, "CONNECT is not served here"),
    lib.BLITZ_BAD_EXPECT: (417, "expect is not 100-continue"),
    lib.BLITZ_BAD_CONNECTION: (400, "connection field is malformed"),
    lib.BLITZ_BAD_STATUS: (400, "status code is not one this message may have"),
    lib.BLITZ_BAD_SYNTAX: (400, "head is malformed"),
    lib.BLITZ_BAD_VERSION: (505, "HTTP version is neither 1.0 nor 1.1"),
    lib.BLITZ_BAD_H2C: (400, "upgrade to h2c is not served here"),
    lib.BLITZ_BAD_UPGRADE: (400, "upgrade field is malformed"),
    lib.BLITZ_BAD_METHOD: (400, "method is not made of capital letters, '-' and '_'"),
    lib.BLITZ_BAD_FIELD_NAME: (400, "a field name looks like a framing field and is none"),
    lib.BLITZ_BAD_DUPLICATE: (400, "two of a field that has one value"),
    lib.BLITZ_BAD_BODY_METHOD: (400, "a body where this method has none"),
    lib.BLITZ_BAD_CONNECTION_MANY: (400, "connection names more than 10 fields"),
    lib.BLITZ_BAD_LINE_SIZE: (414, "first line is longer than {max_line_size} bytes (limits.max_line_size)"),
    lib.BLITZ_BAD_FIELD_SIZE: (
        431,
        "a field line is longer than {max_field_size} bytes (limits.max_field_size)",
    ),
    lib.BLITZ_BAD_HEAD_SIZE: (431, "head is longer than {max_head_size} bytes (limits.max_head_size)"),
    lib.BLITZ_BAD_FIELD_COUNT: (431, "head has more than {max_fields} fields (limits.max_fields)"),
    lib.BLITZ_BAD_LINE_END: (400, "a line of the head has a CR without LF, or an LF without CR"),
    lib.BLITZ_BAD_CONTROL: (400, "control byte in the head"),
    lib.BLITZ_BAD_FOLD: (400, "folded field line"),
    lib.BLITZ_BAD_TLS: (400, "TLS where plain HTTP is spoken"),
    lib.BLITZ_BAD_FIRST_LINE: (400, "first line is empty or begins with whitespace"),
}


def client_refusal(code: int, limits: Any) -> ClientError:
    """The error for a request that ``blitz_head_check`` refused with *code* (negative).

    Args:
        code: or a negative BLITZ_BAD_* that ``blitz_head_refusal`` returned.
        limits: cffi ``blitz_head_limits *``, those that the head was read with.
    """
    status, sentence = _refusal(code, limits)
    return ClientError(sentence, status=status)


def upstream_refusal(code: int, limits: Any) -> UpstreamError:
    """The error for a response that was refused: always 502, whatever was wrong with it."""
    return UpstreamError(f"bad response head: {_refusal(code, limits)[1]}")


def _refusal(code: int, limits: Any) -> tuple[int, str]:
    if code == lib.BLITZ_E_LIMIT:  # the rules had a field to add, and no place for it
        code = -lib.BLITZ_BAD_FIELD_COUNT
    status, sentence = REFUSALS.get(-code, (400, f"head refused with code {code}"))
    return status, sentence.format(
        max_line_size=limits.max_line_size,
        max_field_size=limits.max_field_size,
        max_head_size=limits.max_head_size,
        max_fields=limits.max_fields,
    )


_BYTE_RANGE = re.compile(rb"bytes[ \t]+([0-9]{1,18})-([0-9]{1,18})/(?:[0-9]{1,18}|\*)", re.IGNORECASE)


def part_size(head: Any) -> int | None:
    """Bytes of content that the Content-Range of a cffi ``blitz_head *`` stands for (RFC 9110 section 14.4).

    None when there is no such field; -1 when it does not say.
    """
    value = field_value(head, b"content-range")
    if value is None:
        return None
    found = _BYTE_RANGE.fullmatch(value)
    return int(found[2]) - int(found[1]) + 1 if found else -1


def field_value(head: Any, name: bytes) -> bytes | None:
    """Value of the first field called *name* (lower case) of a cffi ``blitz_head *``; None when absent."""
    index = lib.blitz_head_find(head, name, len(name), 0)
    if index < 0:
        return None
    span = head.fields[index].value
    return ffi.buffer(lib.blitz_head_at(head, span), span.len)[:] if span.len else b""


def take_hop(exchange: Any, method: bytes) -> bool:
    """Count down Max-Forwards of a cffi ``blitz_exchange *`` where *method* has that (``native/hops.c``).

    Returns: False where the request has come as far as it may, and we answer it.

    Raises:
        ClientError: the field is not a number.
    """
    result = lib.blitz_take_hop(exchange, {"ptr": ffi.from_buffer("uint8_t[]", method), "len": len(method)})
    if result == lib.BLITZ_E_SYNTAX:
        raise ClientError("max-forwards is not a number of at most nine digits")
    if result < 0:
        raise InternalError(f"max-forwards cannot be counted down (code {result})")
    return bool(result)
