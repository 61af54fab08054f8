"""Signed tokens (RFC 7515, RFC 7519): read strictly, verified with a key of the right kind, claims checked.

The rules of RFC 8725 that matter here: the algorithm is one that the operator has named, and the key is one
that was published for it, so a token chooses neither; ``jku``, ``jwk``, ``x5u`` and ``x5c`` of a token are
not looked at; what ``crit`` names is not known here, and refused.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from joserfc.jws import JWSRegistry

if TYPE_CHECKING:
    from .jwks import VerificationKey

__all__ = ["BadToken", "Token", "check_times", "claim_text", "find_claim", "fits", "read_token", "verify"]

MAX_TOKEN = 16 * 1024  # bytes
_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class BadToken(Exception):
    """The token does not show who the client is; the argument is a sentence without anything of it."""


@dataclass(frozen=True, slots=True)
class Token:
    """As it was read: nothing of it is believed before ``verify``. key_id: None: it names none."""

    signed: bytes
    signature: bytes
    algorithm: str
    key_id: str | None
    payload: bytes


def read_token(text: bytes) -> Token:
    """Read the compact form. Raises BadToken."""
    if len(text) > MAX_TOKEN:
        raise BadToken(f"the token is longer than {MAX_TOKEN} bytes")
    match = _COMPACT.fullmatch(text)
    if match is None:
        raise BadToken("the token is not a signed one in compact form")
    header = _object(_octets(match[1]), "header")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (key_id is None or isinstance(key_id, str)):
        raise BadToken("the token's header names no algorithm, or a key in another form than text")
    if "crit" in header or header.get("b64", True) is not True:
        raise BadToken("the token's header has extensions that must be understood")
    return Token(text[: match.end(2)], _octets(match[3]), algorithm, key_id, _octets(match[2]))


def verify(token: Token, keys: Sequence[VerificationKey]) -> dict[str, Any]:
    """The claims, if one of *keys* has signed them. Raises BadToken."""
    for key in keys:
        if token.algorithm in key.algorithms and _is_signed(token, key):
            return _object(token.payload, "payload")
    raise BadToken("the token's signature is not that of a key there is")


def _is_signed(token: Token, key: VerificationKey) -> bool:
    algorithm = JWSRegistry.algorithms[token.algorithm]
    try:
        algorithm.check_key(key.key)
        return bool(algorithm.verify(token.signed, token.signature, key.key))
    except Exception:  # a signature of a wrong size, a point off the curve: not signed
        return False


def _octets(part: bytes) -> bytes:
    try:
        octets = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise BadToken("the token is not base64url") from error
    return octets


def _object(octets: bytes, part: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(octets)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadToken(f"the token's {part} is not JSON") from error
    if not isinstance(found, dict):
        raise BadToken(f"the token's {part} is no object")
    return found


def check_times(claims: Mapping[str, Any], now: float, leeway: float) -> float:
    """When the token ends, with the leeway; seconds since 1970. Raises BadToken: not now."""
    ends = _time(claims, "exp")
    if ends is None:
        raise BadToken("the token has no exp: it would hold for ever")
    if now >= ends + leeway:
        raise BadToken("the token has expired")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and now < begins - leeway:
            raise BadToken(f"the token's {name} is yet to come")
    return ends + leeway


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadToken(f"the token's {name} is no time")
    return float(min(max(value, -1e15), 1e15))


def find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of that name, or, where a dot leads, of a table in it; None: there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def claim_text(value: Any) -> str:
    """A claim for a field or a property: text as it is, else JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def fits(name: str, value: Any, wanted: Any) -> bool:
    """The claim *name* is *wanted*, or holds it; of a list of things, one of them."""
    allowed = wanted if isinstance(wanted, list) else [wanted]
    held = value.split() if name == "scope" and isinstance(value, str) else value
    held = held if isinstance(held, list) else [held]
    return any(type(one) is type(other) and one == other for one in held for other in allowed)
