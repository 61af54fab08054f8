"""The PROXY protocol: a header before the first byte of a connection that names its client.

Read in versions 1 and 2, written in version 2 (haproxy.org, proxy-protocol.txt, 2020/03/05). Pure
functions; who may send one, and how long it may take, is the caller's business.

Strict where the text leaves a choice: a header that is not exactly well-formed is refused, and so is one
that is longer than ``MAX_HEADER_SIZE`` (of TLVs the CRC32C one is checked, and the one about TLS read as far
as it says that the client spoke it; others are read past). Never guess: the
bytes that follow belong to the client, and a wrong length would let it speak in the proxy's name.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from functools import cache

__all__ = [
    "MAX_HEADER_SIZE",
    "ProxyHeader",
    "ProxyProtocolError",
    "local_header",
    "missing",
    "parse_header",
    "write_header",
]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_PREFIX = b"PROXY "
MAX_V1_SIZE = 107  # section 2.1: with CRLF
MAX_HEADER_SIZE = 4096  # the longest addresses need 232; the rest is for TLVs
LOCAL, PROXY = 0x20, 0x21
STREAM_4, STREAM_6, STREAM_UNIX, UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
ADDRESS_SIZES = {STREAM_4: 12, STREAM_6: 36, STREAM_UNIX: 216, UNSPECIFIED: 0}
PP2_TYPE_CRC32C = 0x03
PP2_TYPE_SSL = 0x20
PP2_CLIENT_SSL = 0x01
SSL_SIZE = 5  # section 2.2.6: one byte of flags and four of the verification's result, then more TLVs
_V1_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


class ProxyProtocolError(ValueError):
    """The bytes are no header; the argument is one sentence."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The client that a header names. address "": the proxy speaks for itself, or does not say.
    secure: the client spoke TLS to it."""

    address: str = ""
    port: int = 0
    secure: bool = False


def missing(received: bytes) -> int:
    """How many more bytes certainly belong to the header that *received* begins; 0 when it is complete.

    Reading so many and no more leaves what follows the header unread.

    Raises: ProxyProtocolError as soon as the bytes cannot be a header.
    """
    size = len(received)
    if not size:
        return len(SIGNATURE)  # and either kind is longer
    if received.startswith(SIGNATURE[:size]):
        if size < 16:
            return 16 - size
        length = int.from_bytes(received[14:16], "big")
        if 16 + length > MAX_HEADER_SIZE:
            raise ProxyProtocolError(f"PROXY header is {16 + length} bytes, limit {MAX_HEADER_SIZE}")
        return 16 + length - size
    if received.startswith(V1_PREFIX[:size]):
        if received.endswith(b"\r\n"):
            return 0
        if size >= MAX_V1_SIZE:
            raise ProxyProtocolError(f"PROXY header is over {MAX_V1_SIZE} bytes without an end of line")
        if b"\n" in received:
            raise ProxyProtocolError("PROXY header has a bare line feed")
        # The shortest line is "PROXY UNKNOWN\r\n"; behind that the end may come with every second byte.
        return max(15 - size, 1 if received.endswith(b"\r") else 2)
    raise ProxyProtocolError("the connection does not begin with a PROXY header")


def parse_header(header: bytes) -> ProxyHeader:
    """Read a complete header (``missing`` is 0).

    Raises: ProxyProtocolError.
    """
    return _parse_v2(header) if header.startswith(SIGNATURE) else _parse_v1(header)


def _parse_v1(header: bytes) -> ProxyHeader:
    try:
        words = header.removesuffix(b"\r\n").decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyProtocolError("PROXY header is not ASCII") from None
    if words[1] == "UNKNOWN":  # section 2.1: what follows is to be ignored
        return ProxyHeader()
    version = {"TCP4": 4, "TCP6": 6}.get(words[1], 0)
    if len(words) != 6 or not version:
        raise ProxyProtocolError("PROXY header is not TCP4 or TCP6, two addresses and two ports")
    try:
        source, target = ipaddress.ip_address(words[2]), ipaddress.ip_address(words[3])
    except ValueError:
        raise ProxyProtocolError("PROXY header has an address that is none") from None
    if source.version != version or target.version != version:
        raise ProxyProtocolError(f"PROXY header has an address that is not {words[1]}")
    ports = [int(word) if _V1_PORT.fullmatch(word) else -1 for word in words[4:]]
    if not all(0 <= port <= 65535 for port in ports) or b"%" in header:
        raise ProxyProtocolError("PROXY header has a port that is none")
    return ProxyHeader(_text(source), ports[0])


def _parse_v2(header: bytes) -> ProxyHeader:
    command, kind = header[12], header[13]
    if command not in (LOCAL, PROXY):
        raise ProxyProtocolError(f"PROXY header has version and command 0x{command:02x}, not 0x20 or 0x21")
    body = header[16:]
    if command == LOCAL:  # section 2.2: the proxy's own connection, a health check; the rest is ignored
        return ProxyHeader()
    size = ADDRESS_SIZES.get(kind)
    if size is None:
        raise ProxyProtocolError(f"PROXY header has family and protocol 0x{kind:02x}, which is no stream")
    if len(body) < size:
        raise ProxyProtocolError(f"PROXY header has {len(body)} bytes of addresses, its family needs {size}")
    secure = _read_tlvs(header, 16 + size)
    if kind == STREAM_4:
        return ProxyHeader(str(ipaddress.IPv4Address(body[:4])), int.from_bytes(body[8:10], "big"), secure)
    if kind == STREAM_6:
        return ProxyHeader(
            _text(ipaddress.IPv6Address(body[:16])), int.from_bytes(body[32:34], "big"), secure
        )
    return ProxyHeader(secure=secure)


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _read_tlvs(header: bytes, at: int) -> bool:
    """Did the client speak TLS (section 2.2.6)?

    TLVs fill the rest exactly, and a checksum among them is right (section 2.2.3).
    """
    end = len(header)
    secure = False
    while at < end:
        if end - at < 3:
            raise ProxyProtocolError("PROXY header ends inside a TLV")
        size = int.from_bytes(header[at + 1 : at + 3], "big")
        if size > end - at - 3:
            raise ProxyProtocolError("PROXY header has a TLV that is longer than the header")
        if header[at] == PP2_TYPE_CRC32C:
            blank = header[: at + 3] + bytes(size) + header[at + 3 + size :]
            if size != 4 or int.from_bytes(header[at + 3 : at + 7], "big") != _crc32c(blank):
                raise ProxyProtocolError("PROXY header has a wrong checksum")
        if header[at] == PP2_TYPE_SSL:
            if size < SSL_SIZE:
                raise ProxyProtocolError(
                    f"PROXY header has {size} bytes about TLS, and {SSL_SIZE} are the least"
                )
            secure = bool(header[at + 3] & PP2_CLIENT_SSL)
        at += 3 + size
    return secure


@cache
def _crc32c_table() -> list[int]:
    """RFC 3720 appendix B.4: Castagnoli, reflected."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def _crc32c(data: bytes) -> int:
    table = _crc32c_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def local_header() -> bytes:
    """For a connection of our own, that is for no client (section 2.2: LOCAL)."""
    return SIGNATURE + struct.pack("!BBH", LOCAL, UNSPECIFIED, 0)


def write_header(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """The header, version 2, for a client at *source* that reached us at *destination*.

    Addresses of different families are both written as IPv6. One that is no IP address (a Unix socket, an
    embedder's own transport) makes it a header without addresses: we speak, and do not say for whom.
    """
    try:
        addresses = [ipaddress.ip_address(host.partition("%")[0]) for host, _ in (source, destination)]
    except ValueError:
        return SIGNATURE + bytes((PROXY, UNSPECIFIED)) + b"\x00\x00"
    kind = STREAM_4 if all(address.version == 4 for address in addresses) else STREAM_6
    packed = b"".join(
        (b"" if kind == STREAM_4 or address.version == 6 else bytes(10) + b"\xff\xff") + address.packed
        for address in addresses
    )
    ports = struct.pack("!HH", source[1], destination[1])
    return SIGNATURE + struct.pack("!BBH", PROXY, kind, len(packed) + 4) + packed + ports
