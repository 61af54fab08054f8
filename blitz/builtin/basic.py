"""``[auth.NAME.basic]``: user names and passwords (RFC 7617).

A check costs tens or hundreds of milliseconds, on purpose, and whoever likes may ask for one. So it runs
beside the event loop, few at once, and few wait (``Services.compute``); what is known is remembered by a
keyed digest: a password that fitted for ``cache``, one that did not for a moment, so that a client that
repeats it costs nothing. A name that is not there costs what one costs that is.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .identity import Identity, refused
from .services import TooBusy
from .users import stand_in

if TYPE_CHECKING:
    from blitz.config.auth_keys import BasicAuth

    from .message import Message
    from .services import Answer, Moment, Services
    from .users import Hash

__all__ = ["BasicAuthenticator"]

MAX_KNOWN = 4096
WRONG_FOR = 10.0  # seconds that a wrong password is known to be wrong
MAX_CREDENTIALS = 1024  # bytes: a longer password is hashed by nobody
_BASIC = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE)
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")


class BasicAuthenticator:
    """Of one ``[auth]``."""

    def __init__(self, name: str, settings: BasicAuth, users: Mapping[bytes, Hash]) -> None:
        self._users = users
        self._cache = settings.cache
        self._challenge = b'Basic realm="%s", charset="UTF-8"' % (settings.realm or name).encode()
        self._field = settings.header.lower().encode()
        self._remove = settings.remove_credentials
        self.owned: tuple[bytes, ...] = (self._field,) if self._field else ()
        self._secret = os.urandom(32)
        self._known: dict[bytes, tuple[Identity | None, float]] = {}

    async def check(self, message: Message, services: Services) -> Identity | Answer:
        values = message.values(b"authorization")
        match = _BASIC.fullmatch(values[0]) if len(values) == 1 else None
        if match is None:
            return refused(401, "no name and password", self._challenge)
        try:
            credentials = b64decode(match[1], validate=True)
        except (binascii.Error, ValueError):
            credentials = b""
        name, colon, password = credentials.partition(b":")
        if not colon or len(credentials) > MAX_CREDENTIALS or _CONTROLS.search(name):
            return refused(401, "credentials are malformed", self._challenge)
        digest = self._digest(credentials)
        known = self._known.get(digest)
        if known is None or services.now() >= known[1]:
            try:
                fits = await services.compute(lambda: self._fits(name, password), digest, message.client)
            except TooBusy:
                return refused(503, "too many passwords wait to be checked", retry_after=1, cause="limit")
            known = self._remember(digest, name if fits else None, services.now())
        return known[0] or refused(401, "name or password is wrong", self._challenge)

    def known(self, message: Message, moment: Moment) -> Identity | None:
        values = message.values(b"authorization")
        match = _BASIC.fullmatch(values[0]) if len(values) == 1 else None
        if match is None:
            return None
        try:
            known = self._known.get(self._digest(b64decode(match[1], validate=True)))
        except (binascii.Error, ValueError):
            return None
        return known[0] if known is not None and moment.now() < known[1] else None

    def _digest(self, credentials: bytes) -> bytes:
        return hashlib.blake2b(credentials, key=self._secret, digest_size=32).digest()

    def _fits(self, name: bytes, password: bytes) -> bool:
        """Runs in a thread. Every name costs one hash."""
        there = self._users.get(name)
        if there is not None:
            return there.fits(password)
        number = hashlib.blake2b(name, key=self._secret, digest_size=8).digest()
        stand_in(self._users, int.from_bytes(number, "big")).fits(password)
        return False

    def _remember(self, digest: bytes, name: bytes | None, now: float) -> tuple[Identity | None, float]:
        identity = None
        if name is not None:
            fields = ((self._field, name),) if self._field else ()
            identity = Identity(name.decode("utf-8", "replace"), {}, fields)
        known = (identity, now + (self._cache if identity is not None else WRONG_FOR))
        if len(self._known) >= MAX_KNOWN:
            del self._known[self._least_needed()]
        self._known[digest] = known
        return known

    def _least_needed(self) -> bytes:
        """The oldest; of those that are wrong, if one is among the oldest few: guesses must not drive out
        users."""
        first = next(iter(self._known))
        for number, (digest, (identity, _)) in enumerate(self._known.items()):
            if identity is None:
                return digest
            if number >= 16:
                break
        return first

    def strip(self, message: Message) -> None:
        if self._remove:
            message.remove(b"authorization")
