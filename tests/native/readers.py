"""The two ways from bytes to a checked head: the scanner, and gate + h11 + builder. Shared by the tests
that compare them. A result is (bytes used, head) or a negative code; 0 when more bytes are needed."""

from __future__ import annotations

from pathlib import Path

import h11

from blitz._native import ffi, lib
from tests.head import Head, HeadLimits

ALL_PATHS = ("portable", "sse2", "avx2", "neon")
PATHS = [
    path
    for path in ALL_PATHS
    if lib.blitz_head_extent_with(path.encode(), b"", 0, 0, ffi.NULL) != lib.BLITZ_E_STATE
]
REFUSED_BY_H11 = -1000
HEADS = Path(__file__).parents[1] / "corpus" / "heads"


def corpus(folder: str) -> list[tuple[str, bytes, bytes | None]]:
    """Real heads: (name, bytes, None for a request or the method that a response answers)."""
    files = sorted((HEADS / folder).glob("*.http"))
    return [
        (path.stem, path.read_bytes(), b"GET" if path.stem.startswith("response") else None) for path in files
    ]


CODES = {
    value: name
    for name in dir(lib)
    if name.startswith("BLITZ_BAD_") and name not in ("BLITZ_BAD_FIRST", "BLITZ_BAD_LAST")
    for value in [-getattr(lib, name)]
} | {getattr(lib, name): name for name in dir(lib) if name.startswith("BLITZ_E_")}


def name_of(code: int) -> str:
    return "h11" if code == REFUSED_BY_H11 else CODES.get(code, str(code)).removeprefix("BLITZ_")


def scan(data: bytes, method: bytes | None, path: str = "", limits: HeadLimits | None = None) -> int | Head:
    """Request when *method* is None, else the response to it."""
    head = Head()
    if method is None:
        result = head.scan_request(data, path=path, limits=limits)
    else:
        result = head.scan_response(data, method, path=path, limits=limits)
    return head if result > 0 else result


def scan_in_parts(data: bytes, method: bytes | None, path: str, step: int) -> int | Head:
    """The same, *step* more bytes per call, as a connection does. A positive result ends it."""
    head, name, seen, result = Head(), path.encode(), 0, 0
    raw = head.borrow(data)
    while result == 0 and seen < len(data):
        size = min(seen + step, len(data))
        if method is None:
            result = lib.blitz_scan_request_with(name, head.c, raw, size, seen, ffi.NULL)
        else:
            result = lib.blitz_scan_response_with(
                name, head.c, raw, size, seen, ffi.NULL, method, len(method)
            )
        seen = size
    return head if result > 0 else result


def extent(data: bytes, seen: int = 0, path: str = "portable", limits: HeadLimits | None = None) -> int:
    where = limits.c if limits is not None else ffi.NULL
    return int(lib.blitz_head_extent_with(path.encode(), data, len(data), seen, where))


def judge(data: bytes, method: bytes | None, limits: HeadLimits | None = None) -> int | Head:
    """Through the gate, h11, the builder and the rules."""
    length = extent(data, limits=limits)
    if length <= 0:
        return length
    event = read_with_h11(data[:length], method)
    if event is None:
        return REFUSED_BY_H11
    version = event.http_version
    minor = int(version[2:]) if version.startswith(b"1.") else 255
    try:
        if isinstance(event, h11.Request):
            head = Head.request(event.method, event.target, event.headers.raw_items(), minor=minor)
        else:
            head = Head.response(
                event.status_code, event.headers.raw_items(), reason=event.reason, minor=minor
            )
    except ValueError:
        return int(lib.BLITZ_E_SYNTAX)
    result = head.check(method or b"")
    return head if result == 0 else result


def read_with_h11(
    head: bytes, method: bytes | None
) -> h11.Request | h11.Response | h11.InformationalResponse | None:
    """The event that h11 makes of a complete head, or None when it refuses."""
    connection = h11.Connection(
        h11.SERVER if method is None else h11.CLIENT, max_incomplete_event_size=1 << 20
    )
    if method is not None:
        # Without the offer h11 takes no 101.
        offer = [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "x")]
        connection.send(h11.Request(method=method, target="/", headers=offer))
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    kinds = (h11.Request, h11.Response, h11.InformationalResponse)
    assert isinstance(event, kinds), event
    return event


def meaning(head: Head) -> dict[str, object]:
    """Everything a checked head says, for comparison."""
    return {
        "kind": head.is_request,
        "start": (head.method, head.target, head.status, head.reason),
        "version": head.version,
        "host": head.host,
        "framing": (head.body, head.content_length),
        "flags": head.c.flags,
        "fields": [(name, as_h11_shows(name, value)) for name, value in head.fields()],
    }


def as_h11_shows(name: bytes, value: bytes) -> bytes:
    return value.lower() if name.lower() == b"transfer-encoding" else value
