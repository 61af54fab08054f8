"""The PROXY protocol's headers. Invariant: any bytes are exactly one header, or a ProxyProtocolError."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.server.proxy_protocol import (
    MAX_HEADER_SIZE,
    SIGNATURE,
    ProxyHeader,
    ProxyProtocolError,
    _crc32c,
    missing,
    parse_header,
    write_header,
)


def take(stream: bytes) -> tuple[ProxyHeader, bytes]:
    """Read a header as a connection does; (what it says, what is left)."""
    at = 0
    while more := missing(stream[:at]):
        if at == len(stream):
            raise EOFError
        at = min(at + more, len(stream))
    return parse_header(stream[:at]), stream[at:]


def v2(command: int, kind: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body) if length is None else length) + body


IP4 = bytes((192, 0, 2, 1, 10, 0, 0, 1)) + struct.pack("!HH", 4711, 443)
IP6 = bytes.fromhex("20010db8000000000000000000000001" + "fd" + "00" * 14 + "01") + struct.pack("!HH", 1, 2)

GOOD = [
    pytest.param(b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n", ("192.0.2.1", 4711), id="v1-4"),
    pytest.param(b"PROXY TCP6 2001:db8::1 fd00::1 65535 0\r\n", ("2001:db8::1", 65535), id="v1-6"),
    pytest.param(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ("192.0.2.1", 1), id="v1-mapped"),
    pytest.param(b"PROXY UNKNOWN\r\n", ("", 0), id="v1-unknown"),
    pytest.param(b"PROXY UNKNOWN ffff::1 whatever\r\n", ("", 0), id="v1-unknown-with-more"),
    pytest.param(
        b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"fffe 65535 65535\r\n",
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
        id="v1-longest-tcp6",
    ),
    pytest.param(v2(0x21, 0x11, IP4), ("192.0.2.1", 4711), id="v2-4"),
    pytest.param(v2(0x21, 0x21, IP6), ("2001:db8::1", 1), id="v2-6"),
    pytest.param(v2(0x21, 0x31, bytes(216)), ("", 0), id="v2-unix"),
    pytest.param(v2(0x21, 0x00, b""), ("", 0), id="v2-unspecified"),
    pytest.param(v2(0x20, 0x00, b""), ("", 0), id="v2-local"),
    pytest.param(v2(0x20, 0x11, IP4), ("", 0), id="v2-local-ignores-addresses"),
    pytest.param(v2(0x21, 0x11, IP4 + b"\x04\x00\x02ab\x01\x00\x00"), ("192.0.2.1", 4711), id="v2-tlvs"),
    pytest.param(
        v2(0x21, 0x11, IP4 + b"\x04\x0f\xd1" + bytes(0xFD1)), ("192.0.2.1", 4711), id="v2-as-long-as-allowed"
    ),
]


TLS_CLIENT = b"\x20\x00\x05\x01\x00\x00\x00\x00"
SECURE = [
    pytest.param(IP4 + TLS_CLIENT, True, id="alone"),
    pytest.param(IP4 + b"\x01\x00\x02h2" + TLS_CLIENT + b"\x04\x00\x00", True, id="among-others"),
    pytest.param(IP4 + b"\x20\x00\x0f\x07\x00\x00\x00\x00\x21\x00\x07TLSv1.3", True, id="with-its-version"),
    pytest.param(IP4 + b"\x20\x00\x05\x00\x00\x00\x00\x00", False, id="the-client-spoke-no-tls"),
    pytest.param(IP4, False, id="not-said"),
]


@pytest.mark.parametrize(("body", "secure"), SECURE)
def test_a_header_tells_whether_the_client_spoke_tls(body: bytes, secure: bool) -> None:
    assert parse_header(v2(0x21, 0x11, body)) == ProxyHeader("192.0.2.1", 4711, secure)
    assert not parse_header(v2(0x20, 0x11, body)).secure  # the proxy's own connection


@pytest.mark.parametrize(("header", "client"), GOOD)
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"\n", b"PROXY UNKNOWN\r\n"])
def test_a_header_is_read_and_not_a_byte_more(header: bytes, client: tuple[str, int], rest: bytes) -> None:
    assert len(header) <= MAX_HEADER_SIZE
    assert take(header + rest) == (ProxyHeader(*client), rest)


BAD = [
    pytest.param(v2(0x21, 0x11, IP4 + b"\x20\x00\x04\x01\x00\x00\x00"), id="v2-short-word-about-tls"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls"),
    pytest.param(b"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", id="v1-two-spaces"),
    pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", id="v1-bare-lf"),
    pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", id="v1-trailing-space"),
    pytest.param(b"PROXY TCP4 ::1 ::1 1 2\r\n", id="v1-family"),
    pytest.param(b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", id="v1-scope"),
    pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", id="v1-port"),
    pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", id="v1-leading-zero"),
    pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", id="v1-signed"),
    pytest.param(b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", id="v1-udp"),
    pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 \xd9\xa1 2\r\n", id="v1-not-ascii"),
    pytest.param(b"PROXY UNKNOWN " + b"a" * 107 + b"\r\n", id="v1-too-long"),
    pytest.param(v2(0x11, 0x11, IP4), id="v2-version"),
    pytest.param(v2(0x22, 0x11, IP4), id="v2-command"),
    pytest.param(v2(0x21, 0x12, IP4), id="v2-datagram"),
    pytest.param(v2(0x21, 0x11, IP4[:-1]), id="v2-short-addresses"),
    pytest.param(v2(0x21, 0x21, IP4), id="v2-family-and-size"),
    pytest.param(v2(0x21, 0x11, IP4 + b"\x04\x00"), id="v2-cut-tlv"),
    pytest.param(v2(0x21, 0x11, IP4 + b"\x04\x00\x03ab"), id="v2-long-tlv"),
    pytest.param(v2(0x21, 0x11, IP4 + b"\x03\x00\x04abcd"), id="v2-checksum"),
    pytest.param(v2(0x21, 0x11, IP4 + b"\x03\x00\x00"), id="v2-empty-checksum"),
    pytest.param(v2(0x21, 0x11, b"", length=4081), id="v2-too-long"),
    pytest.param(SIGNATURE[:-1] + b"\r\x21\x11\x00\x0c" + IP4, id="v2-signature"),
]


@pytest.mark.parametrize("stream", BAD)
def test_what_is_not_quite_a_header_is_refused(stream: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        take(stream)


def test_a_right_checksum_is_accepted() -> None:
    assert _crc32c(b"123456789") == 0xE3069283  # the check value of every catalogue of CRCs
    blank = v2(0x21, 0x11, IP4 + b"\x03\x00\x04" + bytes(4))
    header = blank[:-4] + _crc32c(blank).to_bytes(4, "big")
    assert take(header + b"rest") == (ProxyHeader("192.0.2.1", 4711), b"rest")


ADDRESSES = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))


@given(ADDRESSES, ADDRESSES, st.binary(max_size=40))
def test_what_is_written_is_read_back(
    source: tuple[str, int], destination: tuple[str, int], rest: bytes
) -> None:
    header, left = take(write_header(source, destination) + rest)
    assert left == rest
    assert header.port == source[1]
    assert header.address == source[0] or source[0].startswith("::ffff:")


def test_a_client_without_an_address_is_not_named() -> None:
    assert take(write_header(("", 0), ("10.0.0.1", 1)) + b"x") == (ProxyHeader(), b"x")


STARTS = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 1.1.1.1 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c"])


@given(STARTS, st.binary(max_size=300))
def test_any_bytes_are_one_header_or_refused_or_want_more(start: bytes, rest: bytes) -> None:
    try:
        header, left = take(start + rest)
    except (ProxyProtocolError, EOFError):
        return
    assert (start + rest).endswith(left)
    assert 0 <= header.port <= 65535
