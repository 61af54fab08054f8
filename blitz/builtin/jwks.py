"""Public keys of an issuer: what a JWK Set (RFC 7517) gives, and when it is fetched again.

What an issuer publishes is not trusted to be sane: sizes and counts are bounded, private members are left
out, secrets that everybody can read are no keys, and a set without one usable key replaces nothing.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

__all__ = ["BadKeys", "KeySet", "KeySource", "VerificationKey", "read_key_set"]

MAX_SIZE = 512 * 1024  # bytes of a JWK Set
MAX_KEYS = 100
MAX_KEYS_WITHOUT_ID = 8  # that are tried for a token that names none: each costs a verification
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # seconds between fetches that fail
# Members that a public key has; whatever else a set says stays out of the key.
_PUBLIC = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
    "oct": ("kty", "k"),
}
_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA",)}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # a shorter secret is none (RFC 7518 section 3.2)


class BadKeys(Exception):
    """The document is no JWK Set that can be used; the argument is a sentence."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """algorithms: those that it may verify."""

    key: Any
    id: str
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True)
class KeySet:
    """generation: another one for each set that replaces one."""

    by_id: dict[str, tuple[VerificationKey, ...]]
    all: tuple[VerificationKey, ...]
    generation: int = 0

    def candidates(self, key_id: str | None, algorithm: str) -> list[VerificationKey]:
        """Keys that may have signed such a token; a few."""
        among = self.all if key_id is None else self.by_id.get(key_id, ())
        return [key for key in among if algorithm in key.algorithms][:MAX_KEYS_WITHOUT_ID]


def read_key_set(data: bytes, *, secrets: bool, generation: int = 0) -> KeySet:
    """The keys of a JWK Set; those that cannot verify anything are left out.

    Costs some milliseconds: not for the event loop.

    Args:
        secrets: it may have symmetric keys; never, where others can read it.
    Raises:
        BadKeys: it is none, or has no usable key.
    """
    if len(data) > MAX_SIZE:
        raise BadKeys(f"is {len(data)} bytes; a JWK Set has at most {MAX_SIZE}")
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadKeys("is not JSON") from error
    items = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise BadKeys('is no JWK Set: an object with a list "keys"')
    if len(items) > MAX_KEYS:
        raise BadKeys(f"has {len(items)} keys; at most {MAX_KEYS} are taken")
    keys = tuple(key for item in items if (key := _read_key(item, secrets=secrets)) is not None)
    if not keys:
        raise BadKeys("has no key that can verify a signature")
    by_id: dict[str, tuple[VerificationKey, ...]] = {}
    for key in keys:
        by_id[key.id] = (*by_id.get(key.id, ()), key)
    return KeySet(by_id, keys, generation)


def _read_key(item: Any, *, secrets: bool) -> VerificationKey | None:
    if not isinstance(item, dict) or not _is_for_signatures(item):
        return None
    kind = item.get("kty")
    if not isinstance(kind, str) or kind not in _PUBLIC or (kind == "oct" and not secrets):
        return None
    members = {name: item[name] for name in _PUBLIC[kind] if isinstance(item.get(name), str)}
    if len(members) != len(_PUBLIC[kind]):
        return None
    algorithms = _algorithms_of(kind, members)
    said = item.get("alg")
    if said is not None:
        algorithms &= {said} if isinstance(said, str) else set()
    if not algorithms:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            key = _kinds()[kind].import_key(members)
            key.get_op_key("verify")  # makes the number-theoretic object now, and not on the first token
    except Exception:  # joserfc, cryptography and binascii each have their own, and a bad key is no key
        return None
    name = item.get("kid")
    return VerificationKey(key, name if isinstance(name, str) else "", frozenset(algorithms))


@cache
def _kinds() -> dict[str, Any]:
    """The package is an extra, and keys are looked after whether or not there are any."""
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

    return {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey, "oct": OctKey}


def _is_for_signatures(item: dict[str, Any]) -> bool:
    operations = item.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return False
    return item.get("use") in (None, "sig")


def _algorithms_of(kind: str, members: dict[str, str]) -> set[str]:
    """Those that a key of that kind, curve and size may verify: never another family's."""
    if kind == "RSA":
        bits = len(members["n"]) * 6
        return (
            set(_RSA) if MIN_RSA_BITS - 6 <= bits <= MAX_RSA_BITS + 64 and len(members["e"]) <= 8 else set()
        )
    if kind == "oct":
        size = len(members["k"].rstrip("=")) * 3 // 4
        return {name for name, least in _HASH_BYTES.items() if size >= least}
    return set(_CURVES.get(members["crv"], ()))


@dataclass(slots=True, eq=False)
class KeySource:
    """Where a set of keys is fetched, what came of it, and when the next fetch is due. Times are seconds,
    monotonic.

    A set that is old is used while a newer one is fetched, and for ``max_stale`` seconds at most. A fetch
    that fails is made again after a pause, which doubles; whoever asks for keys meanwhile does not make it
    sooner.

    Attributes:
        name: of the ``[auth]``. upstream, authority, target: where.
        refresh, min_refresh, max_stale, timeout: seconds, as configured.
        keys: None before the first fetch.
        is_fetching: a fetch runs.
        problem: of the last fetch; "": it went well.
    """

    name: str
    upstream: str
    authority: str
    target: bytes
    refresh: float
    min_refresh: float
    max_stale: float
    timeout: float
    keys: KeySet | None = None
    is_fetching: bool = False
    problem: str = ""
    fetched_at: float = -math.inf
    began_at: float = -math.inf
    failures: int = 0
    document: bytes = field(default=b"", repr=False)
    _wanted: bool = field(default=False, repr=False)

    @property
    def due_at(self) -> float:
        """When the next fetch begins."""
        if self.failures:
            pause = min(FIRST_PAUSE * 2.0 ** min(self.failures - 1, 10), MAX_PAUSE)
            return self.began_at + max(pause, self.min_refresh if self.keys is not None else 0.0)
        if self.keys is None:
            return -math.inf
        return self.began_at + (self.min_refresh if self._wanted else self.refresh)

    def is_due(self, now: float) -> bool:
        return not self.is_fetching and now >= self.due_at

    def want(self) -> None:
        """Somebody has a token whose key is not there."""
        self._wanted = True

    def begin(self, now: float) -> None:
        """A fetch begins."""
        self.is_fetching = True
        self.began_at = now
        self._wanted = False

    def took(self, document: bytes, keys: KeySet, now: float) -> None:
        """The fetch has brought *keys*, read from *document*. The same as before are the same generation."""
        if self.keys is None or document != self.document:
            self.keys, self.document = keys, document
        self.fetched_at = now
        self.failures = 0
        self.problem = ""

    def failed(self, problem: str) -> None:
        """The fetch has come to nothing; what is known goes on."""
        self.failures += 1
        self.problem = problem

    def end(self) -> None:
        """The fetch is over, however it went."""
        self.is_fetching = False

    def usable(self, now: float) -> KeySet | None:
        """The keys, unless they are too old."""
        return self.keys if now - self.fetched_at <= self.max_stale else None

    def same_place(self, other: KeySource) -> bool:
        """Both fetch the same from the same."""
        mine = (self.upstream, self.authority, self.target)
        return mine == (other.upstream, other.authority, other.target)

    def go_on_from(self, other: KeySource) -> None:
        """Of an earlier configuration: what it knows is still true."""
        self.keys, self.document = other.keys, other.document
        self.fetched_at, self.began_at = other.fetched_at, other.began_at
        self.failures, self.problem = other.failures, other.problem
