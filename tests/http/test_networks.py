"""What is in a network: C against Python's ipaddress, for all kinds of networks and spellings."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.http.networks import Networks

IPv4, IPv6 = ipaddress.IPv4Address, ipaddress.IPv6Address
FEW = st.integers(0, 3) | st.integers(2**31, 2**31 + 2) | st.integers(0, 2**32 - 1)
ADDRESSES = FEW.map(IPv4) | FEW.map(IPv6) | FEW.map(lambda n: IPv6(0xFFFF << 32 | n)) | st.ip_addresses()


@st.composite
def networks(draw: st.DrawFn) -> str:
    address = draw(ADDRESSES)
    bits = draw(st.integers(0, address.max_prefixlen))
    return str(ipaddress.ip_network((address, bits), strict=False))


def is_in(address: IPv4 | IPv6, network: str) -> bool:
    """By Python: a mapped address of IPv6 is the one of IPv4 that it maps."""
    plain = address.ipv4_mapped or address if isinstance(address, IPv6) else address
    wanted = ipaddress.ip_network(network)
    return plain.version == wanted.version and plain in wanted


@given(st.lists(networks(), max_size=4), ADDRESSES, st.sampled_from(["", "%eth0", "%"]))
def test_c_and_python_agree(wanted: list[str], address: IPv4 | IPv6, zone: str) -> None:
    made = Networks(wanted)
    assert len(made) == len(wanted)
    expected = any(is_in(address, network) for network in wanted)
    spellings = {str(address), address.exploded, str(address).upper()}
    assert {made.contains(text + zone) for text in spellings} == {expected}


@given(st.text(max_size=60) | st.text(alphabet="0123456789abcdef:.%x/ \0", max_size=50))
def test_what_is_no_address_is_in_no_network(text: str) -> None:
    try:
        known = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        known = None
    assert Networks(["0.0.0.0/0", "::/0"]).contains(text) == (known is not None)


@pytest.mark.parametrize("address", ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"])
def test_all_of_ipv6_is_nothing_of_ipv4(address: str) -> None:
    assert not Networks(["::/0"]).contains(address)
    assert not Networks(["::ffff:0:0/96"]).contains(address)
    assert Networks(["192.0.2.0/24"]).contains(address)
