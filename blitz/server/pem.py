"""PEM files into ``ssl`` contexts: read once, by the rule of ``blitz.files``, and used as they were read.

``ssl`` takes paths only, and opens what they lead to by then. It gets that of a file in memory instead, which
holds what has been read.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator

from blitz.files import PEM, FileRefused, read_file

from .certificate import CertificateError, end_of, first_certificate, names_in

__all__ = ["PemRefused", "load_authorities", "load_own"]


class PemRefused(Exception):
    """A file cannot be used; (key within the table, one sentence)."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


class _Passphrase(Exception):
    pass


def _no_passphrase() -> str:
    raise _Passphrase


def load_own(
    context: ssl.SSLContext, cert: str, key: str, content: bytes | None = None
) -> tuple[list[str], float]:
    """Load certificate, chain and key, which have to fit each other; the names in the certificate, and when
    it ends (seconds since the epoch; not a number: it does not say).

    Args:
        cert, key: paths; key "": it is in the same file.
        content: instead of what is in the file *cert*.
    Raises:
        PemRefused.
    """
    chain = _read(cert, "cert") if content is None else content
    try:
        own = first_certificate(chain.decode("latin-1"))
        names, end = names_in(own), end_of(own)
    except CertificateError as exc:
        raise PemRefused("cert", f"{cert}: {exc}") from exc
    holder = key or cert
    secret = _read(key, "key") if key else chain
    try:
        with _in_memory(chain) as chain_path, _in_memory(secret) as secret_path:
            context.load_cert_chain(chain_path, secret_path, _no_passphrase)
    except _Passphrase:
        raise PemRefused(
            "key", f"{holder}: the key has a passphrase, and nobody is there to type it; store it without one"
        ) from None
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise PemRefused(
                "key", f"{holder}: this key does not belong to the certificate in {cert}"
            ) from exc
        raise PemRefused("key", f"{holder}: no PEM key and certificate: {_reason(exc)}") from exc
    return names, end


def load_authorities(context: ssl.SSLContext, path: str, key: str) -> None:
    """Believe the authorities in the file *path*, which *key* names.

    Raises:
        PemRefused.
    """
    content = _read(path, key)
    try:
        with _in_memory(content) as there:
            context.load_verify_locations(there)
    except ssl.SSLError as exc:
        raise PemRefused(key, f"{path}: holds no certificate in PEM: {_reason(exc)}") from exc


def _read(path: str, key: str) -> bytes:
    try:
        return read_file(path, PEM)
    except FileRefused as refused:
        raise PemRefused(key, f"{path}: {refused}") from refused


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """The path of a file without a name that holds *content*, which is no more than fits one write."""
    fd = os.memfd_create("blitz-pem", os.MFD_CLOEXEC)
    try:
        os.write(fd, content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _reason(exc: ssl.SSLError) -> str:
    return (exc.reason or "unknown error").lower().replace("_", " ")
