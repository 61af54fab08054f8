"""The client behind trusted proxies. Invariant: nothing that a client writes changes who it is."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.http.forwarded import (
    MAX_HOPS,
    Chain,
    field_lines,
    node_address,
    parse_forwarded,
    read_forwarded,
    read_x_forwarded,
)
from blitz.http.networks import Networks

TRUSTED = Networks(["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"])
PEER = "10.0.0.1"

NODES = [
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1:8080", "192.0.2.1"),
    ("192.0.2.1:_port", "192.0.2.1"),
    ("2001:DB8::1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[2001:db8::1]:443", "2001:db8::1"),
    ("::ffff:10.0.0.9", "10.0.0.9"),
    ("unknown", None),
    ("_hidden", None),
    ("", None),
    ("1.2.3", None),
    ("1.2.3.4:", None),
    ("1.2.3.4:http", None),
    ("010.0.0.1", None),
    ("[10.0.0.1]", None),
    ("[::1", None),
    ("[::1]x", None),
    ("[::1]:", None),
    ("fe80::1%eth0", None),
]


@pytest.mark.parametrize(("node", "address"), NODES)
def test_the_address_of_a_node(node: str, address: str | None) -> None:
    assert node_address(node) == address


CLIENTS = [
    pytest.param([], PEER, id="nobody-said"),
    pytest.param([b"203.0.113.5"], "203.0.113.5", id="one"),
    pytest.param([b"1.1.1.1, 203.0.113.5"], "203.0.113.5", id="what-the-client-forged-stays-unread"),
    pytest.param([b"1.1.1.1, 203.0.113.5, 10.9.9.9, fd00::1"], "203.0.113.5", id="behind-two-more"),
    pytest.param([b"1.1.1.1", b"203.0.113.5 ,\t10.9.9.9"], "203.0.113.5", id="two-lines"),
    pytest.param([b"10.3.3.3,10.2.2.2"], "10.3.3.3", id="all-trusted"),
    pytest.param([b"203.0.113.5, unknown, 10.2.2.2"], "10.2.2.2", id="stops-before-a-name"),
    pytest.param([b", ,203.0.113.5,,"], "203.0.113.5", id="empty-elements"),
    pytest.param([b"203.0.113.5:4711"], "203.0.113.5", id="with-a-port"),
]


@pytest.mark.parametrize(("values", "client"), CLIENTS)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(values: list[bytes], client: str) -> None:
    assert read_x_forwarded(values, [], [], PEER, TRUSTED).client == client
    elements = [b",".join(b'for="%b"' % node.strip() for node in value.split(b",")) for value in values]
    if not any(b'""' in value for value in elements):  # an empty node is no node, unlike an empty element
        assert read_forwarded(elements, PEER, TRUSTED).client == client


def test_a_chain_of_trusted_addresses_is_not_walked_for_ever() -> None:
    many = b",".join(b"10.0.%d.%d" % (index // 250, index % 250) for index in range(5000))
    chain = read_x_forwarded([b"203.0.113.5," + many], [], [], PEER, TRUSTED)
    assert chain.client == many.split(b",")[-MAX_HOPS].decode()


X_FORWARDED = [
    pytest.param([b"https"], [b"a.example"], ("https", "a.example"), id="both"),
    pytest.param([b"HTTPS"], [b"[::1]:80"], ("https", "[::1]:80"), id="case-and-ipv6"),
    pytest.param([b"gopher"], [b"a b"], ("", ""), id="nonsense"),
    pytest.param([b"http"], [], ("http", ""), id="plain"),
    pytest.param([b"wss"], [b"a.example, A.example"], ("https", "a.example"), id="websocket"),
    pytest.param([b"WS"], [], ("http", ""), id="websocket-plain"),
    pytest.param([b"https, https"], [b"a", b"a"], ("https", "a"), id="lists-that-agree"),
    pytest.param([b"https", b"https"], [b"a", b""], ("https", "a"), id="lines-that-agree"),
    pytest.param([b",https ,\t, "], [b"a,"], ("https", "a"), id="empty-elements"),
    pytest.param([b"https, http"], [b"a.example, b.example"], ("https", ""), id="lists-that-do-not"),
    pytest.param([b"http", b"https"], [b"a", b"b"], ("https", ""), id="lines-that-do-not"),
    pytest.param([b"gopher, wss"], [b"a, b c"], ("https", ""), id="half-nonsense"),
    pytest.param([], [], ("", ""), id="nobody-said"),
]


@pytest.mark.parametrize(("proto", "host", "expected"), X_FORWARDED)
def test_scheme_and_host(proto: list[bytes], host: list[bytes], expected: tuple[str, str]) -> None:
    chain = read_x_forwarded([b"203.0.113.5"], proto, host, PEER, TRUSTED)
    assert (chain.scheme, chain.host) == expected


# Each proxy added to both lists: the client's element is known, and what was forged before it is not read.
IN_STEP = [
    pytest.param("203.0.113.5, 10.2.2.2", "http, https", "http", id="only-the-inner-link-is-secure"),
    pytest.param("203.0.113.5, 10.2.2.2", "https, http", "https", id="only-the-outer-link-is-secure"),
    pytest.param("1.1.1.1, 203.0.113.5", "https, http", "http", id="forged-secure"),
    pytest.param("1.1.1.1, 203.0.113.5", "http, wss", "https", id="forged-plain"),
    pytest.param("203.0.113.5, 10.2.2.2", "-, wss", "https", id="the-outer-says-nothing"),
    pytest.param("_hidden, 10.2.2.2", "https, http", "https", id="a-client-without-address"),
]


@pytest.mark.parametrize(("nodes", "protos", "scheme"), IN_STEP)
def test_the_scheme_is_that_of_the_clients_own_link(nodes: str, protos: str, scheme: str) -> None:
    chain = read_x_forwarded([nodes.encode()], [protos.encode()], [], PEER, TRUSTED)
    assert chain.scheme == scheme
    pairs = zip(nodes.split(", "), protos.split(", "), strict=True)
    value = ", ".join(f"for={node};proto={proto}" for node, proto in pairs)
    assert read_forwarded([value.encode()], PEER, TRUSTED).scheme == scheme


SECURE = st.sampled_from(["https", "HTTPS", "wss", "WSS", "Wss"])
NOT_SECURE = st.sampled_from(["http", "ws", "HTTP", "gopher", "", "https:", '"https"'])
SCHEME = st.one_of(SECURE, NOT_SECURE)
SPACE = st.sampled_from(["", " ", "\t", "  "])


@given(st.lists(SCHEME, max_size=6), SECURE, st.lists(SCHEME, max_size=6), SPACE, st.booleans())
def test_where_somebody_says_https_of_a_link_that_may_be_the_clients_no_upstream_is_told_http(
    before: list[str], secure: str, behind: list[str], space: str, lines: bool
) -> None:
    said = [f"{space}{text}{space}".encode() for text in [*before, secure, *behind]]
    values = said if lines else [b",".join(said)]
    chain = read_x_forwarded([], values, [], PEER, TRUSTED)
    assert b"X-Forwarded-Proto: https\r\n" in field_lines("x-forwarded", PEER, "http", chain=chain)


@given(st.lists(NOT_SECURE, max_size=6))
def test_nobody_is_secure_who_was_not_said_to_be(said: list[str]) -> None:
    chain = read_x_forwarded([b"203.0.113.5"], [text.encode() for text in said], [], PEER, TRUSTED)
    assert chain.scheme in ("", "http")


@pytest.mark.parametrize("proto", ["https", "wss", "HTTPS", '"wss"'])
@pytest.mark.parametrize(
    "value", ["proto={}", "proto={};for=203.0.113.5", "for=203.0.113.5, for=10.2.2.2;proto={}"]
)
def test_forwarded_says_it_with_or_without_a_node(value: str, proto: str) -> None:
    chain = read_forwarded([value.format(proto).encode()], PEER, TRUSTED)
    assert b";proto=https\r\n" in field_lines("forwarded", PEER, "http", chain=chain)


# RFC 7239 section 4 and its examples.
FORWARDED = [
    (b'For="[2001:db8:cafe::17]:4711"', [{"for": "[2001:db8:cafe::17]:4711"}]),
    (
        b"for=192.0.2.60;proto=http;by=203.0.113.43",
        [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}],
    ),
    (b"for=192.0.2.43, for=198.51.100.17", [{"for": "192.0.2.43"}, {"for": "198.51.100.17"}]),
    (b'for=_gazonk; secret="a\\"b,c"', [{"for": "_gazonk", "secret": 'a"b,c'}]),
    (b"", []),
    (b" , for=a,,", [{"for": "a"}]),
    (b"for=a;", [{"for": "a"}]),
    (b";for=a", None),
    (b"for", None),
    (b"for=", None),
    (b"for =a", None),
    (b"for= a", None),
    (b'for="a', None),
    (b'for="a"b', None),
    (b"for=a for=b", None),
    (b"for=a;for=b", None),
    (b"for=[::1]", None),
]


@pytest.mark.parametrize(("value", "elements"), FORWARDED)
def test_forwarded_is_read_as_written(value: bytes, elements: list[dict[str, str]] | None) -> None:
    assert parse_forwarded(value) == elements


def test_scheme_and_host_are_those_of_the_clients_element() -> None:
    values = [b"for=1.1.1.1;proto=http;host=evil", b"for=203.0.113.5;proto=https;host=a.example"]
    chain = read_forwarded([*values, b"for=10.2.2.2;proto=http"], PEER, TRUSTED)
    assert (chain.client, chain.scheme, chain.host) == ("203.0.113.5", "https", "a.example")


def test_a_malformed_forwarded_says_nothing() -> None:
    assert read_forwarded([b"for=203.0.113.5, for="], PEER, TRUSTED) == Chain(client=PEER)


LINES = [
    ("x-forwarded", "X-Forwarded-For: 203.0.113.5, 10.0.0.1|X-Forwarded-Proto: https|X-Forwarded-Host: a:1|"),
    ("forwarded", 'Forwarded: for=203.0.113.5, for=10.0.0.1;proto=https;host="a:1"|'),
]


@pytest.mark.parametrize(("kind", "lines"), [*LINES, ("both", "".join(lines for _, lines in LINES))])
def test_what_upstreams_are_told(kind: str, lines: str) -> None:
    chain = read_x_forwarded([b"203.0.113.5"], [b"https"], [], PEER, TRUSTED)
    told = field_lines(kind, PEER, "http", host="a:1", chain=chain)
    assert told.decode().replace("\r\n", "|") == lines


def test_ipv6_is_bracketed_and_quoted_in_forwarded_only() -> None:
    told = field_lines("both", "2001:db8::1", "http").decode()
    assert "X-Forwarded-For: 2001:db8::1\r\n" in told
    assert 'Forwarded: for="[2001:db8::1]";proto=http\r\n' in told


def test_a_comma_in_a_quoted_node_does_not_become_an_address() -> None:
    chain = read_forwarded([b'for="1.1.1.1, 2.2.2.2"'], PEER, TRUSTED)
    assert field_lines("x-forwarded", PEER, "http", chain=chain).startswith(
        b"X-Forwarded-For: unknown, 10.0.0.1\r\n"
    )


ADDRESSES = st.ip_addresses().map(str)


@given(st.text(max_size=60).map(lambda text: text.encode("latin-1", "replace")), ADDRESSES)
def test_no_prefix_that_a_client_sends_changes_who_it_is(forged: bytes, client: str) -> None:
    if TRUSTED.contains(client):
        return
    chain = read_x_forwarded([forged + b", " + client.encode()], [], [], PEER, TRUSTED)
    assert ipaddress.ip_address(chain.client) in (
        ipaddress.ip_address(client),
        getattr(ipaddress.ip_address(client), "ipv4_mapped", None),
    )


@given(st.binary(max_size=80))
def test_any_bytes_are_elements_or_nothing_and_come_out_as_the_same(value: bytes) -> None:
    elements = parse_forwarded(value)
    if elements is None:
        return
    chain = read_forwarded([value], PEER, TRUSTED)
    again = parse_forwarded(", ".join(chain.elements).encode("latin-1"))
    kept = [
        {name: text for name, text in e.items() if name in ("for", "by", "host", "proto")} for e in elements
    ]
    assert again == [element for element in kept if element]


def test_networks() -> None:
    assert TRUSTED.contains("10.255.0.1")
    assert TRUSTED.contains("::ffff:10.0.0.1")
    assert TRUSTED.contains("fd12::1%eth0")
    assert not TRUSTED.contains("11.0.0.1")
    assert not TRUSTED.contains("unknown")
    assert not Networks([])
    assert not Networks([]).contains("10.0.0.1")
