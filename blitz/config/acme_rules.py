"""What ``[tls.acme]`` must mean beyond its shape."""

from __future__ import annotations

import ipaddress

from blitz.config.addresses import check_server_name
from blitz.config.model import Config, Listener
from blitz.config.source import Bad, Document

__all__ = ["check_acme"]


def check_acme(config: Config, document: Document) -> None:
    """Report what no certificate can be ordered with."""
    acme = config.tls.acme
    if not acme.domains:
        return
    at = ("tls", "acme")
    for index, name in enumerate(acme.domains):
        if not isinstance(name, Bad) and (problem := _why_not(name)):
            document.report((*at, "domains", index), problem)
    if len(set(acme.domains)) != len(acme.domains):
        document.report((*at, "domains"), "names a domain twice; leave one out")
    if not acme.storage and not isinstance(acme.storage, Bad):
        document.report(
            (*at, "storage"), "is missing: write a directory for keys and certificates, which has to stay"
        )
    if not acme.agree_terms:
        document.report(
            (*at, "agree_terms"),
            "read the authority's terms and write agree_terms = true; nothing is asked before",
        )
    if not isinstance(acme.directory, Bad) and not acme.directory.startswith("https://"):
        document.report((*at, "directory"), f'"{acme.directory}" is no https:// URL of an ACME directory')
    if bool(acme.eab_kid) != bool(acme.eab_key):
        said, other = ("eab_kid", "eab_key") if acme.eab_kid else ("eab_key", "eab_kid")
        document.report((*at, said), f"needs `{other}`: both are said together, or neither")
    _listeners(config, document)


def _why_not(name: str) -> str:
    """Why no certificate can be ordered for *name*, or ""."""
    if name.startswith("*."):
        return f'"{name}" is a wildcard, for which authorities want entries in the DNS; write the names'
    try:
        check_server_name(name)
    except ValueError as error:
        return str(error)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "" if name == name.lower() else f'"{name}" has capital letters; write "{name.lower()}"'
    return f'"{name}" is an address; certificates are ordered for names'


def _listeners(config: Config, document: Document) -> None:
    encrypted = [isinstance(one, Listener) and one.tls for one in config.listen]
    if not any(encrypted):
        document.report(
            ("tls", "acme", "domains"),
            "no listener has TLS, so nobody would see the certificates; write "
            'listen = [":80", { address = ":443", tls = true }]',
        )
    elif config.tls.acme.challenge == "http-01" and all(encrypted):
        document.report(
            ("tls", "acme", "challenge"),
            "with http-01 the authority asks at port 80 without TLS, where no listener is; add "
            'one to `listen`, such as ":80", or write challenge = "tls-alpn-01"',
        )
