"""``[auth.NAME.jwt]``: a signed token names the client (RFC 6750, RFC 7519).

A token that was verified once is known by a keyed digest until it ends, or the keys change: then it costs a
hash.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .identity import Identity, refused
from .tokens import BadToken, check_times, claim_text, find_claim, fits, read_token, verify

if TYPE_CHECKING:
    from blitz.config.auth_keys import JwtAuth

    from .jwks import KeySet, KeySource
    from .message import Message
    from .services import Answer, Moment, Services

__all__ = ["JwtAuthenticator"]

MAX_KNOWN = 4096  # tokens that are remembered ...
MAX_KNOWN_SIZE = 4096  # ... if their claims have so many bytes at most: 16 MiB in all
_BEARER = re.compile(rb"bearer +([^ ]+) *", re.IGNORECASE)
_NOT_FOR_FIELDS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|^\s|\s$")
HIDDEN = b"***"


class JwtAuthenticator:
    """Of one ``[auth]``.

    Args:
        keys: of a file.
        source: where they are fetched, if they are.
    """

    def __init__(self, name: str, settings: JwtAuth, keys: KeySet | None, source: KeySource | None) -> None:
        self._settings = settings
        self._file_keys = keys
        self.source = source
        self._algorithms = frozenset(settings.algorithms)
        self._place, _, of = settings.source.partition(":")
        self._of = (of if self._place == "cookie" else of.lower()).encode()
        if self._place == "query":
            self._of = of.encode()
        self._fields = tuple((field.lower().encode(), claim) for field, claim in settings.headers.items())
        self.owned = tuple(field for field, _ in self._fields)
        self._realm = b'Bearer realm="%s"' % name.encode()
        self._secret = os.urandom(32)
        self._known: dict[bytes, tuple[Identity, float, int]] = {}

    async def check(self, message: Message, services: Services) -> Identity | Answer:
        try:
            text = self._find(message, services)
        except BadToken as error:
            return refused(400, str(error), self._realm + b', error="invalid_request"')
        if text is None:
            return refused(401, "no token", self._realm)
        keys = await self._keys(services, None)
        if keys is None:
            assert self.source is not None
            why = f"the keys of its issuer cannot be had: {self.source.problem or 'they are being fetched'}"
            return refused(503, why, retry_after=5, cause="upstream_error")
        digest = self._digest(text)
        return self._remembered(digest, keys, services) or await self._verify(text, digest, keys, services)

    def known(self, message: Message, moment: Moment) -> Identity | None:
        if self._place != "header" or self._of:
            return None
        values = message.values(b"authorization")
        match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
        keys = self._file_keys if self.source is None else moment.keys_of(self.source)
        if match is None or keys is None:
            return None
        return self._remembered(self._digest(match[1]), keys, moment)

    def _digest(self, text: bytes) -> bytes:
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()

    def _remembered(self, digest: bytes, keys: KeySet, moment: Moment) -> Identity | None:
        """Whom the token of that digest names, if it was verified with *keys* and has not ended."""
        known = self._known.get(digest)
        if known is None:
            return None
        identity, ends, generation = known
        if moment.wall() < ends and generation == keys.generation:
            return identity
        del self._known[digest]
        return None

    async def _verify(
        self, text: bytes, digest: bytes, keys: KeySet, services: Services
    ) -> Identity | Answer:
        try:
            token = read_token(text)
            if token.algorithm not in self._algorithms:
                raise BadToken("the token is signed with an algorithm that is not allowed")
            candidates = keys.candidates(token.key_id, token.algorithm)
            if not candidates and self.source is not None:
                keys = await self._keys(services, keys) or keys
                candidates = keys.candidates(token.key_id, token.algorithm)
            claims = verify(token, candidates)
            ends = check_times(claims, services.wall(), self._settings.leeway)
            self._check_parties(claims)
            identity = self._identity(claims)
        except BadToken as error:
            return refused(401, str(error), self._realm + b', error="invalid_token"')
        for name, wanted in self._settings.required_claims.items():
            if not fits(name, find_claim(claims, name), wanted):
                challenge = self._realm + b', error="insufficient_scope"'
                return refused(403, f"the claim {name} is not what is required", challenge)
        if len(token.payload) <= MAX_KNOWN_SIZE:
            self._remember(digest, identity, ends, keys.generation)
        return identity

    def _remember(self, digest: bytes, identity: Identity, ends: float, generation: int) -> None:
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[digest] = (identity, ends, generation)

    async def _keys(self, services: Services, unfit: KeySet | None) -> KeySet | None:
        """The keys there are; those that come where there are none, or where *unfit* are those there are."""
        if self.source is None:
            return self._file_keys
        keys = services.keys_of(self.source)
        if keys is None or keys is unfit:
            await services.wait_for_keys(self.source)
            keys = services.keys_of(self.source)
        return keys

    def _check_parties(self, claims: dict[str, Any]) -> None:
        settings = self._settings
        if settings.issuer and claims.get("iss") != settings.issuer:
            raise BadToken("the token is another issuer's")
        if settings.audiences:
            audience = claims.get("aud")
            named = audience if isinstance(audience, list) else [audience]
            if not any(isinstance(one, str) and one in settings.audiences for one in named):
                raise BadToken("the token is for another audience")

    def _identity(self, claims: dict[str, Any]) -> Identity:
        named = find_claim(claims, self._settings.identity)
        if named is not None and isinstance(named, dict | list | bool):
            raise BadToken(f"the claim {self._settings.identity} names nobody")
        fields = []
        for field, claim in self._fields:
            value = find_claim(claims, claim)
            if value is None:
                continue
            text = claim_text(value)
            if _NOT_FOR_FIELDS.search(text):
                raise BadToken(f"the claim {claim} is not fit for a field")
            fields.append((field, text.encode("utf-8", "replace")))
        values = {f"jwt.{name}": claim_text(value) for name, value in claims.items()}
        return Identity(claim_text(named) if named is not None else "", values, tuple(fields))

    # -- where the token stands

    def _find(self, message: Message, services: Services) -> bytes | None:
        """None: there is none. Raises BadToken: there are several."""
        if self._place == "query":
            return self._from_query(message, services)
        if self._place == "cookie":
            found = [
                value.strip(b' "')
                for line in message.values(b"cookie")
                for name, equals, value in (pair.partition(b"=") for pair in line.split(b";"))
                if equals and name.strip() == self._of
            ]
            return _only(found, "cookies")
        if self._of:
            return _only(message.values(self._of), "fields")
        match = _BEARER.fullmatch(_only(message.values(b"authorization"), "fields") or b"")
        return match[1] if match else None

    def _from_query(self, message: Message, services: Services) -> bytes | None:
        path, mark, query = message.target.partition(b"?")
        pairs = [pair.partition(b"=") for pair in query.split(b"&")] if mark else []
        is_it = [unquote_to_bytes(name.replace(b"+", b" ")) == self._of for name, _, _ in pairs]
        if any(is_it):
            shown = [
                name + equals + (HIDDEN if hidden else value)
                for (name, equals, value), hidden in zip(pairs, is_it, strict=True)
            ]
            services.hide_target(path + mark + b"&".join(shown))
        found = [
            unquote_to_bytes(value) for (_, _, value), wanted in zip(pairs, is_it, strict=True) if wanted
        ]
        return _only(found, "parameters")

    def strip(self, message: Message) -> None:
        if not self._settings.remove_credentials:
            return
        if self._place == "query":
            path, mark, query = message.target.partition(b"?")
            kept = [
                pair
                for pair in query.split(b"&")
                if unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" ")) != self._of
            ]
            if mark:
                message.set_target(path + (mark + b"&".join(kept) if kept else b""))
        elif self._place == "cookie":
            self._strip_cookie(message)
        else:
            message.remove(self._of or b"authorization")

    def _strip_cookie(self, message: Message) -> None:
        kept = [
            pair.strip()
            for line in message.values(b"cookie")
            for pair in line.split(b";")
            if pair.partition(b"=")[0].strip() != self._of
        ]
        message.remove(b"cookie")
        if kept:
            message.set(b"cookie", b"; ".join(kept))


def _only(found: list[bytes], what: str) -> bytes | None:
    """Which of several is meant, others may read otherwise."""
    if len(found) > 1:
        raise BadToken(f"several {what} may hold the token")
    return found[0] if found and found[0] else None
