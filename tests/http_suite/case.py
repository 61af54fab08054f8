"""What a case is: bytes sent, an upstream's script, and what must hold on both wires.

``T0KEN`` in any bytes of a case is replaced by a word of the same length that is unique to the run of
that case, so that a request which turns up later than it should is recognised. Targets of a case begin
with ``/T0KEN`` wherever their form allows it. A target that holds ``smuggled`` must never be seen by
the upstream, whatever else a case allows.

Some things hold for every case and need no mention in it (``judge.py``): each wire reads as strict
HTTP/1.1, no connection-level field passes, every answer belongs to its request, and a well-behaved
client right behind gets its own clean answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .wire import Request, Response

__all__ = [
    "ADVISABLE",
    "STRICT",
    "Await",
    "AwaitAnswers",
    "AwaitClientGone",
    "AwaitUpstream",
    "Byte",
    "Case",
    "Close",
    "Expect",
    "HalfClose",
    "Observation",
    "Pause",
    "ReadBody",
    "Reset",
    "Script",
    "Seen",
    "Step",
]

Level = Literal["strict", "advisable"]
STRICT: Level = "strict"
ADVISABLE: Level = "advisable"
TOKEN = b"T0KEN"


# ---------------------------------------------------------------- steps of either side
@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class HalfClose:
    """Send FIN, go on reading."""


@dataclass(frozen=True)
class Close:
    """Close in both directions, orderly."""


@dataclass(frozen=True)
class Reset:
    """Close with RST."""


@dataclass(frozen=True)
class Byte:
    """Send these one byte at a time, each in a segment of its own."""

    data: bytes


@dataclass(frozen=True)
class Await:
    """Client: go on when this many heads of responses have arrived (interim ones count), or the
    connection ended, or *within* seconds passed."""

    heads: int = 1
    within: float = 3.0


@dataclass(frozen=True)
class AwaitAnswers:
    """Client: go on when this many final responses are whole and the upstream has said all it has to say
    about them, or the connection ended, or *within* seconds passed."""

    answers: int = 1
    within: float = 3.0


@dataclass(frozen=True)
class AwaitUpstream:
    """Client: go on when the upstream has seen this many request heads of this case (or after *within*)."""

    heads: int = 1
    within: float = 3.0


@dataclass(frozen=True)
class AwaitClientGone:
    """Upstream: go on when the client has closed or reset its connection (or after *within*)."""

    within: float = 3.0


@dataclass(frozen=True)
class ReadBody:
    """Upstream: go on when the whole request has arrived (or its connection ended)."""


Waits = Await | AwaitAnswers | AwaitUpstream | AwaitClientGone | ReadBody
Step = bytes | Byte | Pause | HalfClose | Close | Reset | Waits


@dataclass(frozen=True)
class Script:
    """What the upstream does about one request, instead of the default answer.

    It starts when the request is complete, or with ``on="head"`` as soon as its head is.
    """

    steps: tuple[Step, ...]
    on: Literal["request", "head"] = "request"


# ---------------------------------------------------------------- what must hold
@dataclass(frozen=True)
class Seen:
    """One request as the upstream must have read it. None: not checked."""

    method: bytes | None = b"GET"
    target: bytes | None = b"/T0KEN"
    body: bytes | None = b""
    has: tuple[tuple[bytes, bytes], ...] = ()  # field name -> exactly this one value
    lacks: tuple[bytes, ...] = ()
    hosts: tuple[bytes, ...] = ()  # Host must be one of these
    trailers: tuple[tuple[bytes, bytes], ...] | None = None


@dataclass(frozen=True)
class Expect:
    """One acceptable outcome. A case passes when any of its outcomes holds.

    Attributes:
        statuses: per final response, the statuses allowed; () means that none may arrive.
        seen: the complete requests that reached the upstream, in order; None: not checked.
        heads: how many request heads may have reached it at most, complete or not; None: as many as seen.
        closed: the client's connection must be closed (True), serve another request (False), either (None).
        truncated: the last response must be visibly cut short (True), complete (False), either (None).
        body: of the last response.
        interim: statuses of interim responses; None: not checked.
        has, lacks: fields of the last final response.
        never_up, never_down: bytes that must not appear on that wire, whatever happens.
        links: upstream connections this case may have used (probes not counted), at most.
        check: anything else; returns complaints.
    """

    statuses: tuple[frozenset[int], ...] = (frozenset({200}),)
    seen: tuple[Seen, ...] | None = (Seen(),)
    heads: int | None = None
    closed: bool | None = None
    truncated: bool | None = False
    body: bytes | None = None
    interim: tuple[int, ...] | None = None
    has: tuple[tuple[bytes, bytes], ...] = ()
    lacks: tuple[bytes, ...] = ()
    never_up: tuple[bytes, ...] = ()
    never_down: tuple[bytes, ...] = ()
    max_seconds: float | None = None
    check: Callable[[Observation], list[str]] | None = None


@dataclass(frozen=True)
class Case:
    id: str  # family/what
    rfc: str  # section, or the name of the technique
    send: tuple[Step, ...]
    expect: tuple[Expect, ...]
    upstream: tuple[Script, ...] = ()  # for the first, second ... request; the default answer beyond
    level: Level = STRICT
    methods: tuple[bytes, ...] = (b"GET",)  # of the requests sent, for reading the answers
    answers: int = 1  # final responses to wait for
    follow: bool = True  # send one more request on the same connection
    profile: str = "plain"  # which settings the target runs with
    wait: float = 3.0  # seconds for all the answers
    note: str = ""

    @property
    def family(self) -> str:
        return self.id.split("/", 1)[0]


# ---------------------------------------------------------------- what was observed
@dataclass
class Arrival:
    """A request that reached the upstream, complete or not."""

    request: Request
    link: int  # which upstream connection
    index: int  # its place on that connection


@dataclass
class Observation:
    received: bytes = b""
    ended: str = "open"  # open, eof, reset
    refused_send: bool = False  # the gateway stopped reading before we had sent all
    interim: list[Response] = field(default_factory=list)
    final: list[Response] = field(default_factory=list)
    unread: bytes = b""  # after the last response
    client_error: str = ""  # why what the client got is no HTTP
    arrivals: list[Arrival] = field(default_factory=list)
    upstream_errors: list[str] = field(default_factory=list)
    upstream_bytes: bytes = b""
    links: int = 0
    kept: bool | None = None  # did the connection serve a further request
    follow_error: str = ""
    probe_errors: list[str] = field(default_factory=list)
    strays: list[bytes] = field(default_factory=list)  # targets that belong to no request of ours
    seconds: float = 0.0

    def summary(self) -> str:
        def short(data: bytes, n: int = 700) -> str:
            return repr(data if len(data) <= n else data[:n] + b"..." + str(len(data)).encode())

        lines = [
            f"client got   {short(self.received)} then {self.ended}"
            + {True: ", kept", False: ", not kept", None: ""}[self.kept],
            f"upstream got {short(self.upstream_bytes)}",
        ]
        return "\n".join(lines)
