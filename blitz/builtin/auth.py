"""The filter behind a route's ``auth``, and how several ways to authenticate come together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .identity import Authenticator, Identity
from .services import Answer

if TYPE_CHECKING:
    from .message import Message
    from .services import Moment, Services

__all__ = ["AllOf", "AnyOf", "AuthFilter"]

_CHALLENGE = b"www-authenticate"


class AuthFilter:
    """Only clients that an authenticator lets pass go on."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def request(self, message: Message, services: Services) -> Answer | None:
        for name in self._authenticator.owned:
            message.remove(name)
        found = await self._authenticator.check(message, services)
        if isinstance(found, Answer):
            return found
        self._authenticator.strip(message)
        for name, value in found.fields:
            message.set(name, value)
        message.know(found.name, found.facts)
        return None

    def let_pass(self, message: Message, moment: Moment) -> Identity | None:
        """The same at once for a client that is known; None: it is not, and ``request`` has to be asked,
        which finds the request as it would have been.

        Raises: ClientError, as ``request`` will.
        """
        found = self._authenticator.known(message, moment)
        if found is None:
            return None
        for name in self._authenticator.owned:
            message.remove(name)
        for name, value in found.fields:
            message.set(name, value)
        # The credentials last: until here nothing is lost.
        self._authenticator.strip(message)
        message.know(found.name, found.facts)
        return found


class AnyOf:
    """Asked in turn until one lets the client pass.

    If none does, an answer that a service gave (a page to log in) is the client's, the last one's; else 403
    where one knew the client, else 503 where one could not tell, else 401 with all challenges.
    """

    def __init__(self, parts: Sequence[Authenticator]) -> None:
        self._parts = tuple(parts)
        self.owned = tuple(dict.fromkeys(name for part in parts for name in part.owned))

    async def check(self, message: Message, services: Services) -> Identity | Answer:
        answers = []
        for part in self._parts:
            found = await part.check(message, services)
            if isinstance(found, Identity):
                return found
            answers.append(found)
        return _strongest(answers)

    def known(self, message: Message, moment: Moment) -> Identity | None:
        return None  # those in front of the one that knows it may have something to say

    def strip(self, message: Message) -> None:
        """Of all: which of them has let it pass does not say whose the rest is."""
        for part in self._parts:
            part.strip(message)


def _strongest(answers: Sequence[Answer]) -> Answer:
    for answer in reversed(answers):
        if answer.reply is not None:
            return answer
    for status in (403, 503):
        for answer in answers:
            if answer.status == status:
                return answer
    challenges = tuple(
        dict.fromkeys(pair for answer in answers for pair in answer.fields if pair[0] == _CHALLENGE)
    )
    first = next((answer for answer in answers if answer.status != 401), answers[0])
    if first.status != 401:
        return first
    return Answer(401, first.cause, "; ".join(answer.why for answer in answers), challenges)


class AllOf:
    """All must let the client pass; the first one that names it does."""

    def __init__(self, parts: Sequence[Authenticator]) -> None:
        self._parts = tuple(parts)
        self.owned = tuple(dict.fromkeys(name for part in parts for name in part.owned))

    async def check(self, message: Message, services: Services) -> Identity | Answer:
        name = ""
        values: dict[str, str] = {}
        fields: dict[bytes, bytes] = {}
        for part in self._parts:
            found = await part.check(message, services)
            if isinstance(found, Answer):
                return found
            name = name or found.name
            values = found.values | values
            fields = dict(found.fields) | fields
        return Identity(name, values, tuple(fields.items()))

    def known(self, message: Message, moment: Moment) -> Identity | None:
        return None

    def strip(self, message: Message) -> None:
        for part in self._parts:
            part.strip(message)
