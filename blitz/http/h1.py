"""HTTP/1.1 heads out of a receive buffer: the C scanner first, h11 for what it declines.

Theory of operation. The C scanner knows a strict subset and fills the head table in one pass over the
buffer; it answers *complete*, *incomplete* or *declined*. Declined bytes go to h11, which is
the final judge: ``blitz_head_extent`` finds the end of the head and refuses bare line ends and
control bytes (h11 tolerates them), h11 parses, the result is built into the same table, and
``blitz_head_check`` applies the same rules as for scanned heads. So nothing downstream can tell who
produced a head, and whatever the scanner accepts h11 accepts with the same meaning.

With ``parser="h11"`` every head takes h11.

Knows no socket and no clock. RFC 9112 sections 2 to 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import h11

from blitz._native import ffi, lib
from blitz.errors import BlitzError, ClientError, UpstreamError

from .buffer import Buffer
from .rules import client_refusal, upstream_refusal

__all__ = ["HeadReader", "head_limits"]

Refusal = Callable[[int, Any], BlitzError]  # client_refusal, upstream_refusal

_H11_REQUEST_FIELDS = [("Host", "upstream"), ("Connection", "upgrade"), ("Upgrade", "any")]


def head_limits(max_head_size: int, max_line_size: int, max_field_size: int, max_fields: int) -> Any:
    """cffi ``blitz_head_limits *``; keep it alive as long as readers use it."""
    return ffi.new(
        "blitz_head_limits *",
        {
            "max_head_size": max_head_size,
            "max_line_size": max_line_size,
            "max_field_size": max_field_size,
            "max_fields": min(max_fields, lib.BLITZ_MAX_FIELDS),
        },
    )


class HeadReader:
    """Reads heads of one kind. Stateless between heads; one per gateway is enough."""

    __slots__ = ("_limits", "_scan")

    def __init__(self, limits: Any, parser: Literal["auto", "h11"]) -> None:
        self._limits = limits
        self._scan = parser == "auto"

    def read_request(self, head: Any, buffer: Buffer, seen: int) -> int:
        """Try to read a request head at the front of *buffer*.

        Args:
            head: cffi ``blitz_head *``, reset; its table will point into *buffer*.
            seen: bytes of the buffer that an earlier call found incomplete.
        Returns:
            Bytes of the head, table filled and checked; 0 when more bytes are needed.
        Raises:
            ClientError: 400, 414, 431, 417, 501 or 505.
        """
        ptr = buffer.ptr + buffer.start if buffer.start else buffer.ptr
        size = buffer.end - buffer.start
        if self._scan:
            length: int = lib.blitz_scan_request(head, ptr, size, seen, self._limits)
            if length >= 0:
                return length
        return self._read_request_with_h11(head, buffer, ptr, size, seen)

    def read_response(self, head: Any, buffer: Buffer, seen: int, method: bytes) -> int:
        """The same for a response to a request with *method*. Raises UpstreamError (502)."""
        ptr = buffer.ptr + buffer.start if buffer.start else buffer.ptr
        size = buffer.end - buffer.start
        if self._scan:
            length: int = lib.blitz_scan_response(head, ptr, size, seen, self._limits, method, len(method))
            if length >= 0:
                return length
        return self._read_response_with_h11(head, buffer, ptr, size, seen, method)

    # -- h11

    def _read_request_with_h11(self, head: Any, buffer: Buffer, ptr: Any, size: int, seen: int) -> int:
        extent = self._extent(ptr, size, seen, client_refusal)
        if not extent:
            return 0
        raw = bytes(buffer.view[buffer.start : buffer.start + extent])
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.max_head_size)
        try:
            connection.receive_data(raw)
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise ClientError(_h11_sentence(exc), status=_h11_status(exc)) from exc
        if not isinstance(event, h11.Request):
            raise ClientError("not a request head")
        minor = _minor(event.http_version)
        if minor is None:
            raise ClientError("HTTP version is neither 1.0 nor 1.1", status=505)
        lib.blitz_head_reset(head, lib.BLITZ_REQUEST)
        made = lib.blitz_head_start_request(
            head, event.method, len(event.method), event.target, len(event.target), minor
        )
        self._build(head, made, event.headers.raw_items(), client_refusal)
        refused = lib.blitz_head_check(head, ffi.NULL, 0)
        if refused:
            raise client_refusal(refused, self._limits)
        return extent

    def _read_response_with_h11(
        self, head: Any, buffer: Buffer, ptr: Any, size: int, seen: int, method: bytes
    ) -> int:
        extent = self._extent(ptr, size, seen, upstream_refusal)
        if not extent:
            return 0
        raw = bytes(buffer.view[buffer.start : buffer.start + extent])
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._limits.max_head_size)
        # The request that h11 believes it sent: one that allows a 101, so that the answer is parsed;
        # whether a 101 was asked for is judged by whoever sent the real one.
        connection.send(h11.Request(method="GET", target="/", headers=_H11_REQUEST_FIELDS))
        connection.send(h11.EndOfMessage())
        try:
            connection.receive_data(raw)
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise UpstreamError(f"bad response head: {_h11_sentence(exc)}") from exc
        if not isinstance(event, h11.Response | h11.InformationalResponse):
            raise UpstreamError("not a response head")
        minor = _minor(event.http_version)
        if minor is None:
            raise UpstreamError("HTTP version of the response is neither 1.0 nor 1.1")
        lib.blitz_head_reset(head, lib.BLITZ_RESPONSE)
        made = lib.blitz_head_start_response(head, event.status_code, event.reason, len(event.reason), minor)
        self._build(head, made, event.headers.raw_items(), upstream_refusal)
        refused = lib.blitz_head_check(head, method, len(method))
        if refused:
            raise upstream_refusal(refused, self._limits)
        return extent

    def _extent(self, ptr: Any, size: int, seen: int, refusal: Refusal) -> int:
        extent: int = lib.blitz_head_extent(ptr, size, seen, self._limits)
        if extent < 0:
            raise refusal(-lib.blitz_head_refusal(ptr, size, self._limits), self._limits)
        return extent

    def _build(self, head: Any, made: int, fields: Any, refusal: Refusal) -> None:
        for name, value in fields:
            if made < 0:
                break
            made = lib.blitz_head_add(head, name, len(name), value, len(value))
        if made < 0:
            raise refusal(made if made == lib.BLITZ_E_LIMIT else -lib.BLITZ_BAD_SYNTAX, self._limits)


def _minor(version: bytes) -> int | None:
    # h11 lets one digit through; 1.2 and above are treated as 1.1 (RFC 9110 section 2.5).
    return int(version[2:]) if version.startswith(b"1.") else None


def _h11_sentence(exc: h11.RemoteProtocolError) -> str:
    """h11's message without the bytes that it quotes: they may be a password, and go to the log."""
    return re.split(r":? (?:bytearray\()?b?['\"]", str(exc), maxsplit=1)[0]


def _h11_status(exc: h11.RemoteProtocolError) -> int:
    hint = exc.error_status_hint
    return hint if 400 <= hint < 600 else 400
