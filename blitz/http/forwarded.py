"""Who the client is when proxies stand before us: X-Forwarded-* and Forwarded (RFC 7239). Pure functions.

A client can write anything into these fields, so they are read only when the peer is a proxy that the
operator trusts, and then from the right: each trusted hop vouches for the one to its left. The first hop
that is not trusted is the client; what stands left of it is a claim, passed on and never used.

Only one of the two fields is read, the one that the proxies are known to write. A proxy that knows
X-Forwarded-For lets a client's Forwarded pass (nginx, HAProxy and cloud balancers do), so reading whichever
is there would let clients choose their address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .networks import Networks

__all__ = ["Chain", "field_lines", "read_forwarded", "read_x_forwarded", "well_formed_host"]

MAX_HOPS = 32  # addresses looked at from the right: a longer chain of trusted proxies is not one

_OWS = b" \t"
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUOTED = re.compile(rb'"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)"')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}|_[A-Za-z0-9._-]+")  # RFC 7239 section 6: node-port
# RFC 3986 section 3.2.2 as far as a Host may have it: a name, an IPv4 address or a bracketed IPv6 one.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# The schemes that proxies write; a WebSocket's are written by some for its handshake, which is HTTP.
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_PARAMETERS = ("for", "by", "host", "proto")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Chain:
    """What the fields of one request say, when its peer is trusted.

    Attributes:
        client: address of the client, canonical: what plugins see.
        nodes: the addresses and names that the chain had, from left to right, our peer left out.
        elements: the same as elements of Forwarded, when that is the field that was read.
        scheme: "http" or "https", as the client spoke it to the outermost proxy; "" when nobody said.
        host: the authority that the client asked for; "" when nobody said.
    """

    client: str
    nodes: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    scheme: str = ""
    host: str = ""


def _address(text: str) -> Address | None:
    """An address without its scope; IPv4 that is mapped into IPv6 comes out as IPv4."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def node_address(node: str) -> str | None:
    """The address in ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80``; None for others.

    RFC 7239 section 6 wants brackets around IPv6; X-Forwarded-For usually has none.
    """
    host, port = node, ""
    if node.startswith("["):
        host, bracket, rest = node[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
        if rest and not port:
            return None
    elif node.count(":") == 1:
        host, _, port = node.partition(":")
        if not port:
            return None
    if port and not _PORT.fullmatch(port):
        return None
    if "%" in host:
        return None
    found = _address(host)
    return None if found is None else str(found)


def _client(nodes: Sequence[str], peer: str, trusted: Networks) -> tuple[str, int]:
    """The first address from the right that is not trusted, or the last one that could be read before a name;
    and how many nodes, from the right, trusted proxies wrote."""
    client, hops = peer, 0
    for node in reversed(nodes[-MAX_HOPS:]):
        hops += 1
        address = node_address(node)
        if address is None:
            break  # "unknown", "_hidden", a typing error: whoever wrote it is the last that we can name
        client = address
        if not trusted.contains(address):
            break
    return client, hops


def _list(values: Sequence[bytes]) -> list[str]:
    """The elements of a list field in all its lines, empty ones skipped (RFC 9110 section 5.6.1)."""
    texts = b",".join(values).decode("latin-1").split(",")
    return [element for element in (text.strip(" \t") for text in texts) if element]


def _scheme(said: Sequence[str]) -> str:
    """The most secure scheme that *said* names; "" when it names none.

    An upstream that is told http of a client on TLS sends it in circles, and its cookies in the open; one
    that is told https of a client without TLS spares it a redirect. Where proxies do not say which of
    two links the client's is, the second is the smaller fault.
    """
    return max((_SCHEMES.get(text.lower(), "") for text in said), default="")


def _client_scheme(said: Sequence[str]) -> str:
    """The scheme of the client's own link, the first of *said*; if that says nothing, see ``_scheme``."""
    return _scheme(said[:1]) or _scheme(said)


def _agreed(hosts: list[str]) -> str:
    """The host that all elements name; several are a choice that a client may have made."""
    return hosts[0] if len({host.lower() for host in hosts}) == 1 and well_formed_host(hosts[0]) else ""


def read_x_forwarded(
    x_for: Sequence[bytes], x_proto: Sequence[bytes], x_host: Sequence[bytes], peer: str, trusted: Networks
) -> Chain:
    """What the X-Forwarded-* fields of a trusted peer say.

    Args:
        x_for, x_proto, x_host: values of the field lines, in order.
        peer: address of the trusted peer.
    """
    nodes = tuple(_list(x_for))
    client, hops = _client(nodes, peer, trusted)
    protos = _list(x_proto)
    # Nothing says which link an element is about, unless each proxy added one to both lists.
    in_step = hops and len(protos) == len(nodes)
    return Chain(
        client=client,
        nodes=nodes,
        scheme=_client_scheme(protos[-hops:]) if in_step else _scheme(protos),
        host=_agreed(_list(x_host)),
    )


def read_forwarded(values: Sequence[bytes], peer: str, trusted: Networks) -> Chain:
    """What the Forwarded field of a trusted peer says; a malformed one says nothing (RFC 7239 section 4).

    Host is that of the client's own element, and so is the scheme, if it has one.
    """
    parsed = parse_forwarded(b",".join(values))
    if parsed is None:
        return Chain(client=peer)
    nodes = tuple(_plain_node(element.get("for", "")) for element in parsed)
    client, hops = _client(nodes, peer, trusted)
    vouched = parsed[-hops:] if hops else []
    host = vouched[0].get("host", "") if vouched else ""
    return Chain(
        client=client,
        nodes=nodes,
        elements=tuple(filter(None, map(_element, parsed))),
        scheme=_client_scheme([element.get("proto", "") for element in vouched]),
        host=host if well_formed_host(host) else "",
    )


def _plain_node(text: str) -> str:
    """A node that may stand in X-Forwarded-For: quotes could hide a comma, and so one more address."""
    known = node_address(text)
    return known or (text if _TOKEN.fullmatch(text.encode("latin-1")) else "unknown")


def parse_forwarded(value: bytes) -> list[dict[str, str]] | None:
    """Forwarded's elements, parameter names in lower case and values unquoted; None when malformed.

    RFC 7239 section 4, strict but for whitespace around ";", which some proxies write; empty list elements
    are skipped (RFC 9110 section 5.6.1).
    """
    elements: list[dict[str, str]] = []
    element: dict[str, str] = {}
    at, end = 0, len(value)
    while True:
        at = _skip(value, at)
        if at < end and value[at : at + 1] not in (b",", b";"):
            found = _pair(value, at)
            if found is None or found[0] in element:
                return None
            name, text, at = found
            element[name] = text
            at = _skip(value, at)
            if at < end and value[at : at + 1] not in (b",", b";"):
                return None
        if at >= end or value[at : at + 1] == b",":
            if element:
                elements.append(element)
                element = {}
            if at >= end:
                return elements
        elif not element:
            return None  # ";" before any pair
        at += 1


def _skip(value: bytes, at: int) -> int:
    while at < len(value) and value[at] in _OWS:
        at += 1
    return at


def _pair(value: bytes, at: int) -> tuple[str, str, int] | None:
    name = _TOKEN.match(value, at)
    if name is None or value[name.end() : name.end() + 1] != b"=":
        return None
    at = name.end() + 1
    word = _TOKEN.match(value, at)
    if word is not None:
        return name[0].decode().lower(), word[0].decode(), word.end()
    quoted = _QUOTED.match(value, at)
    if quoted is None:
        return None
    return name[0].decode().lower(), _ESCAPE.sub(rb"\1", quoted[1]).decode("latin-1"), quoted.end()


def _element(parameters: dict[str, str]) -> str:
    """The parameters that RFC 7239 defines, as one element; extensions are not for everybody."""
    return ";".join(f"{name}={_value(parameters[name])}" for name in _PARAMETERS if name in parameters)


def _value(text: str) -> str:
    if _TOKEN.fullmatch(text.encode("latin-1")):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _node(text: str) -> str:
    """A node as Forwarded has it: IPv6 in brackets (RFC 7239 section 6)."""
    address = node_address(text)
    return _value(f"[{address}]" if address is not None and ":" in address else (address or text))


def well_formed_host(text: str) -> bool:
    return len(text) <= 300 and _HOST.fullmatch(text) is not None


def field_lines(kind: str, peer: str, scheme: str, *, host: str = "", chain: Chain | None = None) -> bytes:
    """The field lines that tell an upstream about the client.

    Args:
        kind: "x-forwarded", "forwarded" or "both".
        peer: address of our peer; "" when it has none.
        scheme: of the link that the request came over.
        host: what the client asked for, where the upstream will not see it in Host; else "".
        chain: what a trusted peer said.
    """
    if kind == "x-forwarded" and chain is None and not host:
        return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (
            peer.encode() or b"unknown",
            scheme.encode(),
        )
    scheme = (chain.scheme if chain else "") or scheme
    host = (chain.host if chain else "") or host
    nodes = [*(chain.nodes if chain else ()), peer or "unknown"]
    lines = ""
    if kind != "forwarded":
        lines += f"X-Forwarded-For: {', '.join(nodes)}\r\nX-Forwarded-Proto: {scheme}\r\n"
        lines += f"X-Forwarded-Host: {host}\r\n" if host else ""
    if kind != "x-forwarded":
        elements = list(chain.elements if chain else ()) or [f"for={_node(node)}" for node in nodes[:-1]]
        ours = f"for={_node(nodes[-1])};proto={scheme}"
        ours += f";host={_value(host)}" if host else ""
        lines += f"Forwarded: {', '.join([*elements, ours])}\r\n"
    return lines.encode("latin-1")
