"""The line of the gateway's log for each error response of ours: the id that a client tells leads to why."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blitz.text import one_line

from .access_format import MAX_ERROR, MAX_SMALL, shown

if TYPE_CHECKING:
    from blitz.errors import BlitzError

    from .access import AccessLog
    from .facts import ExchangeFacts
    from .peer import Peer
    from .request_line import RequestLine

__all__ = ["log_error_response", "log_refusal", "path_of"]

_log = logging.getLogger("blitz.server")

SENTENCE = "%s %s from %s answered %d, %s: %s (request %s, route %s, upstream %s)"


def log_error_response(
    exchange: ExchangeFacts, access: AccessLog | None, status: int, error: BlitzError
) -> None:
    """*exchange* is answered with *status* and a body of ours, which names the request's id.

    Args:
        access: the access log, unless it is off.
    """
    if _is_in_access_log(access, status):
        return
    entry, endpoint = exchange.entry, exchange.endpoint
    _write(
        exchange.peer,
        exchange.method,
        exchange.target,
        status,
        error.cause,
        error.message,
        exchange.request_id,
        route=entry.name.decode() if entry is not None else "",
        endpoint=endpoint.name.decode() if endpoint is not None else "",
    )


def log_refusal(
    access: AccessLog | None,
    peer: Peer,
    asked: RequestLine,
    status: int,
    error: BlitzError,
    request_id: str,
) -> None:
    """The same where there is no ``Exchange``: what did not become one, or ended on the fast path."""
    if not _is_in_access_log(access, status):
        _write(peer, asked.method, asked.target, status, error.cause, error.message, request_id)


def path_of(target: bytes) -> str:
    """*target* for a log that nobody asked for queries: they may hold secrets."""
    path, query, _ = target.partition(b"?")
    return shown(path, MAX_ERROR) + ("?..." if query else "")


def _is_in_access_log(access: AccessLog | None, status: int) -> bool:
    # What clients do wrong is said once. What is wrong with us or behind us is said here in any case.
    return status < 500 and access is not None


def _write(
    peer: Peer,
    method: bytes,
    target: bytes,
    status: int,
    cause: str,
    message: str,
    request_id: str,
    *,
    route: str = "",
    endpoint: str = "",
) -> None:
    level = logging.WARNING if status >= 500 else logging.INFO
    if not _log.isEnabledFor(level):
        return
    verb, path, client = shown(method, MAX_SMALL), path_of(target), peer.address
    _log.log(
        level,
        SENTENCE,
        verb or "-",
        path or "-",
        client or "-",
        status,
        cause,
        one_line(message[:MAX_ERROR]),
        request_id,
        route or "-",
        endpoint or "-",
        extra={
            "request_id": request_id,
            "status": status,
            "cause": cause,
            "method": verb,
            "target": path,
            "client": client,
            "route": route,
            "endpoint": endpoint,
        },
    )
