"""The keys of ``[tls.acme]``: certificates that the gateway gets for itself."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from blitz.config.values import FilePath, Model

__all__ = ["Acme", "certificate_file"]


class Acme(Model, frozen=True):
    """Certificates by ACME (RFC 8555), one for each name; needs the package acme. With `domains` it is on.
    Until the first certificate is there, TLS listeners show one that nobody trusts."""

    domains: Annotated[
        list[str],
        Meta(description="names that lead here, such as `example.org`; no wildcards, which need DNS"),
    ] = field(default_factory=list)
    directory: Annotated[
        str, Meta(description="of the authority; another one for tests: Let's Encrypt limits failures")
    ] = "https://acme-v02.api.letsencrypt.org/directory"
    email: Annotated[str, Meta(description="where the authority writes to; empty: nowhere")] = ""
    agree_terms: Annotated[
        bool, Meta(description="you have read the authority's terms and agree; without it nothing is asked")
    ] = False
    challenge: Annotated[
        Literal["http-01", "tls-alpn-01"],
        Meta(
            description="how the authority sees that the names lead here: at port 80, which a listener "
            "without TLS must serve, or at port 443, on a listener with TLS"
        ),
    ] = "http-01"
    storage: Annotated[
        FilePath,
        Meta(
            description="a directory of this service alone for account, keys and certificates; it has to stay"
        ),
    ] = ""
    ca: Annotated[
        FilePath, Meta(description="PEM: who signs the authority's own certificate, if not public")
    ] = ""
    eab_kid: Annotated[
        str, Meta(description="key identifier of an account at the authority (external account binding)")
    ] = ""
    eab_key: Annotated[str, Meta(description="its key in base64url; better `${file:...}`")] = ""


def certificate_file(storage: str, domain: str) -> str:
    """Where the certificate of *domain*, its chain and its key are, all in one file."""
    return f"{storage}/certificates/{domain}.pem"
