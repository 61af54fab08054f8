"""Short names for the tables: building requests and saying what must hold."""

from __future__ import annotations

from dataclasses import replace

from ..case import ADVISABLE, Case, Expect, Level, Script, Seen, Step

__all__ = [
    "CHUNKED", "EVIL", "HOST", "OK", "OK_CLOSE", "answer", "chunks", "either", "get", "lines", "passed", "post",
    "refused", "silent", "soft", "table",
]  # fmt: skip

HOST = b"Host: gw.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
# What an attacker hides behind an ambiguous message.
EVIL = b"GET /T0KEN/smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

Outcome = Expect | tuple[Expect, ...]


def get(
    fields: bytes = b"", *, target: bytes = b"/T0KEN", method: bytes = b"GET", body: bytes = b""
) -> bytes:
    """A request with a proper Host and these further field lines (each ended by CRLF)."""
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def post(fields: bytes, body: bytes = b"", *, target: bytes = b"/T0KEN") -> bytes:
    return get(fields, target=target, method=b"POST", body=body)


def lines(*each: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in each)


def chunks(*each: bytes) -> bytes:
    """A chunked body of these chunks, ended."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in each) + b"0\r\n\r\n"


def passed(*seen: Seen, status: int = 200, closed: bool | None = False, **more: object) -> Expect:
    """Forwarded cleanly, answered, connection kept."""
    statuses = (frozenset({status}),) * max(1, len(seen))
    return replace(Expect(statuses=statuses, seen=seen or (Seen(),), closed=closed), **more)  # type: ignore[arg-type]


def refused(*statuses: int, closed: bool | None = True, heads: int = 0, **more: object) -> Expect:
    """Answered by the gateway itself; no complete request reached the upstream."""
    allowed = frozenset(statuses or (400,))
    return replace(Expect(statuses=(allowed,), seen=(), heads=heads, closed=closed), **more)  # type: ignore[arg-type]


def silent(heads: int = 0) -> Expect:
    """Closed without an answer; no complete request reached the upstream."""
    return Expect(statuses=(), seen=(), heads=heads, closed=True)


def answer(*statuses: int, closed: bool | None = None, **more: object) -> Expect:
    """What the client gets, whatever the upstream saw."""
    return replace(Expect(statuses=(frozenset(statuses),), seen=None, closed=closed), **more)  # type: ignore[arg-type]


def either(*outcomes: Outcome) -> tuple[Expect, ...]:
    flat: list[Expect] = []
    for outcome in outcomes:
        flat += [outcome] if isinstance(outcome, Expect) else outcome
    return tuple(flat)


Row = tuple[object, ...]


def table(family: str, rfc: str, rows: list[Row], **common: object) -> list[Case]:
    """Cases from rows ``(id, send, outcome[, upstream][, options])``.

    *send* is bytes or a tuple of steps, *upstream* a Script, a tuple of them, or the bytes of one answer.
    """
    return [_case(family, rfc, row, common) for row in rows]


def soft(case: Case) -> Case:
    """The same as a recommendation."""
    level: Level = ADVISABLE
    return replace(case, level=level)


def _case(family: str, rfc: str, row: Row, common: dict[str, object]) -> Case:
    name, send, outcome, *rest = row
    options: dict[str, object] = dict(common)
    scripts: tuple[Script, ...] = ()
    for extra in rest:
        if isinstance(extra, dict):
            options |= extra
        else:
            scripts = _scripts(extra)
    options = {"rfc": rfc, "upstream": scripts} | options
    steps: tuple[Step, ...] = send if isinstance(send, tuple) else (send,)
    expect = outcome if isinstance(outcome, tuple) else (outcome,)
    return Case(id=f"{family}/{name}", send=steps, expect=expect, **options)  # type: ignore[arg-type]


def _scripts(extra: object) -> tuple[Script, ...]:
    match extra:
        case bytes():
            return (Script((extra,)),)
        case Script():
            return (extra,)
        case tuple():
            return tuple(script for part in extra for script in _scripts(part))
    raise TypeError(f"not a script: {extra!r}")
