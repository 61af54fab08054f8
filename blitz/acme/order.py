"""One order at an authority, from the account to the certificate: the package acme speaks, this says what.

Blocks for as long as DEADLINE: it runs in a thread.
"""

from __future__ import annotations

import datetime
import hashlib
import time
from dataclasses import dataclass
from typing import Any

from acme import challenges, client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.jwk import JWK, JWKRSA
from josepy.util import ComparableRSAKey

from blitz.acme.store import Store
from blitz.config.acme_keys import Acme
from blitz.server.placeholder import placeholder_pem

__all__ = ["OrderFailed", "life_of", "order"]

DEADLINE = 180.0  # seconds for the authority to validate and to issue
NETWORK_TIMEOUT = 30
SETTLE = 3.0  # seconds: every worker reads what is pending once a second
ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"  # RFC 8737 section 6.1
RATE_LIMITED = "rateLimited"


class OrderFailed(Exception):
    """The argument is a sentence. rate_limited: the authority has had enough of us for now."""

    def __init__(self, message: str, *, rate_limited: bool = False) -> None:
        super().__init__(message)
        self.rate_limited = rate_limited


@challenges.ChallengeResponse.register
class _TlsAlpnResponse(challenges.KeyAuthorizationChallengeResponse):
    typ = "tls-alpn-01"


@challenges.Challenge.register
class _TlsAlpn(challenges.KeyAuthorizationChallenge):
    """RFC 8737; the package has it no more."""

    response_cls = _TlsAlpnResponse
    typ = response_cls.typ

    def validation(self, account_key: JWK, **_: Any) -> str:
        return self.key_authorization(account_key)


@dataclass(frozen=True, slots=True)
class _Account:
    key: JWK
    client: client.ClientV2


def life_of(pem: bytes) -> tuple[float, float]:
    """From when to when the first certificate in *pem* is valid. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def order(settings: Acme, store: Store, name: str) -> None:
    """Get a certificate for *name* into *store*, whose lock the caller holds.

    Raises:
        OrderFailed: the authority refuses, or does not see that the name leads here.
        OSError: of the disk.
    """
    try:
        _order(settings, store, name)
    except messages.Error as exc:
        limited = exc.code == RATE_LIMITED
        raise OrderFailed(_sentence(exc), rate_limited=limited) from exc
    except errors.ValidationError as exc:
        raise OrderFailed(_why_not_valid(exc)) from exc
    except errors.TimeoutError as exc:
        raise OrderFailed(f"the authority had not decided after {DEADLINE:g} s") from exc
    except errors.Error as exc:
        raise OrderFailed(f"the authority's answer is not understood: {exc or type(exc).__name__}") from exc
    finally:
        store.clear_pending()


def _order(settings: Acme, store: Store, name: str) -> None:
    account = _account(settings, store)
    key = ec.generate_private_key(ec.SECP256R1())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    found = account.client.new_order(crypto_util.make_csr(key_pem, domains=[name]))
    store.clear_pending()
    asked = [body for body in (_challenge(settings, one) for one in found.authorizations) if body]
    for body in asked:
        _prepare(account.key, store, name, body)
    if asked:
        time.sleep(SETTLE)
    for body in asked:
        account.client.answer_challenge(body, body.chall.response(account.key))
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=DEADLINE)
    done = account.client.poll_and_finalize(found, deadline)
    chain = done.fullchain_pem.encode()
    life_of(chain)  # ValueError: no certificate, and the old one stays
    store.keep_certificate(name, chain, key_pem)


def _account(settings: Acme, store: Store) -> _Account:
    """Known to the authority already, or made."""
    pem = store.account_key()
    if pem is None:
        made = rsa.generate_private_key(public_exponent=65537, key_size=3072)
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        store.keep_account_key(pem)
    loaded = serialization.load_pem_private_key(pem, None)
    key = JWKRSA(key=ComparableRSAKey(loaded))  # type: ignore[arg-type]
    verify: Any = settings.ca or True  # a path, for requests
    network = client.ClientNetwork(key, verify_ssl=verify, user_agent="blitz", timeout=NETWORK_TIMEOUT)
    directory = client.ClientV2.get_directory(settings.directory, network)
    spoken = client.ClientV2(directory, network)
    wanted = messages.NewRegistration.from_data(
        email=settings.email or None,
        terms_of_service_agreed=settings.agree_terms,
        external_account_binding=_binding(settings, key, directory),
    )
    try:
        network.account = spoken.new_account(wanted)
    except errors.ConflictError as exc:
        known = messages.RegistrationResource(uri=exc.location, body=messages.Registration())
        network.account = known
        spoken.query_registration(known)
    return _Account(key, spoken)


def _binding(settings: Acme, key: JWK, directory: messages.Directory) -> Any:
    if not settings.eab_kid:
        return None
    return messages.ExternalAccountBinding.from_data(
        account_public_key=key.public_key(),
        kid=settings.eab_kid,
        hmac_key=settings.eab_key,
        directory=directory,
    )


def _challenge(settings: Acme, authorization: messages.AuthorizationResource) -> Any:
    """The one of the kind that is configured; None: the authority still believes us from before."""
    if authorization.body.status == messages.STATUS_VALID:
        return None
    offered = authorization.body.challenges
    found = next((one for one in offered if one.chall.typ == settings.challenge), None)
    if found is None:
        kinds = ", ".join(str(one.chall.typ) for one in offered)
        raise OrderFailed(
            f"the authority offers {kinds}, and not {settings.challenge}; change tls.acme.challenge"
        )
    return found


def _prepare(key: JWK, store: Store, name: str, body: Any) -> None:
    told = body.chall.key_authorization(key).encode()
    if body.chall.typ == "http-01":
        store.put_pending(body.chall.encode("token"), told)
        return
    digest = hashlib.sha256(told).digest()  # RFC 8737 section 3: an OCTET STRING
    store.put_pending(f"{name}.pem", placeholder_pem(name, ((ACME_IDENTIFIER, b"\x04\x20" + digest),)))


def _sentence(error: messages.Error) -> str:
    said = error.detail or error.description or error.typ
    more = "; ".join(str(one.detail) for one in error.subproblems or () if one.detail)
    return f"the authority says: {said}" + (f" ({more})" if more else "")


def _why_not_valid(error: errors.ValidationError) -> str:
    said = [
        str(one.error.detail)
        for authorization in error.failed_authzrs
        for one in authorization.body.challenges
        if one.error is not None
    ]
    return f"the authority does not see that the name leads here: {'; '.join(said) or 'no reason is given'}"
