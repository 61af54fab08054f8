"""Local responses: those that the gateway makes itself. Errors, and those of routes without an upstream."""

from __future__ import annotations

import http
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import InternalError

__all__ = ["Handler", "Reply", "build_local", "build_reply", "reason"]

TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response made in Python. kind: its Content-Type; fields: further ones, names in lower case."""

    status: int
    body: bytes = b""
    kind: bytes = TEXT
    fields: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Any], Reply]  # takes the request's head, cffi blitz_head *; must not block


def reason(status: int) -> bytes:
    """The standard reason phrase, or an empty one (RFC 9112 section 4)."""
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def error_body(status: int, request_id: bytes) -> bytes:
    # The reason and the id under which the operator finds the cause; never the cause itself.
    return b"%d %b\nrequest %b\n" % (status, reason(status), request_id)


def build_local(cdata: Any, status: int, body: bytes | None) -> bytes:
    """Put a local response into ``cdata.response``; returns its body (None: the error text)."""
    response = cdata.response
    if body is None:
        body = error_body(status, ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:])
    lib.blitz_head_start_response(response, status, ffi.NULL, 0, 1)
    lib.blitz_head_add(response, b"content-type", 12, TEXT, len(TEXT))
    return body


def build_reply(cdata: Any, reply: Reply) -> bytes:
    """Put *reply* into ``cdata.response``; returns its body."""
    response = cdata.response
    lib.blitz_head_start_response(response, reply.status, ffi.NULL, 0, 1)
    for name, value in ((b"content-type", reply.kind), *reply.fields):
        if lib.blitz_head_add(response, name, len(name), value, len(value)) < 0:
            raise InternalError(f"field {name!r} of a local response is not valid HTTP")
    return reply.body
