"""Invariants of the built-in plugins, on inputs that nobody chose.

* rate_limiter: two IPv6 addresses share a bucket exactly when they share the network, however written.
* request_logger: the value of a parameter with a secret name is in no line, however the name is encoded.
* request_logger: what a client sends comes back from a line as it was sent, and is one value there.
* auth_custom: nothing but a configured key gets in.
"""

from __future__ import annotations

import ipaddress
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from .cases import PLUGINS
from .reference_host import Message, ReferencePlugin

limiters = {
    prefix: ReferencePlugin(
        PLUGINS / "rate_limiter.wasm",
        {"requests_per_minute": 1, "burst": 1, "ipv6_prefix": prefix, "headers": False},
        {},
    )
    for prefix in (1, 17, 48, 64, 127, 128)
}
logger = ReferencePlugin(PLUGINS / "request_logger.wasm", {"headers": ["x-a", "x-b"]}, {})
door = ReferencePlugin(PLUGINS / "auth_custom.wasm", {"keys": ["alice:key-of-alice", "bob:k"]}, {})


def spellings(address: ipaddress.IPv6Address) -> list[str]:
    groups = address.exploded.split(":")
    return [
        str(address),
        address.exploded,
        ":".join(g.lstrip("0") or "0" for g in groups),
        str(address).upper(),
    ]


@settings(max_examples=300, deadline=None)
@given(
    address=st.one_of(
        st.ip_addresses(v=6),
        st.integers(0, 2**128 - 1).map(lambda n: ipaddress.IPv6Address(n & (n >> 3) & (n >> 5))),
    ),
    prefix=st.sampled_from(sorted(limiters)),
)
def test_ipv6_networks_are_the_keys(address: ipaddress.IPv6Address, prefix: int) -> None:
    plugin = limiters[prefix]
    network = ipaddress.IPv6Network((address, prefix), strict=False).network_address
    wanted = f"address:{prefix}/" + network.exploded.replace(":", "")
    for text in spellings(address):
        plugin.buckets.clear()
        plugin.store.set_fuel(10**9)
        plugin.request("GET", "/", Message(properties={"client.address": text}))
        assert list(plugin.buckets) == [wanted.encode()], text


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from("0123456789abcdefg:.%"), max_size=45))
def test_any_client_address_gives_a_key_and_no_trap(text: str) -> None:
    plugin = limiters[64]
    plugin.buckets.clear()
    plugin.store.set_fuel(10**9)
    plugin.request("GET", "/", Message(properties={"client.address": text}))
    (key,) = plugin.buckets
    try:
        expected = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return
    if expected.ipv4_mapped is None and "." not in text:
        network = ipaddress.IPv6Network((expected, 64), strict=False).network_address
        assert key.decode() == "address:64/" + network.exploded.replace(":", "")


SECRET_WORDS = ("token", "secret", "passwd", "signature", "api_key", "sessionid", "jwt", "private-key")


@st.composite
def secret_names(draw: st.DrawFn) -> str:
    """A name that means a secret, some of its bytes percent-encoded, in any case."""
    before = draw(st.text(st.sampled_from("abcxyz_-."), max_size=20))
    name = before + draw(st.sampled_from(SECRET_WORDS))
    pieces = []
    for char in name:
        kind = draw(st.sampled_from(["plain", "upper", "encoded", "ENCODED"]))
        encoded = f"%{ord(char):02x}"
        pieces.append({"plain": char, "upper": char.upper(), "encoded": encoded}.get(kind, encoded.upper()))
    return "".join(pieces)


QUERY = st.text(st.sampled_from("abc=&;?%/12.+"), max_size=40)


@settings(max_examples=300, deadline=None)
@given(name=secret_names(), before=QUERY, after=QUERY)
def test_no_secret_parameter_is_logged(name: str, before: str, after: str) -> None:
    logger.logs.clear()
    logger.store.set_fuel(10**9)
    path = f"/p?{before}&{name}=hush!hush&{after}"
    logger.request("GET", path, Message(properties={"request.path": path}))
    logger.response(200, Message(properties={"request.path": path}))
    assert len(logger.logs) == 2
    assert not any("hush" in line for _, line in logger.logs)


def values_of(line: str) -> dict[str, str]:
    """Read a line back; it must be a sequence of name=value and name="value" and nothing else."""
    pattern = re.compile(r' ([\w.-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))', re.DOTALL)
    found, at = {}, line.index(" ")
    while at < len(line):
        match = pattern.match(line, at)
        assert match, line[at:]
        found[match[1]] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        at = match.end()
    return found


VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=60)


@settings(max_examples=300, deadline=None)
@given(one=st.one_of(VALUES, st.text(st.sampled_from('"\\ =a'), max_size=700)), two=VALUES)
def test_lines_read_back_as_what_was_sent(one: str, two: str) -> None:
    logger.logs.clear()
    logger.store.set_fuel(10**9)
    logger.request("GET", "/", Message([("x-a", one), ("x-b", two)]))
    values = values_of(logger.logs[0][1])
    cut = one.encode()[:512].decode("utf-8", "replace") + ("..." if len(one.encode()) > 512 else "")
    assert values == {"method": "GET", "path": "/", "header.x-a": cut, "header.x-b": two}


@settings(max_examples=300, deadline=None)
@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=100),
    scheme=st.sampled_from(["", "Bearer ", "ApiKey ", "Basic ", "bearer  "]),
)
def test_only_a_configured_key_opens(key: str, scheme: str) -> None:
    door.store.set_fuel(10**9)
    header = ("authorization", scheme + key) if scheme else ("x-api-key", key)
    verdict = door.request("GET", "/", Message([header])).verdict
    good = key in ("key-of-alice", "k") and scheme != "Basic "
    assert verdict == (0 if good else 1)
