"""What filters may wait for, and how they answer. The shell implements ``Services``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from blitz.http.reply import Reply

if TYPE_CHECKING:
    from .jwks import KeySet, KeySource
    from .message import Message

__all__ = ["Answer", "Filter", "Found", "Keys", "Moment", "Question", "Services", "TooBusy"]

T = TypeVar("T")


class TooBusy(Exception):
    """As many computations wait as may: none is begun."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a service is asked, with GET. fields: names and values, Host not among them."""

    upstream: str
    authority: str
    target: bytes
    timeout: float
    max_body: int
    fields: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A service's answer. fields: end to end, names in lower case, in order."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def value(self, name: bytes) -> bytes | None:
        """Of the first field called so."""
        return next((value for key, value in self.fields if key == name), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a filter answers instead of an upstream.

    Attributes:
        cause, why: for the log; no secret is in it. cause "": nothing went wrong.
        reply: None: the error text of its status, with ``fields``.
    """

    status: int
    cause: str = ""
    why: str = ""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    reply: Reply | None = field(default=None)


class Moment(Protocol):
    """What is known now, without waiting."""

    def wall(self) -> float:
        """Seconds since 1970."""
        ...

    def now(self) -> float:
        """Seconds, monotonic."""
        ...

    def keys_of(self, source: KeySource) -> KeySet | None:
        """The keys of *source*, unless there are none or they are too old."""
        ...


class Services(Moment, Protocol):
    """Of one exchange."""

    async def spend(self, key: bytes, interval: int, burst: int) -> int:
        """Take one token of *key*'s bucket: tokens left (>= 0), or minus the milliseconds until there is one.
        One truth for all workers. *interval*: nanoseconds between two tokens."""
        ...

    async def compute(self, work: Callable[[], T], key: bytes, client: str) -> T:
        """What *work* returns, which runs beside the event loop, once for all who want the same *key* now.

        Raises TooBusy: too much waits, or too much of that *client*'s.
        """
        ...

    async def ask(self, question: Question) -> Found:
        """Ask a service. Raises UpstreamError, ShortageError."""
        ...

    async def wait_for_keys(self, source: KeySource) -> None:
        """Have keys fetched, and wait until that has come to an end or took too long."""
        ...

    def hide_target(self, target: bytes) -> None:
        """Let logs show *target*: the client's holds a secret."""
        ...


class Keys(Protocol):
    """Whoever fetches them (``blitz/server/keys.py``)."""

    async def wait(self, source: KeySource) -> None:
        """See ``Services.wait_for_keys``."""
        ...


class Filter(Protocol):
    """Of one route; immutable but for what it remembers."""

    async def request(self, message: Message, services: Services) -> Answer | None:
        """Let the request pass, or answer. Raises BlitzError."""
        ...
