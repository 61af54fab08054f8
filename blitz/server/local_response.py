"""Local responses: those that the gateway makes itself. Errors, and those of routes without an upstream."""

from __future__ import annotations

import http
from collections.abc import Callable, Iterable
from typing import Any

from blitz._native import ffi, lib
from blitz.errors import BlitzError, InternalError, NoRoute
from blitz.http.reply import TEXT, Reply

__all__ = ["Handler", "Reply", "add_fields", "build_error", "build_local", "build_reply", "reason"]

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


def build_local(cdata: Any, status: int, body: bytes | None) -> None:
    """Put a local response into the exchange *cdata*; None: the error text."""
    if body is None:
        body = error_body(status, ffi.buffer(lib.blitz_exchange_id(cdata), 32)[:])
    _build(cdata, status, TEXT, body)


def build_error(cdata: Any, error: BlitzError) -> None:
    """Put the response that tells of *error* into the exchange *cdata*."""
    build_local(cdata, error.status_hint, None)
    if isinstance(error, NoRoute) and error.allow:
        lib.blitz_head_add(cdata.response, b"allow", 5, error.allow, len(error.allow))


def build_reply(cdata: Any, reply: Reply) -> None:
    """Put *reply* into the exchange *cdata*."""
    _build(cdata, reply.status, reply.kind, reply.body)
    add_fields(cdata, reply.fields)


def add_fields(cdata: Any, fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Add *fields* to the response of the exchange *cdata*."""
    for name, value in fields:
        if lib.blitz_head_add(cdata.response, name, len(name), value, len(value)) < 0:
            raise InternalError(f"field {name!r} of a local response is not valid HTTP")


def _build(cdata: Any, status: int, kind: bytes, body: bytes) -> None:
    if failed := lib.blitz_local_response(cdata, status, kind, len(kind), body, len(body)):
        raise InternalError(f"a local response cannot be made (code {failed})")
