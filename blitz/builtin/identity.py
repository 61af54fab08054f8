"""What comes of a client's credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from .message import Facts
from .services import Answer

if TYPE_CHECKING:
    from .message import Message
    from .services import Moment, Services

__all__ = ["Authenticator", "Identity", "refused"]


class Identity:
    """A client that was let pass.

    Attributes:
        name: for logs and limits. facts: for plugins.
        fields: for upstreams and plugins, names in lower case.
        values: what facts were made of.
    """

    __slots__ = ("facts", "fields", "name", "values")

    def __init__(
        self, name: str, values: Mapping[str, str], fields: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self.name = name
        self.values = dict(values) | ({"identity": name} if name else {})
        self.facts = Facts(self.values)
        self.fields = fields


class Authenticator(Protocol):
    """One entry of ``[auth]``.

    Attributes:
        owned: fields that it tells upstreams, in lower case: a client's own are removed.
    """

    owned: tuple[bytes, ...]

    async def check(self, message: Message, services: Services) -> Identity | Answer:
        """Who the client is, or what it is answered. Raises BlitzError."""
        ...

    def known(self, message: Message, moment: Moment) -> Identity | None:
        """What ``check`` would find, where credentials in the Authorization field were checked a moment ago;
        None: ask ``check``."""
        ...

    def strip(self, message: Message) -> None:
        """The client has been let pass: take its credentials away, if upstreams must not have them."""
        ...


def refused(status: int, why: str, *challenges: bytes, retry_after: int = 0, cause: str = "denied") -> Answer:
    """The answer to a client that is not let pass; *why* is for the log."""
    fields = [(b"www-authenticate", challenge) for challenge in challenges]
    if retry_after:
        fields.append((b"retry-after", b"%d" % retry_after))
    return Answer(status, cause, why, tuple(fields))
