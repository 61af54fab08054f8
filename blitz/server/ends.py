"""How an exchange ended that did not come to its proper end, for its line in the access log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .access import AccessLine

__all__ = ["note_broken", "note_cancelled", "note_late"]

# By the wait whose deadline passed (``Timer.what``), once the answer has begun.
_LATE = {
    "send": ("client_timeout", "client took none of the answer for too long (timeouts.send_idle)"),
    "request body": ("client_timeout", "request body stalled"),
    "answer body": ("upstream_timeout", "the answer's body stalled (timeouts.response_idle)"),
    "send to upstream": ("upstream_timeout", "upstream took none of the request for too long"),
    "total": ("deadline", "exchange took too long (timeouts.total)"),
    "tunnel": ("idle", "the tunnel was silent for too long"),
}


def note_late(line: AccessLine | None, what: str) -> None:
    """The deadline of a wait for *what* passed, and no answer can tell it any more."""
    if line is not None and what in _LATE:
        line.cut(*_LATE[what])


def note_cancelled(line: AccessLine) -> bool:
    """The exchange is over, and not at its end: if nothing else was the cause, we are. True then."""
    if line.cause:
        return False
    line.cut("drain", "cut off: the gateway ended")
    return True


def note_broken(line: AccessLine | None) -> None:
    """The client's connection broke. What ended the exchange before that is the cause, if something did."""
    if line is not None and not line.cause:
        line.cut("client_reset", "client connection broke")
