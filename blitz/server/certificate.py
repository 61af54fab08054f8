"""The names in a certificate, for choosing among several by SNI, and when it ends.

Python's ssl reads a peer's certificate after a handshake, but not our own file; so the little that is needed
is found here. A reader for the distinguished encoding (X.690) of what RFC 5280 section 4.1
describes, no more: nothing is verified, the operator vouches for the file.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl

__all__ = ["CertificateError", "end_of", "first_certificate", "names_in"]

UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, OCTET_STRING, OBJECT_ID = 0x30, 0x04, 0x06
EXTENSIONS = 0xA3  # [3] of TBSCertificate
SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))  # 2.5.29.17, RFC 5280 section 4.2.1.6
DNS_NAME, IP_ADDRESS = 0x82, 0x87
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class CertificateError(ValueError):
    """Not a certificate; the argument is one sentence."""


def first_certificate(pem: str) -> bytes:
    """The encoding of the first certificate in a PEM file: the one that is shown as our own.

    Raises: CertificateError.
    """
    start = pem.find(_BEGIN)
    end = pem.find(_END, start)
    if start < 0 or end < 0:
        raise CertificateError(f"holds no certificate; a PEM file has lines {_BEGIN} and {_END}")
    try:
        return ssl.PEM_cert_to_DER_cert(pem[start : end + len(_END)])
    except ValueError:
        raise CertificateError("holds a certificate whose base64 is broken") from None


def names_in(der: bytes) -> list[str]:
    """DNS names (lower case, as written: ``*.example.org``) and IP addresses of the subjectAltName.

    The common name is not one of them (RFC 9525 section 6.3 and every browser).
    Raises: CertificateError.
    """
    names: list[str] = []
    for tag, value in _alt_names(der):
        if tag == DNS_NAME:
            names.append(value.decode("ascii", "replace").lower())
        elif tag == IP_ADDRESS and len(value) in (4, 16):
            names.append(str(ipaddress.ip_address(value)))
    return names


def end_of(der: bytes) -> float:
    """notAfter (RFC 5280 section 4.1.2.5) in seconds since the epoch; not a number when it is no time.

    Raises: CertificateError.
    """
    _, certificate, _ = _element(der, 0)
    _, body, _ = _element(certificate, 0)
    for tag, value in _elements(body):
        if tag != SEQUENCE or not value or value[0] not in (UTC_TIME, GENERALIZED_TIME):
            continue
        kind, text = _elements(value)[-1]
        # Of two digits, those from 50 on are of the last century.
        century = "" if kind == GENERALIZED_TIME else "19" if text[:1] >= b"5" else "20"
        try:
            end = datetime.datetime.strptime(century + text.decode("ascii"), "%Y%m%d%H%M%SZ")
        except ValueError:
            return float("nan")
        return end.replace(tzinfo=datetime.UTC).timestamp()
    return float("nan")


def _alt_names(der: bytes) -> list[tuple[int, bytes]]:
    tag, certificate, _ = _element(der, 0)
    if tag != SEQUENCE:
        raise CertificateError("does not begin as a certificate does")
    _, body, _ = _element(certificate, 0)
    for tag, value in _elements(body):
        if tag == EXTENSIONS:
            _, extensions, _ = _element(value, 0)
            for _, extension in _elements(extensions):
                parts = _elements(extension)
                if parts and parts[0] == (OBJECT_ID, SUBJECT_ALT_NAME) and parts[-1][0] == OCTET_STRING:
                    _, names, _ = _element(parts[-1][1], 0)
                    return _elements(names)
    return []


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at < len(data):
        tag, value, at = _element(data, at)
        found.append((tag, value))
    return found


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """(tag, contents, position behind it); X.690 section 8.1, definite lengths, tags of one byte."""
    if len(data) - at < 2:
        raise CertificateError("ends inside a certificate")
    tag, size, at = data[at], data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4 or len(data) - at < count:
            raise CertificateError("has a length that no certificate has")
        size = int.from_bytes(data[at : at + count], "big")
        at += count
    if len(data) - at < size:
        raise CertificateError("ends inside a certificate")
    return tag, data[at : at + size], at + size
