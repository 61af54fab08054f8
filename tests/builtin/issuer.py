"""An issuer of tokens: keys of each kind, tokens that are right, and ways to make wrong ones."""

from __future__ import annotations

import functools
import json
import time
import warnings
from base64 import urlsafe_b64encode
from typing import Any

import trio
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from ..server.harness import Served

ISSUER = "https://idp.example"
AUDIENCE = "api"


def key(kind: str = "RSA", name: str = "one") -> Any:
    """One for all tests: making keys takes time. *kind*: RSA, P-256, P-384, P-521, Ed25519, oct."""
    return _key(kind, name)


@functools.cache
def _key(kind: str, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "RSA":
            return RSAKey.generate_key(2048, {"kid": name})
        if kind == "oct":
            return OctKey.generate_key(512, {"kid": name})
        return (OKPKey if kind == "Ed25519" else ECKey).generate_key(kind, {"kid": name})


ALGORITHMS = {
    "RSA": "RS256",
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    "Ed25519": "EdDSA",
    "oct": "HS256",
}


def jwks(*keys: Any, private: bool = False) -> bytes:
    return json.dumps({"keys": [one.as_dict(private=private) for one in keys]}).encode()


def part(value: Any) -> bytes:
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(octets).rstrip(b"=")


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600} | more


def token(
    payload: Any = None,
    *,
    kind: str = "RSA",
    name: str = "one",
    header: dict[str, Any] | None = None,
    by: Any = None,
) -> str:
    """Signed by that key, or *by* another one or a function, with the algorithm that *header* says."""
    head = {"alg": ALGORITHMS[kind], "kid": name, "typ": "JWT"} | (header or {})
    head = {field: value for field, value in head.items() if value is not None}
    signed = part(head) + b"." + part(claims() if payload is None else payload)
    if callable(by):
        signature = by(signed)
    else:
        algorithm = JWSRegistry.algorithms.get(head["alg"] if by is not None else ALGORITHMS[kind])
        signature = algorithm.sign(signed, by or key(kind, name)) if algorithm is not None else b""
    return (signed + b"." + part(signature)).decode()


class KeyServer:
    """Serves JWK Sets over HTTP/1.1, as it is told.

    Attributes:
        answers: what each request gets, the last one again and again: a body, a status, or None: it stalls.
        asked: how many requests came.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, served: Served) -> None:

        while True:
            await served.head()
            self.asked += 1
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                await trio.sleep_forever()
            status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
            await served.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
