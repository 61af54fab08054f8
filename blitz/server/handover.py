"""Where the fast path stops, and with what: a connection's task goes on from there on the general path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blitz.wasm.chain import CONTINUE

if TYPE_CHECKING:
    from blitz.builtin.identity import Identity
    from blitz.errors import BlitzError
    from blitz.http.buffer import Buffer

    from .endpoint import Endpoint, UpstreamConnection
    from .peer import Peer
    from .runtime import RouteEntry, Runtime

__all__ = ["CANCELLED", "CLOSED", "HEAD_BYTES", "RELOADED", "SHAKEN", "Handover", "Stream"]

CANCELLED = "cut off: the gateway was cancelled"
CLOSED = "closed"  # the client has gone between two requests, or its last one has been answered
RELOADED = "reloaded"  # what runs now may have no fast path; the next request is there, unread
SHAKEN = "shaken"  # its TLS handshake is done
HEAD_BYTES = "head bytes"  # the first bytes of a request are in connection.buffer


@dataclass(slots=True)
class Stream:
    """A body that was on its way when the fast path stopped.

    Attributes:
        is_response: of the response, whose head was sent; else of the request, whose head was sent.
        body: cffi ``blitz_body *``, how far it has come in.
        chunked: it goes out in chunked coding.
        closes: of the response: the connection ends with it.
        unsent: what came of it and was not sent yet, coded.
        failed: what ended it, BLITZ_BODY_* or BLITZ_STREAM_*; 0: nothing did.
    """

    is_response: bool
    body: Any
    chunked: bool
    closes: bool
    unsent: bytes
    failed: int


@dataclass(slots=True)
class Handover:
    """Where the fast path stopped with a complete request head in ``connection.buffer``.

    Attributes:
        cdata: the native exchange; its owner is whoever takes the handover.
        method, target: of the request as the client sent it.
        entry: the route, or None: nothing was decided yet.
        peer: the client, once plugins may have changed what it was found by.
        step: what the chain in cdata has come to; ``ChainRun.see_to`` takes it.
        upstream: the request was written to it; unsent is what is left of it.
        answer: holds what came of the answer; None: nothing was read yet.
        answer_size: bytes of its head, if plugins have been asked about it.
        answer_body: how its body comes in, with answer_size: what the head says of that may be theirs.
        failed: what came of its body, or without upstream of the request body, is none (BLITZ_BODY_*); or 0.
        stream: the body that is on its way; None: no one is.
        endpoint: where the request went, when the upstream connection is not needed any more.
        is_local: a response of our own is in cdata, and plugins have been asked about it.
        error: what that response tells of.
        unsent_answer: the answer was written to the client but for this; nothing else is left to do.
        closes: and the connection ends with it.
        body: cffi ``blitz_body *``, how the body of the request comes in, whatever plugins made of it;
            None: it has none. Known if decided.
        body_rate: cffi ``blitz_rate *``, what its sender owes; known with body.
        began: when the head was complete, on trio's clock.
        runtime: that it began on.
        identity: who the client is, if the route's filters have let it pass.
    """

    cdata: Any = None
    method: bytes = b""
    target: bytes = b""
    entry: RouteEntry | None = None
    peer: Peer | None = None
    step: int = CONTINUE
    upstream: UpstreamConnection | None = None
    unsent: bytes = b""
    answer: Buffer | None = None
    answer_size: int = 0
    answer_body: Any = None
    failed: int = 0
    stream: Stream | None = None
    endpoint: Endpoint | None = None
    is_local: bool = False
    error: BlitzError | None = None
    unsent_answer: bytes | None = None
    closes: bool = False
    body: Any = None
    body_rate: Any = None
    began: float = 0.0
    runtime: Runtime | None = None
    identity: Identity | None = None

    @property
    def decided(self) -> bool:
        """There is more than a request: the fast path knows where it goes."""
        return self.entry is not None or self.is_local
