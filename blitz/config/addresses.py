"""Addresses, host patterns and path prefixes as configuration spells them.

Syntax only: nothing is looked up. Errors are ValueError with one sentence.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from itertools import product
from urllib.parse import unquote

import msgspec

__all__ = [
    "MAX_SOCKET_PATH",
    "Address",
    "Endpoint",
    "check_host",
    "check_host_pattern",
    "check_path_prefix",
    "check_server_name",
    "parse_address",
    "parse_endpoint",
    "parse_network",
]

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PORT = re.compile(r"[0-9]{1,5}")
# RFC 3986 section 3.3: pchar and "/".
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
# RFC 3986 section 2.3: unreserved characters, which never need it.
_NEEDLESS = re.compile(r"%(?:2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])")
# What native/path.c finds more than one reading of: parameters, encoded separators and ends, control bytes, a
# second encoding, and dots or spaces that some servers drop.
_UNCLEAR = re.compile(
    r";|%(?:2[Ff]|3[Bb]|5[Cc]|3[Ff]|23|[01].|25[0-9A-Fa-f]{2})|(?<=/)%20|(?:\.|%20)(?=/|\Z)"
)

_ANY = frozenset(("0.0.0.0", "::"))  # every interface of one family; an empty host is that of both
_LOCALHOST = {"localhost": ("127.0.0.1", "::1")}  # RFC 6761 section 6.3
_LISTEN_HELP = 'write host:port, such as "127.0.0.1:8080" or "[::1]:8080", or ":8080" for every interface'
_ENDPOINT_HELP = 'write such as "http://127.0.0.1:9000", "https://api.example.org" or "unix:/run/app.sock"'
MAX_SOCKET_PATH = 107  # unix(7): sun_path holds 108 bytes with the NUL
SCHEME_PORTS = {"http": 80, "https": 443}


class Address(msgspec.Struct, frozen=True):
    """Where to listen, and what is spoken there. host "": every interface. port 0: one that the system picks.

    Attributes:
        tls: connections begin with a TLS handshake.
        proxy_protocol: those from a trusted proxy begin with a PROXY protocol header.
        name: that routes know the listener by; "" for none.
    """

    host: str
    port: int
    tls: bool = False
    proxy_protocol: bool = False
    name: str = ""

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    def takes_port_of(self, other: Address) -> bool:
        """Can the two not be listened on at once? Of names only localhost is known here."""
        if not self.port or self.port != other.port:
            return False
        if self.host == other.host or not self.host or not other.host:
            return True
        pairs = product(_LOCALHOST.get(self.host, (self.host,)), _LOCALHOST.get(other.host, (other.host,)))
        return any(_take_the_same(one, another) for one, another in pairs)

    @property
    def is_loopback(self) -> bool:
        """No other machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Endpoint(msgspec.Struct, frozen=True):
    """One server of an upstream. scheme is "http" or "https", host has no brackets; or scheme is "unix" and
    path names its socket."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """host[:port] for a Host field: the scheme's own port is left out (RFC 9110 section 4.2.3)."""
        own = self.port == SCHEME_PORTS.get(self.scheme)
        return _bracketed(self.host) if own else f"{_bracketed(self.host)}:{self.port}"

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}"


def parse_address(text: str) -> Address:
    """Read a listening address: ``127.0.0.1:8080``, ``[::1]:8080``, ``:8080``."""
    host, colon, port = text.rpartition(":")
    if is_url(text):
        raise ValueError(f'"{text}" is a URL, and an address has no scheme; {_LISTEN_HELP}')
    if not colon or "/" in text:
        raise ValueError(f'"{text}" is not an address; {_LISTEN_HELP}')
    address = Address(_host(host, text, _LISTEN_HELP) if host else "", _port(port, text, 0, _LISTEN_HELP))
    if ":" in address.host and ipaddress.IPv6Address(address.host).ipv4_mapped is not None:
        mapped = ipaddress.IPv6Address(address.host).ipv4_mapped
        raise ValueError(f'"{text}" is an IPv4 address written as IPv6; write "{mapped}:{address.port}"')
    return address


def parse_endpoint(text: str) -> Endpoint:
    """Read an upstream address: ``http://host[:port]``, ``https://host[:port]`` or ``unix:/path``.

    The port is the scheme's own where none is written.
    """
    if text.startswith("unix:"):
        return _unix_endpoint(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f'"{text}" has no scheme; {_ENDPOINT_HELP}')
    scheme = scheme.lower()
    if scheme not in SCHEME_PORTS:
        raise ValueError(f'"{text}" has the scheme "{scheme}", which is not served; {_ENDPOINT_HELP}')
    authority = rest.removesuffix("/")
    if re.search(r"[/?#]", authority):
        raise ValueError(f'"{text}" has a path, and an endpoint has none; {_ENDPOINT_HELP}')
    if "@" in authority:
        raise ValueError(f"an endpoint has no user and password; {_ENDPOINT_HELP}")
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port = authority, str(SCHEME_PORTS[scheme])
    if not host:
        raise ValueError(f'"{text}" has no host; {_ENDPOINT_HELP}')
    return Endpoint(scheme, _host(host, text, _ENDPOINT_HELP), _port(port, text, 1, _ENDPOINT_HELP))


def _unix_endpoint(text: str) -> Endpoint:
    path = text.removeprefix("unix:")
    if path.startswith("//"):  # unix:///run/app.sock, as other tools write it
        path = path.removeprefix("//")
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f'"{text}" has no absolute path; write such as "unix:/run/app.sock"')
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(
            f'"{text}" has a path of {len(path.encode())} bytes, and a socket\'s has at most '
            f"{MAX_SOCKET_PATH}; use a shorter one"
        )
    return Endpoint("unix", "", 0, path)


def parse_network(text: str) -> str:
    """Read an IP address or network, such as ``10.0.0.0/8``; returns it in its canonical form."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f'"{text}" is not an address or network; write such as "10.0.0.0/8", "192.0.2.7" or "fd00::/8"'
        ) from None
    raise ValueError(f'"{text}" has bits set beyond its prefix; write "{meant}", or the address alone')


def check_host_pattern(text: str) -> None:
    """Refuse what cannot be a route's host: a name, an address, or ``*.`` and a name."""
    _refuse_url(text, "routes match the host alone", port=False)
    if text.startswith("["):
        _host(text, text, "write it as [::1]")
        return
    if ":" in text:
        raise ValueError(f'"{text}" has a port, and routes match the host alone; leave the port out')
    name = text.removeprefix("*.")
    if "*" in name:
        raise ValueError(
            f'"{text}" has `*` in a place of its own; only a first label can be it: "*.example.org"'
        )
    if not name.isascii():
        raise ValueError(f'"{text}" is not ASCII; write the name as DNS has it, in its xn-- form')
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f'"{text}" is not a host name; write such as "api.example.org" or "*.example.org"')


def check_host(text: str) -> None:
    """Refuse what cannot be in a Host field."""
    _refuse_url(text, "a Host field has the host alone, with a port if need be", port=True)
    if re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError("not a host; write such as `api.example.org:8443`")


def check_server_name(text: str) -> None:
    """Refuse what no certificate can name: only a host name or an address without brackets can."""
    _refuse_url(text, "a certificate names the host alone", port=False)
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return
    _host(text, text, "write such as api.example.org")


def check_path_prefix(text: str) -> None:
    """Refuse what no request path can begin with."""
    if is_url(text) and not text.startswith("/"):
        rest = re.search(r"(?<=[^/:])/.*", text)
        raise ValueError(
            f'"{text}" is a URL; write its host as `host`, and the path alone here: '
            f'"{rest[0] if rest else "/"}"'
        )
    if not text.startswith("/"):
        raise ValueError(f'"{text}" does not begin with "/"; write "/{text}"')
    if not _PATH.fullmatch(text):
        raise ValueError(
            f'"{text}" has a character that no path has (RFC 3986 section 3.3); percent-encode it, '
            "and leave query and fragment out"
        )
    if any(segment in (".", "..") for segment in text.split("/")):
        raise ValueError(f'"{text}" has a "." or ".." segment; requests are matched with those resolved')
    if "//" in text:
        raise ValueError(f'"{text}" has an empty segment; requests are matched with slashes merged')
    needless = _NEEDLESS.search(text)
    if needless:
        raise ValueError(f'"{text}" encodes "{unquote(needless[0])}"; requests are matched with it decoded')
    unclear = _UNCLEAR.search(text)
    if unclear:
        raise ValueError(
            f'"{text}" has "{unclear[0]}", which servers read differently; such requests are refused where '
            "it decides about the route"
        )


def is_url(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|//", text) is not None


def _refuse_url(text: str, what: str, *, port: bool) -> None:
    """Say what *text* is when it is more than a host, and which part of it is the host."""
    authority = re.split(r"[/?#]", text.partition("//")[2] if is_url(text) else text)[0]
    host = authority.rpartition("@")[2]
    if host == text:
        return
    kind = "is a URL" if is_url(text) else "has a user" if "@" in authority else "has a path"
    found = re.fullmatch(r"(\*\.)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", host)
    wanted = found and (found[1] or "") + found[2] + ((found[3] or "") if port else "")
    raise ValueError(f'"{text}" {kind}, and {what}; write "{wanted or "api.example.org"}"')


def _family(host: str) -> int:
    """4 or 6; 0 for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


def _take_the_same(one: str, another: str) -> bool:
    """Of two hosts, neither of them empty: the same, or one is every interface of the other's family."""
    if one == another:
        return True
    return not _ANY.isdisjoint((one, another)) and _family(one) == _family(another) != 0


def _host(text: str, whole: str, help_text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f'"{whole}" has no IPv6 address between its brackets; {help_text}') from None
    if ":" in text:
        raise ValueError(f'"{whole}" has an IPv6 address without brackets; {help_text}')
    if re.fullmatch(r"[0-9.]+", text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError(f'"{whole}" has no valid IPv4 address; {help_text}') from None
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError(f'"{whole}" has no valid host name; {help_text}')
    return text.lower()


def _port(text: str, whole: str, least: int, help_text: str) -> int:
    if not _PORT.fullmatch(text) or not least <= int(text) <= 65535:
        raise ValueError(f'"{whole}" has no port from {least} to 65535; {help_text}')
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
