"""TLS settings into ``ssl`` contexts: certificates chosen by name, watched for changes; upstreams verified.

Protocols and ciphers are Mozilla's intermediate recommendation without finite-field Diffie-Hellman: TLS 1.2
with ephemeral keys and authenticated encryption, and TLS 1.3. The order of ciphers is the client's, since
none of them is weak. Towards upstreams Python's own list is used, which has some older ciphers besides:
what an upstream can do is not up to its gateway.
"""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from blitz.config import Certificate, Resolved, ResolvedUpstream, Tls, UpstreamTls
from blitz.config.acme_keys import certificate_file
from blitz.config.positions import Path, path_text
from blitz.errors import ConfigError, ConfigProblem
from blitz.extras import how_to_install
from blitz.files import shown

from . import tls_native
from .pem import PemRefused, load_authorities, load_own
from .placeholder import placeholder_pem
from .stream import SocketStream
from .tls_stream import RAW_SIZE, TlsStream

__all__ = ["ClientTls", "ServerTls", "TlsFilesError", "TlsSettings", "peer_texts"]

_log = logging.getLogger("blitz.tls")

CIPHERS = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all good
ALPN = ["http/1.1"]
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}

Stamp = tuple[tuple[int, ...] | None, ...]


class TlsFilesError(ConfigError):
    """Source: operator. Files that the configuration names cannot be used.

    Attributes:
        found: (path of the key, sentence) for each.
    """

    def __init__(self, found: list[tuple[Path, str]]) -> None:
        super().__init__([ConfigProblem(sentence, key=path_text(path)) for path, sentence in found])
        self.found = found


class _ServerObject(ssl.SSLObject):
    """Remembers the name that the client asked for: ``ssl`` tells it to nobody else."""

    server_name = ""


@dataclass(slots=True, eq=False)
class _Pair:
    """One entry of ``tls.certs`` as it was last read.

    Attributes:
        end: of the certificate, in seconds since the epoch; or not a number.
        stamp: of the files when they were read.
        problem: why a newer state of the files is not in use; "".
        problem_stamp: of that state.
    """

    cert: str
    key: str
    context: ssl.SSLContext
    end: float
    names: list[str] = field(default_factory=list)
    stamp: Stamp = ()
    problem: str = ""
    problem_stamp: Stamp = ()


class ServerTls:
    """The certificates of a gateway's TLS listeners.

    Raises: TlsFilesError with every file that cannot be used.
    """

    def __init__(self, settings: Tls) -> None:
        self._settings = settings
        acme = settings.acme
        # Paths of certificates that have not been issued before the first order -> names
        self._ordered = {certificate_file(acme.storage, name): name for name in acme.domains}
        if self._ordered and (find_spec("acme") is None or find_spec("cryptography") is None):
            said = f"needs the package acme: {how_to_install('acme')}, or leave it out"
            raise TlsFilesError([(("tls", "acme", "domains"), said)])
        certs = [*settings.certs, *(Certificate(cert=path) for path in self._ordered)]
        self._raw = memoryview(bytearray(RAW_SIZE))
        self._pairs: list[_Pair] = []
        self._by_name: dict[str, ssl.SSLContext] = {}
        found: dict[Path, str] = {}
        for index, certificate in enumerate(certs):
            try:
                self._pairs.append(self._load(certificate.cert, certificate.key))
            except PemRefused as exc:
                found[_place(settings, index, exc.key)] = str(exc)
        if found:
            raise TlsFilesError(list(found.items()))
        self._index()
        tls_native.why_not()  # not with the first connection

    def wrap(self, stream: SocketStream) -> TlsStream:
        """The server's side of a connection; ``do_handshake`` comes next."""
        return TlsStream(stream, self._pairs[0].context, self._raw, server_side=True)

    def ends(self) -> list[tuple[str, float]]:
        """The file of each certificate, and when that ends: seconds since the epoch, or not a number."""
        return [(pair.cert, pair.end) for pair in self._pairs]

    # -- choosing

    def _index(self) -> None:
        names: dict[str, ssl.SSLContext] = {}
        for pair in self._pairs:
            for name in pair.names:
                names.setdefault(name, pair.context)  # the first one that is listed
        self._by_name = names

    def find(self, name: str) -> ssl.SSLContext:
        """The context for a host name: exact, else ``*.`` and all but its first label, else the first one."""
        name = name.lower().rstrip(".")
        found = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        return found or self._pairs[0].context

    def _choose(self, chosen: ssl.SSLObject, name: str | None, present: ssl.SSLContext) -> None:
        # Called inside the handshake. RFC 6066 section 3: an unknown name may be answered with any
        # certificate, as nginx does; the client decides.
        if name:
            if isinstance(chosen, _ServerObject):
                chosen.server_name = name
            context = self.find(name)
            if context is not present:
                chosen.context = context

    # -- files

    def read_changes(self) -> list[tuple[_Pair, _Pair | str, Stamp]]:
        """What has changed: (pair, what it is now or why that is not used, stamp). Reads files, and changes
        nothing: ``take`` does."""
        changes: list[tuple[_Pair, _Pair | str, Stamp]] = []
        for pair in self._pairs:
            stamp = self._stamp(pair.cert, pair.key)
            if not pair.problem and stamp == pair.stamp:
                continue
            try:
                changes.append((pair, self._load(pair.cert, pair.key), stamp))
            except PemRefused as exc:
                changes.append((pair, str(exc), stamp))
        return changes

    def take(self, changes: list[tuple[_Pair, _Pair | str, Stamp]]) -> None:
        """Use what ``read_changes`` found. A pair that is not good as a whole stays as it was, and the log
        says why."""
        for pair, found, stamp in changes:
            if isinstance(found, _Pair):
                self._pairs[self._pairs.index(pair)] = found
                _log.info("certificate %s read again", shown(pair.cert))
            else:
                self._keep(pair, found, stamp)
        self._index()

    def _keep(self, pair: _Pair, problem: str, stamp: Stamp) -> None:
        if (problem, stamp) != (pair.problem, pair.problem_stamp):
            _log.error("certificate not replaced, the old one goes on: %s", problem)
        pair.problem, pair.problem_stamp = problem, stamp

    def _stamp(self, cert: str, key: str) -> Stamp:
        # Inode and device too: an exchanged symbolic link may bring an older file.
        stamps: list[tuple[int, ...] | None] = []
        for path in filter(None, (cert, key, self._settings.client_ca)):
            try:
                found = os.stat(path)
                stamps.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError:
                stamps.append(None)
        return tuple(stamps)

    def _load(self, cert: str, key: str) -> _Pair:
        stamp = self._stamp(cert, key)
        settings = self._settings
        context = _bare_context(ssl.PROTOCOL_TLS_SERVER, settings.min_version)
        context.set_ciphers(CIPHERS)
        context.sslobject_class = _ServerObject
        context.sni_callback = self._choose
        name = self._ordered.get(cert)
        content = placeholder_pem(name) if name is not None and not os.path.lexists(cert) else None
        names, end = load_own(context, cert, key, content)
        context.verify_mode = CLIENT_AUTH[settings.client_auth]
        if settings.client_ca:
            load_authorities(context, settings.client_ca, "client_ca")
        if self._stamp(cert, key) != stamp:
            raise PemRefused("cert", f"{cert}: changed while it was being read")
        return _Pair(cert, key, context, end, names, stamp)


def _place(settings: Tls, index: int, key: str) -> Path:
    """Where the configuration says what has to do with *key* of the certificate that is number *index*."""
    if key == "client_ca":
        return ("tls", key)
    return ("tls", "certs", index, key) if index < len(settings.certs) else ("tls", "acme", "storage")


def _bare_context(protocol: ssl._SSLMethod, min_version: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = VERSIONS[min_version]
    context.set_alpn_protocols(ALPN)
    # Renegotiation lets a peer keep us computing (CVE-2011-1473).
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Python switches this on; with it a cut connection looks like one that was closed in order.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


class ClientTls:
    """How the https endpoints of one upstream are spoken to.

    Raises: TlsFilesError.
    """

    def __init__(self, name: str, settings: UpstreamTls) -> None:
        self._raw = memoryview(bytearray(RAW_SIZE))
        self._server_name = settings.server_name
        try:
            self._context = _client_context(settings)
        except PemRefused as exc:
            raise TlsFilesError([(("upstreams", name, "tls", exc.key), str(exc))]) from exc

    def wrap(self, stream: SocketStream, host: str) -> TlsStream:
        """The client's side of a connection to *host*; ``do_handshake`` comes next."""
        name = self._server_name or host
        return TlsStream(stream, self._context, self._raw, server_side=False, server_hostname=name)


def _client_context(settings: UpstreamTls) -> ssl.SSLContext:
    context = _bare_context(ssl.PROTOCOL_TLS_CLIENT, "1.2")
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca:
        load_authorities(context, settings.ca, "ca")
    else:
        context.load_default_certs()
    if settings.cert:
        load_own(context, settings.cert, settings.key)
    return context


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """All contexts of one configuration: server None without certificates; clients by upstream."""

    server: ServerTls | None
    clients: dict[str, ClientTls]

    @classmethod
    def load(cls, resolved: Resolved) -> TlsSettings:
        """Read every file that the configuration names. Slow: not on the event loop's thread.

        Raises: TlsFilesError with every file that cannot be used.
        """
        problems: list[tuple[Path, str]] = []
        server = None
        clients: dict[str, ClientTls] = {}
        try:
            server = ServerTls(resolved.tls) if resolved.tls.certs or resolved.tls.acme.domains else None
        except TlsFilesError as exc:
            problems += exc.found
        made: dict[UpstreamTls, ClientTls] = {}  # the system's authorities are large: read them once
        for name, upstream in _encrypted(resolved.upstreams.values()):
            try:
                if upstream.tls not in made:
                    made[upstream.tls] = ClientTls(name, upstream.tls)
                clients[name] = made[upstream.tls]
            except TlsFilesError as exc:
                problems += exc.found
        if problems:
            raise TlsFilesError(problems)
        return cls(server, clients)


def _encrypted(upstreams: Iterable[ResolvedUpstream]) -> list[tuple[str, ResolvedUpstream]]:
    return [
        (upstream.name, upstream)
        for upstream in upstreams
        if any(endpoint.scheme == "https" for endpoint in upstream.endpoints)
    ]


# -- what plugins see of a client's TLS

_SHORT = {  # RFC 4514 section 3
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}


def peer_texts(link: ssl.SSLObject) -> dict[str, str]:
    """The tls_* texts of ``blitz_peer`` after a handshake; a certificate's only when it was verified."""
    cipher = link.cipher()
    texts = {
        "tls_version": link.version() or "",
        "tls_cipher": cipher[0] if cipher else "",
        "tls_sni": link.server_name if isinstance(link, _ServerObject) else "",
    }
    if link.context.verify_mode != ssl.CERT_NONE:
        shown, encoded = link.getpeercert(), link.getpeercert(binary_form=True)
        if shown and encoded:
            texts["tls_client_subject"] = _name_text(shown.get("subject", ()))  # type: ignore[arg-type]
            texts["tls_client_sha256"] = hashlib.sha256(encoded).hexdigest()
    return texts


def _name_text(name: Sequence[Sequence[tuple[str, str]]]) -> str:
    """A distinguished name as RFC 4514 writes it: the most specific part first."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part)
        for part in reversed(name)
    )


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4; control characters as hex pairs, so that the text can stand in a header."""
    out = "".join(
        f"\\{character}"
        if character in ',+"\\<>;'
        else character
        if character >= " " and character != "\x7f"
        else f"\\{ord(character):02x}"
        for character in value
    )
    if out.startswith((" ", "#")):
        out = "\\" + out
    if out.endswith(" ") and len(out) > 1 and out[-2] != "\\":
        out = out[:-1] + "\\ "
    return out
