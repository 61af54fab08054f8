"""A certificate for a name whose own has not been issued yet, so that its listener can start.

Nobody trusts it: it is signed by its own key, which is made anew each time and kept in memory only.
"""

from __future__ import annotations

import datetime

__all__ = ["placeholder_pem"]

LIFE = datetime.timedelta(days=7)


def placeholder_pem(name: str, extensions: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    """Certificate and key.

    Args:
        extensions: dotted identifier and DER value of further, critical extensions.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID, ObjectIdentifier

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "not issued yet")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    for identifier, value in extensions:
        known = x509.UnrecognizedExtension(ObjectIdentifier(identifier), value)
        made = made.add_extension(known, critical=True)
    certificate = made.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
